"""Values of a row under HdrHistogram's own index, three digits.

No wheel counts natively: `hdrhistogram` records a value in Python, which takes 2 us. numpy counts hundreds at once.
"""

import numpy as np

_SUB_BUCKET_BITS = 11
_HALF_BITS = _SUB_BUCKET_BITS - 1
_HALF = 1 << _HALF_BITS


class Histogram:
    def __init__(self, counts=None):
        # Grows with its values, as the JVMs' does.
        self._counts = np.zeros(0, dtype=np.int64) if counts is None else counts

    def add(self, values):
        """Counts an array of whole numbers from 0 on."""
        # Below 2^53 a double has every whole number, so its exponent is the number of bits.
        bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
        shifts = np.maximum(bits - _SUB_BUCKET_BITS, 0)
        indexes = (shifts << _HALF_BITS) + (values >> shifts)
        counts = np.bincount(indexes, minlength=self._counts.size)
        counts[: self._counts.size] += self._counts
        self._counts = counts

    def quantiles(self, shares):
        """The largest value that counts the same as the one at each share."""
        upto = np.cumsum(self._counts)
        ranks = np.maximum(np.ceil(np.multiply(shares, upto[-1])), 1)
        return [_highest(int(index)) for index in np.searchsorted(upto, ranks)]

    def counts(self):
        """What a histogram can be made of again; adding makes new counts and leaves these as they are."""
        return self._counts


def _highest(index):
    shift = max((index >> _HALF_BITS) - 1, 0)
    within = index - (shift << _HALF_BITS)
    return ((within + 1) << shift) - 1
