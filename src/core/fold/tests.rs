//! Every kind of aggregate: however the events are split, and in whatever order parts and events come, the result is
//! the same to the byte, also when the parts travel.

use proptest::prelude::*;

use super::atoms::Atoms;
use super::gathered::{Column, Hour, Seen};
use crate::core::aggregate::{Measure, Position, age_us};
use crate::core::event::Event;
use crate::core::expr::{Atom, Comparison, Condition};
use crate::core::source::{Aggregate, Quantile, Slot};
use crate::core::time::SECOND_US;

const NUMBER: Slot = 0;
const FACTOR: Slot = 1;
const TEXT: Slot = 2;

#[derive(Clone, Debug)]
struct Sample {
    at_us: i64,
    position: Position,
    number: Option<i64>,
    factor: Option<i64>,
    text: Option<u8>,
}

fn every_kind() -> Vec<Aggregate> {
    let quantiles = vec![Quantile { millionths: 500_000 }, Quantile { millionths: 999_000 }];
    let large = Atom::Number { slot: NUMBER, op: Comparison::Greater, constant: 500 };
    vec![
        Aggregate::Count(Condition::Atom(large)),
        Aggregate::Sum(NUMBER),
        Aggregate::SumProduct(NUMBER, FACTOR),
        Aggregate::Min(NUMBER),
        Aggregate::Max(NUMBER),
        Aggregate::Histogram { slot: NUMBER, quantiles: quantiles.clone() },
        Aggregate::Freshness { quantiles },
        Aggregate::Ohlc(NUMBER),
        Aggregate::CountBy { slot: TEXT, limit: 64 },
        Aggregate::Distinct(TEXT),
        Aggregate::Peak { every_us: SECOND_US, distinct: None },
        Aggregate::Peak { every_us: 300 * SECOND_US, distinct: Some(TEXT) },
    ]
}

fn fold<'a>(aggregates: &[Aggregate], samples: impl Iterator<Item = &'a Sample>) -> Vec<Measure> {
    let mut atoms = Atoms::default();
    let column = |(at, aggregate): (usize, &Aggregate)| Column::new(at, aggregate, &mut atoms);
    let columns: Vec<Column> = aggregates.iter().enumerate().map(column).collect();
    let mut hour = Hour::empty(&columns);
    for sample in samples {
        let mut event = Event::default();
        event.clear(3);
        sample.number.into_iter().for_each(|number| event.set_number(NUMBER, number));
        sample.factor.into_iter().for_each(|factor| event.set_number(FACTOR, factor));
        sample.text.into_iter().for_each(|text| event.set_text(TEXT, &format!("value-{text}")));
        let (at_us, position) = (sample.at_us, sample.position);
        let seen =
            [Seen { event, at_us, age_us: age_us(position.timestamp_us, at_us), position, late: false }];
        atoms.look(&seen);
        hour.count(&seen[0]);
        for (at, column) in columns.iter().enumerate() {
            hour.add(at, column, &atoms, (0, &seen[0]));
        }
    }
    hour.settle(&columns, &aggregates.iter().collect::<Vec<_>>()).measures
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (
        0i64..3_600,
        0i32..3,
        // Often equal, so that ties are broken.
        prop::option::of(prop_oneof![0i64..4, 0i64..1 << 42]),
        prop::option::of(-1_000_000i64..1_000_000),
        prop::option::of(0u8..40),
        0i64..10 * SECOND_US,
    );
    prop::collection::vec(sample, 1..300).prop_map(|drawn| {
        let of = |(offset, (second, partition, number, factor, text, age_us)): (usize, _)| {
            // Few seconds, so that times tie; an offset of its own, as in Kafka.
            let at_us = second / 60 * 60 * SECOND_US;
            let position = Position { partition, offset: offset as i64, timestamp_us: at_us + age_us };
            Sample { at_us, position, number, factor, text }
        };
        drawn.into_iter().enumerate().map(of).collect()
    })
}

proptest! {
    #[test]
    fn splitting_and_order_do_not_matter(
        (samples, shuffled, parts) in samples().prop_flat_map(|samples| {
            let parts = prop::collection::vec(0usize..5, samples.len());
            (Just(samples.clone()), Just(samples).prop_shuffle(), parts)
        })
    ) {
        let aggregates = every_kind();
        let whole = fold(&aggregates, samples.iter());
        let mut merged: Vec<Measure> = aggregates.iter().map(Measure::empty).collect();
        for part in 0..5 {
            let of_part = shuffled.iter().zip(&parts).filter(|(_, at)| **at == part).map(|(sample, _)| sample);
            let sent = postcard::to_stdvec(&fold(&aggregates, of_part)).unwrap();
            let received: Vec<Measure> = postcard::from_bytes(&sent).unwrap();
            for ((measure, add), aggregate) in merged.iter_mut().zip(&received).zip(&aggregates) {
                measure.merge(add, aggregate);
            }
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(postcard::to_stdvec(&merged).unwrap(), postcard::to_stdvec(&whole).unwrap());
    }
}
