//! What the events of one source are folded into: rows of hourly tables, and cells that rules read.

use super::atoms::{AT_ONCE, Atoms, Selection, Test};
use super::derived::Derived;
use super::gathered::{Column, Counted, Hour, Seen};
use super::panes::Panes;
use super::partition::Partitions;
use super::series::{Grouping, Member, Series};
use crate::core::event::Event;
use crate::core::partial::{Delta, DeltaBody};
use crate::core::plan::{Body, Plan, Projection};
use crate::core::source::Aggregate;
use crate::core::time::{HOUR_US, floor_to, second_of};

pub(super) struct Intake {
    source: u16,
    /// Events that wait until there are [`AT_ONCE`] of them, of the first `waiting`.
    seen: Vec<Seen>,
    waiting: usize,
    /// Each looked at once an event.
    atoms: Atoms,
    series: Series,
    /// Of each event where its groups are, and its pane in the projection at hand.
    found: Vec<usize>,
    places: Vec<usize>,
    projections: Vec<Into>,
}

/// What one projection takes of an event. `at` is its index in the plan.
enum Into {
    Hour {
        at: usize,
        columns: Vec<Column>,
        panes: Panes<Hour>,
    },
    /// `filters` are of the values that rules show.
    Cells {
        at: usize,
        atoms: Selection,
        filters: Vec<Test>,
        panes: Panes<Counted>,
    },
}

impl Intake {
    pub fn new(plan: &Plan, source: usize, derived: &Derived, shards: u32) -> Intake {
        let mut atoms = Atoms::default();
        let of_source = plan.projections.iter().enumerate().filter(|(_, p)| p.source == source);
        let (mut projections, mut groupings) = (Vec::new(), Vec::new());
        for (at, projection) in of_source {
            let into = match &projection.body {
                Body::Hourly { .. } => Into::Hour {
                    at,
                    columns: columns(plan, at, derived, &mut atoms),
                    panes: Panes::default(),
                },
                Body::Cells(cells) => {
                    let filters =
                        cells.measured.iter().map(|measured| atoms.test(&measured.filter)).collect();
                    let atoms = atoms.select(cells.atoms.iter().map(|named| &named.atom));
                    Into::Cells { at, atoms, filters, panes: Panes::default() }
                }
                Body::Lag(_) => continue,
            };
            projections.push(into);
            groupings.push(Grouping { by: projection.by.clone(), spread: projection.spread, shards });
        }
        Intake {
            source: source as u16,
            seen: Vec::new(),
            waiting: 0,
            atoms,
            series: Series::new(groupings),
            found: Vec::new(),
            places: Vec::new(),
            projections,
        }
    }

    /// Takes an event over, and leaves one of no use in its place. True: as many wait as are folded at once.
    pub fn take(&mut self, event: &mut Event, what: Seen) -> bool {
        if self.seen.len() == self.waiting {
            self.seen.push(Seen::default());
        }
        let seen = &mut self.seen[self.waiting];
        std::mem::swap(&mut seen.event, event);
        *seen = Seen { event: std::mem::take(&mut seen.event), ..what };
        self.waiting += 1;
        self.waiting == AT_ONCE
    }

    /// Folds the events that wait, and counts each in its partition for every hourly table that gets it. Whether one may
    /// cross a line that only grows.
    ///
    /// All of them go into one column or one projection before the next: the processor then guesses right what comes,
    /// and looks for the memory of several at a time.
    pub fn fold(&mut self, plan: &Plan, partitions: &mut Partitions) -> bool {
        let Intake { source, seen, waiting, atoms, series, found, places, projections } = self;
        let seen = &seen[..std::mem::take(waiting)];
        if seen.is_empty() {
            return false;
        }
        atoms.look(seen);
        series.find(seen, found);
        let mut has_grown = false;
        for (place, into) in projections.iter_mut().enumerate() {
            let members = found.iter().map(|&found| series.member(found, place));
            places.clear();
            match into {
                Into::Hour { columns, panes, .. } => {
                    for (seen, Member { group, shard }) in seen.iter().zip(members) {
                        let hour = floor_to(seen.at_us, HOUR_US);
                        places.push(panes.place(group, hour, || Hour::empty(columns)));
                        partitions.count((*source, seen.position.partition), shard);
                    }
                    seen.iter().zip(&*places).for_each(|(seen, &at)| panes.body(at).count(seen));
                    for (at, column) in columns.iter().enumerate() {
                        for (seen, &place) in seen.iter().enumerate().zip(&*places) {
                            panes.body(place).add(at, column, atoms, seen);
                        }
                    }
                }
                Into::Cells { at, atoms: selected, filters, panes } => {
                    let Body::Cells(cells) = &plan.projections[*at].body else { continue };
                    for (seen, Member { group, .. }) in seen.iter().zip(members) {
                        places.push(panes.place(group, second_of(seen.at_us), || Counted::empty(cells)));
                    }
                    for ((nth, seen), &place) in seen.iter().enumerate().zip(&*places) {
                        let cell = atoms.cell(selected, nth);
                        let shows = |value: usize| atoms.holds(&filters[value], nth);
                        panes.body(place).add(cells, cell, seen, shows);
                        has_grown |= cells.growing.has(cell);
                    }
                }
            }
        }
        has_grown
    }

    /// Deltas that wait.
    pub fn pending(&self) -> usize {
        let pending = |into: &Into| match into {
            Into::Hour { panes, .. } => panes.len(),
            Into::Cells { panes, .. } => panes.len(),
        };
        self.projections.iter().map(pending).sum()
    }

    /// Forgets all that waits.
    pub fn clear(&mut self) {
        self.waiting = 0;
        for into in &mut self.projections {
            match into {
                Into::Hour { panes, .. } => drop(panes.drain()),
                Into::Cells { panes, .. } => drop(panes.drain()),
            }
        }
    }

    /// Hands out all that was folded, each with its shard.
    pub fn flush(&mut self, plan: &Plan, told: &mut Vec<(u32, Delta)>) {
        let Intake { series, projections, .. } = self;
        for (place, into) in projections.iter_mut().enumerate() {
            match into {
                Into::Hour { at, columns, panes } => {
                    let whole = aggregates(plan, &plan.projections[*at]);
                    let body = |hour: Hour| DeltaBody::Hour(hour.settle(columns, &whole));
                    tell(*at, panes, (&mut *series, place), body, told);
                }
                Into::Cells { at, panes, .. } => {
                    let body = |counted: Counted| DeltaBody::Cells(counted.settle());
                    tell(*at, panes, (&mut *series, place), body, told);
                }
            }
        }
        series.forget_if_many();
    }
}

/// The columns of a table that take events themselves.
fn columns(plan: &Plan, projection: usize, derived: &Derived, atoms: &mut Atoms) -> Vec<Column> {
    let all = aggregates(plan, &plan.projections[projection]).into_iter().enumerate();
    let own = all.filter(|(at, _)| !derived.has(projection, *at));
    own.map(|(at, aggregate)| Column::new(at, aggregate, atoms)).collect()
}

/// What the columns of a projection's table compute.
fn aggregates<'a>(plan: &'a Plan, projection: &Projection) -> Vec<&'a Aggregate> {
    plan.rollup_of(projection)
        .map_or(Vec::new(), |rollup| rollup.columns.iter().map(|column| &column.aggregate).collect())
}

/// Tells what waits in one projection, by pane and key. `place` is the projection's among the source's.
fn tell<B>(
    projection: usize,
    panes: &mut Panes<B>,
    (series, place): (&mut Series, usize),
    body: impl Fn(B) -> DeltaBody,
    told: &mut Vec<(u32, Delta)>,
) {
    let mut waiting = panes.drain();
    let ranks = series.ranks(place);
    waiting.sort_unstable_by_key(|pane| (pane.start, ranks[pane.group as usize]));
    told.extend(waiting.into_iter().map(|pane| {
        let group = series.group(place, pane.group);
        let (key, body) = (group.key.clone(), body(pane.body));
        (group.shard, Delta { projection: projection as u16, key, pane: pane.start, body })
    }));
}
