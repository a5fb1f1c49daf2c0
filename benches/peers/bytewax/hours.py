"""What is counted of one key, hour by hour, and the rows that come of it."""

from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np
import progress
from bytewax.operators import StatefulBatchLogic
from histogram import Histogram

HOUR_US = 3_600_000_000
_LATENESS_US = 2 * HOUR_US + 2_000_000
_TELL_EVERY = timedelta(seconds=1)
_QUANTILES = (0.5, 0.99)
# Values wait until there are so many: to numpy a hundred are hardly more than one.
_GATHERED = 2_000


class Part:
    """What one batch of records has of a key and hour."""

    __slots__ = ("bad", "hour_us", "newest_us", "values")

    def __init__(self, hour_us):
        self.hour_us = hour_us
        self.newest_us = 0
        self.values = []
        self.bad = 0


class Row(NamedTuple):
    hour_us: int
    events: int
    bad: int
    p50: int
    p99: int
    max: int


class Hour:
    """What becomes one row."""

    __slots__ = ("bad", "events", "gathered", "histogram", "is_told", "max")

    def __init__(self, events=0, bad=0, largest=0, counts=None):
        self.events = events
        self.bad = bad
        self.max = largest
        self.histogram = Histogram(counts)
        self.gathered = []
        self.is_told = False

    def add(self, part):
        self.events += len(part.values)
        self.bad += part.bad
        self.gathered += part.values
        self.is_told = False
        if len(self.gathered) >= _GATHERED:
            self._count()

    def _count(self):
        if self.gathered:
            # Half up: what a double is off by in a number with three digits is far from a half.
            values = np.floor(np.array(self.gathered, dtype=np.float64) + 0.5).astype(np.int64)
            self.max = max(self.max, int(values.max()))
            self.histogram.add(values)
            self.gathered = []

    def row(self, hour_us):
        self._count()
        p50, p99 = self.histogram.quantiles(_QUANTILES)
        return Row(hour_us, self.events, self.bad, p50, p99, self.max)

    def snapshot(self):
        self._count()
        return self.events, self.bad, self.max, self.histogram.counts()


class Hours(StatefulBatchLogic):
    """The hours of a key that events may still change; once a second those that changed are told."""

    def __init__(self, snapshot):
        self._newest_us, hours = snapshot or (0, {})
        self._hours = {hour_us: Hour(*hour) for hour_us, hour in hours.items()}
        self._tell_at = _next_second() if hours else None

    def on_batch(self, batch):
        for part in batch:
            self._newest_us = max(self._newest_us, part.newest_us)
            if self._is_over(part.hour_us):
                continue
            hour = self._hours.get(part.hour_us)
            if hour is None:
                hour = self._hours[part.hour_us] = Hour()
            hour.add(part)
            progress.folded(len(part.values))
        if self._tell_at is None:
            self._tell_at = _next_second()
        return (), StatefulBatchLogic.RETAIN

    def on_notify(self):
        self._tell_at = None
        rows = [hour.row(hour_us) for hour_us, hour in self._hours.items() if not hour.is_told]
        for hour in self._hours.values():
            hour.is_told = True
        self._hours = {hour_us: hour for hour_us, hour in self._hours.items() if not self._is_over(hour_us)}
        return rows, StatefulBatchLogic.RETAIN

    def notify_at(self):
        return self._tell_at

    def snapshot(self):
        return self._newest_us, {hour_us: hour.snapshot() for hour_us, hour in self._hours.items()}

    def _is_over(self, hour_us):
        return hour_us + HOUR_US <= self._newest_us - _LATENESS_US


def _next_second():
    """The same for all keys, so that their rows go out together: the sink waits for the broker after each batch."""
    return datetime.now(timezone.utc).replace(microsecond=0) + _TELL_EVERY
