//! Where the events of a flush are gathered, column by column, until they are told as partial results.

use std::collections::BTreeMap;

use super::atoms::{Atoms, Test};
use super::distinct::Distinct;
use super::values::Values;
use crate::core::aggregate::{CountBy, Measure, Ohlc, Position, lower, raise, slot_of};
use crate::core::event::{Event, Value};
use crate::core::exemplar::{Exemplar, add_exemplar};
use crate::core::partial::{CellsDelta, HourDelta};
use crate::core::plan::{self, Cells};
use crate::core::source::{Aggregate, HISTOGRAM_LIMIT, Slot};
use crate::core::tally::add_cell;
use crate::core::time::second_of;

/// One event, as all that it is folded into sees it.
#[derive(Default)]
pub(super) struct Seen {
    pub event: Event,
    pub at_us: i64,
    pub age_us: i64,
    pub position: Position,
    pub late: bool,
}

/// A column that takes events itself.
pub(super) struct Column {
    /// Its place in the rollup.
    at: usize,
    aggregate: Aggregate,
    /// Of a count, which events.
    test: Option<Test>,
}

/// A row of an hourly table.
pub(super) struct Hour {
    events: u64,
    late: u64,
    /// Parallel to the columns that take events.
    gathered: Vec<Gathered>,
}

/// A second of a projection of cells, as in [`CellsDelta`].
pub(super) struct Counted {
    cells: Vec<(u16, u64)>,
    values: Vec<Values>,
    exemplars: Vec<Exemplar>,
}

impl Column {
    pub fn new(at: usize, aggregate: &Aggregate, atoms: &mut Atoms) -> Column {
        let test = match aggregate {
            Aggregate::Count(condition) => Some(atoms.test(condition)),
            _ => None,
        };
        Column { at, aggregate: aggregate.clone(), test }
    }
}

impl Hour {
    pub fn empty(columns: &[Column]) -> Hour {
        let gathered = columns.iter().map(|column| Gathered::empty(&column.aggregate)).collect();
        Hour { events: 0, late: 0, gathered }
    }

    pub fn count(&mut self, seen: &Seen) {
        self.events += 1;
        self.late += u64::from(seen.late);
    }

    /// Adds an event to the column at a place among those that take events; the source's atoms have looked at it as their
    /// nth.
    pub fn add(&mut self, at: usize, column: &Column, atoms: &Atoms, (nth, seen): (usize, &Seen)) {
        if let Some(gathered) = self.gathered.get_mut(at) {
            gathered.add(column, atoms, (nth, seen));
        }
    }

    /// `whole` are all columns of the table; those that take no events are empty.
    pub fn settle(self, columns: &[Column], whole: &[&Aggregate]) -> HourDelta {
        let mut measures: Vec<Measure> = whole.iter().map(|aggregate| Measure::empty(aggregate)).collect();
        for (gathered, column) in self.gathered.into_iter().zip(columns) {
            measures[column.at] = gathered.settle();
        }
        HourDelta { events: self.events, late: self.late, measures }
    }
}

impl Counted {
    pub fn empty(cells: &Cells) -> Counted {
        let values = cells.measured.iter().map(|_| Values::default()).collect();
        Counted { cells: Vec::new(), values, exemplars: Vec::new() }
    }

    /// Counts an event in its cell; `shows` tells by the place of a value whether its filter holds.
    pub fn add(&mut self, cells: &Cells, cell: u16, seen: &Seen, shows: impl Fn(usize) -> bool) {
        add_cell(&mut self.cells, cell, 1);
        let Position { partition, offset, .. } = seen.position;
        let second = second_of(seen.at_us);
        let exemplar = |measured| Exemplar { measured, cell, second, partition, offset, trace_id: None };
        let trace_id = || match seen.event.value(cells.trace_id?) {
            Value::Text(text) => Some(text.to_owned()),
            Value::Absent | Value::Number(_) => None,
        };
        if cells.notable.has(cell) {
            add_exemplar(&mut self.exemplars, exemplar(None), trace_id);
        }
        for (at, (values, measured)) in self.values.iter_mut().zip(&cells.measured).enumerate() {
            let value = match measured.what {
                plan::Value::Field(slot) => seen.event.number(slot),
                plan::Value::Age => Some(seen.age_us),
            };
            if let Some(value) = value.filter(|_| shows(at)) {
                // For show alone: what a rule says follows from the cells, which know no bounds.
                values.record(value.clamp(0, HISTOGRAM_LIMIT - 1));
                if measured.notable.has(cell) {
                    add_exemplar(&mut self.exemplars, exemplar(Some((at as u16, value))), trace_id);
                }
            }
        }
    }

    pub fn settle(self) -> CellsDelta {
        let values = self.values.into_iter().map(Values::settle).collect();
        CellsDelta { cells: self.cells, values, exemplars: self.exemplars }
    }
}

/// What of one column waits for the flush.
enum Gathered {
    Count(u64),
    Sum(i128),
    Min(Option<i64>),
    Max(Option<i64>),
    Histogram(Values),
    Ohlc(Option<Ohlc>),
    CountBy(Repeated),
    Distinct(Distinct),
    PeakCount(BTreeMap<u16, u64>),
    PeakDistinct(BTreeMap<u16, Distinct>),
}

impl Gathered {
    fn empty(aggregate: &Aggregate) -> Gathered {
        match aggregate {
            Aggregate::Count(_) => Gathered::Count(0),
            Aggregate::Sum(_) | Aggregate::SumProduct(..) => Gathered::Sum(0),
            Aggregate::Min(_) => Gathered::Min(None),
            Aggregate::Max(_) => Gathered::Max(None),
            Aggregate::Histogram { .. } | Aggregate::Freshness { .. } => {
                Gathered::Histogram(Values::default())
            }
            Aggregate::Ohlc(_) => Gathered::Ohlc(None),
            Aggregate::CountBy { .. } => Gathered::CountBy(Repeated::default()),
            Aggregate::Distinct(_) => Gathered::Distinct(Distinct::default()),
            Aggregate::Peak { distinct: None, .. } => Gathered::PeakCount(BTreeMap::new()),
            Aggregate::Peak { distinct: Some(_), .. } => Gathered::PeakDistinct(BTreeMap::new()),
        }
    }

    fn add(&mut self, column: &Column, atoms: &Atoms, (nth, seen): (usize, &Seen)) {
        let Seen { ref event, at_us, age_us, position, .. } = *seen;
        match (self, &column.aggregate) {
            (Gathered::Count(count), Aggregate::Count(_)) => {
                *count += u64::from(column.test.as_ref().is_some_and(|test| atoms.holds(test, nth)));
            }
            (Gathered::Sum(sum), Aggregate::Sum(slot)) => {
                *sum += i128::from(event.number(*slot).unwrap_or(0));
            }
            (Gathered::Sum(sum), Aggregate::SumProduct(a, b)) => {
                if let (Some(a), Some(b)) = (event.number(*a), event.number(*b)) {
                    *sum += i128::from(a) * i128::from(b);
                }
            }
            (Gathered::Min(min), Aggregate::Min(slot)) => lower(min, event.number(*slot)),
            (Gathered::Max(max), Aggregate::Max(slot)) => raise(max, event.number(*slot)),
            (Gathered::Histogram(values), Aggregate::Histogram { slot, .. }) => {
                event.number(*slot).into_iter().for_each(|value| values.record(value));
            }
            (Gathered::Histogram(values), Aggregate::Freshness { .. }) => values.record(age_us),
            (Gathered::Ohlc(ohlc), Aggregate::Ohlc(slot)) => {
                if let Some(value) = event.number(*slot) {
                    Ohlc::add(ohlc, &Ohlc::of(value, at_us, position));
                }
            }
            (Gathered::CountBy(counts), Aggregate::CountBy { slot, limit }) => {
                counts.add(event.value(*slot), *limit);
            }
            (Gathered::Distinct(distinct), Aggregate::Distinct(slot)) => {
                with_text(event, *slot, |text| distinct.add(text));
            }
            (Gathered::PeakCount(counts), Aggregate::Peak { every_us, .. }) => {
                *counts.entry(slot_of(at_us, *every_us)).or_default() += 1;
            }
            (Gathered::PeakDistinct(sets), Aggregate::Peak { every_us, distinct: Some(slot) }) => {
                let set = |text: &str| sets.entry(slot_of(at_us, *every_us)).or_default().add(text);
                with_text(event, *slot, set);
            }
            // It was made by `empty` of the same aggregate.
            (_, aggregate) => debug_assert!(false, "gathered otherwise than {aggregate:?}"),
        }
    }

    fn settle(self) -> Measure {
        match self {
            Gathered::Count(count) => Measure::Count(count),
            Gathered::Sum(sum) => Measure::Sum(sum),
            Gathered::Min(min) => Measure::Min(min),
            Gathered::Max(max) => Measure::Max(max),
            Gathered::Histogram(values) => Measure::Histogram(values.settle()),
            Gathered::Ohlc(ohlc) => Measure::Ohlc(ohlc),
            Gathered::CountBy(counts) => Measure::CountBy(counts.settle()),
            Gathered::Distinct(distinct) => Measure::Distinct(distinct.settle()),
            Gathered::PeakCount(counts) => Measure::PeakCount(counts.into()),
            Gathered::PeakDistinct(sets) => {
                let settled = sets.into_iter().map(|(slot, set)| (slot, set.settle()));
                Measure::PeakDistinct(settled.collect::<BTreeMap<_, _>>().into())
            }
        }
    }
}

/// Counts by value, most of which are the number before.
#[derive(Default)]
struct Repeated {
    counts: CountBy,
    /// The last number, how often it came, and the limit.
    last: Option<(i64, u64, u32)>,
}

impl Repeated {
    fn add(&mut self, value: Value, limit: u32) {
        match (value, &mut self.last) {
            (Value::Number(number), Some((last, count, _))) if *last == number => *count += 1,
            (Value::Number(number), _) => {
                self.catch_up();
                self.last = Some((number, 1, limit));
            }
            (Value::Text(text), _) => self.counts.add(text, 1, limit),
            (Value::Absent, _) => {
                self.catch_up();
                self.counts.add("", 1, limit);
            }
        }
    }

    fn catch_up(&mut self) {
        if let Some((number, count, limit)) = self.last.take() {
            self.counts.add(itoa::Buffer::new().format(number), count, limit);
        }
    }

    fn settle(mut self) -> CountBy {
        self.catch_up();
        self.counts
    }
}

fn with_text(event: &Event, slot: Slot, use_text: impl FnOnce(&str)) {
    match event.value(slot) {
        Value::Absent => {}
        Value::Text(text) => use_text(text),
        Value::Number(number) => use_text(itoa::Buffer::new().format(number)),
    }
}
