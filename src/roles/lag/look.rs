//! What the broker said of records that ingest has not read: asked seldom, kept while it holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::watch::{Place, age_us};
use crate::core::partial::LagSample;
use crate::kafka::NextRecord;

/// A partition is not looked at more often.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The looks at one topic for one group, by partition.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<i32, Look>);

#[derive(Debug)]
struct Look {
    from: i64,
    end: i64,
    asked: Instant,
    /// None: no answer.
    found: Option<NextRecord>,
    /// As last told.
    behind_us: Option<i64>,
}

impl Looks {
    pub fn is_due(&self, place: &Place, now: Instant) -> bool {
        let holds = |look: &Look| look.answers(place) || now.duration_since(look.asked) < LOOK_EVERY;
        !self.0.get(&place.partition.partition).is_some_and(holds)
    }

    pub fn take(&mut self, place: &Place, now: Instant, found: Option<NextRecord>) {
        let look = Look { from: place.from, end: place.end, asked: now, found, behind_us: None };
        self.0.insert(place.partition.partition, look);
    }

    /// None: not known.
    pub fn sample(&mut self, place: &Place, now_us: i64) -> Option<LagSample> {
        let look = self.0.get_mut(&place.partition.partition)?;
        if look.answers(place) {
            look.behind_us = match look.found? {
                NextRecord::End => return Some(place.nothing()),
                NextRecord::At { timestamp_ms } => Some(age_us(now_us, timestamp_ms?)),
            };
        }
        // A group that moves is as far behind as it was, until the next look.
        Some(place.behind(look.behind_us?))
    }
}

impl Look {
    fn answers(&self, place: &Place) -> bool {
        self.from == place.from
            && match self.found {
                Some(NextRecord::At { .. }) => true,
                Some(NextRecord::End) => place.end <= self.end,
                None => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::TopicPartition;

    const SECOND: Duration = Duration::from_secs(1);
    const AT: NextRecord = NextRecord::At { timestamp_ms: Some(50_000) };

    fn place(from: i64, end: i64) -> Place {
        Place { partition: TopicPartition::new("requests", 3), from, end }
    }

    fn sample(messages: u64, behind_us: i64) -> Option<LagSample> {
        Some(LagSample { partition: 3, messages, behind_us })
    }

    #[test]
    fn one_look_answers_while_the_group_stands() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        assert!(looks.is_due(&place(7, 10), now));
        assert_eq!(looks.sample(&place(7, 10), 60_000_000), None);
        looks.take(&place(7, 10), now, Some(AT));
        assert_eq!(looks.sample(&place(7, 10), 60_000_000), sample(3, 10_000_000));
        assert!(!looks.is_due(&place(7, 400), now + 1_000 * SECOND));
        assert_eq!(looks.sample(&place(7, 400), 90_000_000), sample(393, 40_000_000));
        // It moves: the messages are exact, the age is that of the last look until the next one.
        assert!(!looks.is_due(&place(9, 400), now + 9 * SECOND));
        assert_eq!(looks.sample(&place(9, 400), 91_000_000), sample(391, 40_000_000));
        assert!(looks.is_due(&place(9, 400), now + 10 * SECOND));
    }

    #[test]
    fn what_has_no_answer_is_not_told_and_not_asked_at_once() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        looks.take(&place(7, 10), now, Some(AT));
        looks.take(&place(8, 10), now, None);
        assert_eq!(looks.sample(&place(8, 10), 60_000_000), None);
        assert!(!looks.is_due(&place(8, 10), now + 9 * SECOND));
        assert!(looks.is_due(&place(8, 10), now + 10 * SECOND));
        looks.take(&place(8, 10), now, Some(NextRecord::At { timestamp_ms: None }));
        assert_eq!(looks.sample(&place(8, 10), 60_000_000), None, "a record without a timestamp has no age");
    }

    #[test]
    fn markers_alone_are_no_lag() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        looks.take(&place(9, 10), now, Some(NextRecord::End));
        assert_eq!(looks.sample(&place(9, 10), 60_000_000), sample(0, 0));
        assert!(!looks.is_due(&place(9, 10), now + 100 * SECOND));
        assert!(looks.is_due(&place(9, 12), now + 100 * SECOND), "something came");
    }
}
