//! Events that a person may want to look at: a few of those that rules blame, the same ones whatever the flushes.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// Kept of each cell and value.
pub const EXEMPLARS_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemplar {
    /// Why it is kept: index into the projection's measured values, and the event's own. None: for its cell alone.
    pub measured: Option<(u16, i64)>,
    pub cell: u16,
    /// Second of event time.
    pub second: i64,
    pub partition: i32,
    pub offset: i64,
    pub trace_id: Option<String>,
}

impl Exemplar {
    /// Of one cell the largest values come first, then the lowest places.
    fn rank(&self) -> (Option<u16>, u16, Reverse<Option<i64>>, i32, i64) {
        let (of, value) = self.measured.unzip();
        (of, self.cell, Reverse(value), self.partition, self.offset)
    }

    fn kind(&self) -> (Option<u16>, u16) {
        (self.measured.map(|(at, _)| at), self.cell)
    }
}

/// Adds to a list that stays sorted and bounded; the trace id is asked for only when the event stays.
pub fn add_exemplar(
    exemplars: &mut Vec<Exemplar>,
    mut new: Exemplar,
    trace_id: impl FnOnce() -> Option<String>,
) {
    let (kind, rank) = (new.kind(), new.rank());
    let first = exemplars.partition_point(|known| known.kind() < kind);
    let end = exemplars.partition_point(|known| known.kind() <= kind);
    let at = exemplars.partition_point(|known| known.rank() < rank);
    if at - first >= EXEMPLARS_MAX {
        return;
    }
    if end - first >= EXEMPLARS_MAX {
        exemplars.remove(end - 1);
    }
    new.trace_id = trace_id();
    exemplars.insert(at, new);
}

/// The first ten of several lists, best first, whatever their cells.
pub fn best<'a>(exemplars: impl Iterator<Item = &'a Exemplar>) -> Vec<&'a Exemplar> {
    let mut best: Vec<&Exemplar> = exemplars.collect();
    best.sort_by_key(|exemplar| {
        let (_, _, value, partition, offset) = exemplar.rank();
        (value, partition, offset)
    });
    best.truncate(EXEMPLARS_MAX);
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(measured: Option<(u16, i64)>, cell: u16, offset: i64) -> Exemplar {
        Exemplar { measured, cell, second: 0, partition: 0, offset, trace_id: None }
    }

    fn offsets(exemplars: &[Exemplar]) -> Vec<i64> {
        exemplars.iter().map(|exemplar| exemplar.offset).collect()
    }

    #[test]
    fn the_lowest_places_stay_of_a_cell_and_the_largest_of_a_value() {
        let mut kept = Vec::new();
        for offset in (0..30).rev() {
            add_exemplar(&mut kept, exemplar(None, 1, offset), || Some("trace".into()));
            add_exemplar(&mut kept, exemplar(Some((0, offset % 15)), 1, offset), || None);
        }
        let (of_cell, of_value) = kept.split_at(EXEMPLARS_MAX);
        assert_eq!(offsets(of_cell), (0..10).collect::<Vec<_>>());
        assert!(of_cell.iter().all(|exemplar| exemplar.trace_id.is_some()));
        assert_eq!(offsets(of_value), [14, 29, 13, 28, 12, 27, 11, 26, 10, 25]);
    }

    #[test]
    fn the_order_of_arrival_changes_nothing() {
        let all: Vec<Exemplar> =
            (0..40).map(|n| exemplar(Some((n % 2, n as i64 * 7 % 13)), 1, n.into())).collect();
        let kept = |order: &mut dyn Iterator<Item = &Exemplar>| {
            let mut kept = Vec::new();
            order.for_each(|exemplar| add_exemplar(&mut kept, exemplar.clone(), || None));
            kept
        };
        assert_eq!(kept(&mut all.iter()), kept(&mut all.iter().rev()));
    }
}
