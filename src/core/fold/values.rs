//! Values on their way into a histogram: they wait a while, so that many are counted at once.

use crate::core::sketch::histogram::Histogram;

/// So many wait at most.
const WAITING: usize = 128;

#[derive(Default)]
pub(super) struct Values {
    histogram: Histogram,
    waiting: Vec<i64>,
}

impl Values {
    /// `value` is in `0..HISTOGRAM_LIMIT`.
    pub fn record(&mut self, value: i64) {
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(WAITING);
        }
        self.waiting.push(value);
        if self.waiting.len() == WAITING {
            self.histogram.record_all(&mut self.waiting);
        }
    }

    pub fn settle(mut self) -> Histogram {
        self.histogram.record_all(&mut self.waiting);
        self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_waited_are_those_counted_one_by_one() {
        for count in [0, 1, 63, WAITING as i64 - 1, WAITING as i64, 5 * WAITING as i64 + 7] {
            let (mut values, mut histogram) = (Values::default(), Histogram::default());
            for value in (0..count).map(|number| number * number * 7_919 % (1 << 20)) {
                values.record(value);
                histogram.record(value);
            }
            assert_eq!(values.settle(), histogram, "{count} values");
        }
    }
}
