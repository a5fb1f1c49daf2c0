//! Columns of a table without groups that another table of its source has by group. Those of all groups come to the
//! same, so no event is folded into them: they are filled in once a flush.

use crate::core::aggregate::Measure;
use crate::core::partial::{Delta, DeltaBody};
use crate::core::plan::{Body, Plan};
use crate::core::source::{Aggregate, Column};

/// Index of a projection in the plan, and of a column in its rollup.
type Place = (usize, usize);

#[derive(Debug)]
struct DerivedColumn {
    to: Place,
    from: Place,
}

#[derive(Debug)]
pub(super) struct Derived(Vec<DerivedColumn>);

impl Derived {
    pub(super) fn of(plan: &Plan) -> Derived {
        let hourly = |at: &usize| matches!(plan.projections[*at].body, Body::Hourly { .. });
        let ungrouped =
            (0..plan.projections.len()).filter(hourly).filter(|&at| plan.projections[at].by.is_empty());
        let columns = ungrouped.flat_map(|to| {
            let columns = plan.rollup_of(&plan.projections[to]).map_or(&[][..], |rollup| &rollup.columns);
            let derived = move |(at, column): (usize, &Column)| {
                let from = source_of(plan, to, &column.aggregate)?;
                Some(DerivedColumn { to: (to, at), from })
            };
            columns.iter().enumerate().filter_map(derived)
        });
        Derived(columns.collect())
    }

    pub(super) fn has(&self, projection: usize, column: usize) -> bool {
        self.0.iter().any(|derived| derived.to == (projection, column))
    }

    /// `deltas` are whole, and in the order of their projections and panes; what goes with each is none of this.
    pub(super) fn fill<T>(&self, plan: &Plan, deltas: &mut [(T, Delta)]) {
        for DerivedColumn { to, from } in &self.0 {
            let Some(rollup) = plan.rollup_of(&plan.projections[to.0]) else { continue };
            let aggregate = &rollup.columns[to.1].aggregate;
            // One for each hour.
            for at in place(deltas, to.0, i64::MIN).start..place(deltas, to.0, i64::MAX).end {
                let groups = &deltas[place(deltas, from.0, deltas[at].1.pane)];
                let mut whole = Measure::empty(aggregate);
                groups
                    .iter()
                    .filter_map(|(_, delta)| measure(delta, from.1))
                    .for_each(|m| whole.merge(m, aggregate));
                if let DeltaBody::Hour(hour) = &mut deltas[at].1.body {
                    hour.measures[to.1] = whole;
                }
            }
        }
    }
}

/// Where a column that computes the same is kept by group, and by the fewest fields.
fn source_of(plan: &Plan, to: usize, aggregate: &Aggregate) -> Option<Place> {
    // Which values are beyond its limit hangs on the order in which they come.
    if matches!(aggregate, Aggregate::CountBy { .. }) {
        return None;
    }
    let projections = plan.projections.iter().enumerate();
    let grouped = projections.filter(|(_, p)| p.source == plan.projections[to].source && !p.by.is_empty());
    let place = |(at, projection)| {
        let columns = &plan.rollup_of(projection)?.columns;
        Some((at, columns.iter().position(|column| column.aggregate == *aggregate)?))
    };
    grouped.filter_map(place).min_by_key(|(at, _)| plan.projections[*at].by.len())
}

/// Where the deltas of one projection and pane lie.
fn place<T>(deltas: &[(T, Delta)], projection: usize, pane: i64) -> std::ops::Range<usize> {
    let order = |delta: &Delta| (usize::from(delta.projection), delta.pane);
    let start = deltas.partition_point(|(_, delta)| order(delta) < (projection, pane));
    let length = deltas[start..].partition_point(|(_, delta)| order(delta) == (projection, pane));
    start..start + length
}

fn measure(delta: &Delta, column: usize) -> Option<&Measure> {
    match &delta.body {
        DeltaBody::Hour(hour) => hour.measures.get(column),
        DeltaBody::Cells(_) | DeltaBody::Lag(_) => None,
    }
}
