//! One level of one rule, second by second: `for` before it is crossed, `hold` before it is not.

use serde::{Deserialize, Serialize};

/// The answer of one level for one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Crossed,
    NotCrossed,
    /// No longer crossed, but not clear of it: as good as not crossed unless an episode is open, which goes on.
    Lingering,
    /// Too few events to say: `for` and `hold` pause.
    Unknown,
}

/// Crossed when the verdict was true at every second over `for`; open again when it was untrue over `hold`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    pub crossed: bool,
    /// Seconds judged true in the present run, and its first.
    true_s: i64,
    true_from_s: i64,
    /// Seconds judged untrue in the present run, and its first.
    false_s: i64,
    false_from_s: i64,
}

impl Latch {
    /// Judges the second `at_s`. Before the watermark (`settled` false) a latch can close but not open again.
    pub fn step(&mut self, at_s: i64, verdict: Verdict, for_s: i64, hold_s: i64, settled: bool) {
        match verdict {
            Verdict::Crossed => {
                if self.true_s == 0 {
                    self.true_from_s = at_s;
                }
                self.true_s += 1;
                self.false_s = 0;
                self.crossed |= self.true_s > for_s;
            }
            Verdict::NotCrossed => {
                if self.false_s == 0 {
                    self.false_from_s = at_s;
                }
                self.true_s = 0;
                self.false_s += 1;
                if settled && self.false_s > hold_s {
                    self.crossed = false;
                }
            }
            Verdict::Lingering => (self.true_s, self.false_s) = (0, 0),
            Verdict::Unknown => {}
        }
    }

    /// First crossing second of the present run, if there is one.
    pub fn onset_s(&self) -> Option<i64> {
        (self.true_s > 0).then_some(self.true_from_s)
    }

    /// First untrue second of the present untrue run.
    pub fn recovered_s(&self) -> i64 {
        self.false_from_s
    }

    /// Nothing is pending: the next second is judged as if it were the first.
    pub fn is_quiet(&self) -> bool {
        !self.crossed && self.true_s == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdicts: &str, for_s: i64, hold_s: i64) -> String {
        let mut latch = Latch::default();
        let step = |(at, verdict): (usize, char)| {
            let verdict = match verdict {
                'x' => Verdict::Crossed,
                '.' => Verdict::NotCrossed,
                '~' => Verdict::Lingering,
                _ => Verdict::Unknown,
            };
            latch.step(at as i64, verdict, for_s, hold_s, true);
            if latch.crossed { 'x' } else { '.' }
        };
        verdicts.chars().enumerate().map(step).collect()
    }

    #[test]
    fn for_and_hold_are_spans_that_unknown_seconds_pause() {
        assert_eq!(run(".xx..", 0, 0), ".xx..");
        assert_eq!(run("xxx.x", 2, 0), "..x..");
        assert_eq!(run("x....x", 0, 2), "xxx..x");
        assert_eq!(run("x..x...", 0, 2), "xxxxxx.", "crossing again restarts the hold");
        assert_eq!(run("x?x?x", 2, 0), "....x");
        assert_eq!(run("x.??..", 0, 2), "xxxxx.");
        assert_eq!(run("x.~..~...", 0, 2), "xxxxxxxx.", "lingering restarts the hold");
        assert_eq!(run("xx~xxx", 2, 0), ".....x", "and ends a run that has not lasted yet");
    }

    #[test]
    fn nothing_opens_again_before_the_watermark() {
        let mut latch = Latch::default();
        latch.step(0, Verdict::Crossed, 0, 0, false);
        latch.step(1, Verdict::NotCrossed, 0, 0, false);
        assert!(latch.crossed);
        latch.step(2, Verdict::NotCrossed, 0, 0, true);
        assert!(!latch.crossed);
        assert_eq!((latch.onset_s(), latch.recovered_s()), (None, 1));
    }
}
