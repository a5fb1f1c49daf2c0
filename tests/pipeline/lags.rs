//! Samples of consumer groups on their way from ingest to the shard that judges them.

use plimsoll::core::alert::{Lag, LagUnit, RuleKind};
use plimsoll::core::fold::{Assigned, Flush, Fold};
use plimsoll::core::key::Key;
use plimsoll::core::partial::{DeltaBody, LagSample};
use plimsoll::core::plan::{Body, Plan};
use std::sync::Arc;

use super::workload::{START_US, shipped};

const SHARDS: u32 = 5;
const SECOND: i64 = START_US / 1_000_000;

/// The shipped rules, one of them turned into a LAG of the group `billing` on its source.
fn plan() -> Arc<Plan> {
    let mut rules = shipped();
    let rule = rules.alerts.iter_mut().find(|rule| !rule.feeds.is_empty()).expect("they ship with rules");
    let source = rule.feeds.remove(0).source;
    rule.feeds.clear();
    let lag = Lag { consumer_group: Some("billing".into()), unit: LagUnit::Messages };
    rule.kind = RuleKind::Lag { source, lag };
    Arc::new(Plan::compile(0, Arc::new(rules)).expect("rules that compile"))
}

fn sample(partition: i32) -> LagSample {
    LagSample { partition, messages: 7, behind_us: 2_000_000 }
}

/// Shard, second and samples of every lag told.
fn told(flush: &Flush) -> Vec<(usize, i64, Vec<LagSample>)> {
    let deltas =
        flush.deltas.iter().enumerate().flat_map(|(shard, deltas)| deltas.iter().map(move |d| (shard, d)));
    let lag = |(shard, delta): (usize, &plimsoll::core::partial::Delta)| match &delta.body {
        DeltaBody::Lag(samples) => Some((shard, delta.pane, samples.clone())),
        DeltaBody::Hour(_) | DeltaBody::Cells(_) => None,
    };
    deltas.filter_map(lag).collect()
}

#[test]
fn each_partition_is_told_once_by_who_reads_it_and_to_one_shard() {
    let plan = plan();
    let at = plan.projections.iter().position(|p| matches!(p.body, Body::Lag(_))).expect("the lag");
    let projection = &plan.projections[at];
    let (source, at) = (projection.source as u16, at as u16);
    let home = Key::shard(&[], projection.spread, SHARDS) as usize;
    let mut fold = Fold::new(Arc::clone(&plan), SHARDS);
    let assigned = Assigned { partitions: 4, topic: 1, next: 0, max_event_us: None };
    for partition in [1, 2] {
        fold.assign((source, partition), assigned, START_US);
    }
    fold.assign((source + 1, 3), assigned, START_US);
    let all = [0, 1, 2, 3].map(sample);
    fold.lag(at, SECOND, &all);
    assert_eq!(told(&fold.flush(false)), [], "it waits for the clocks that go with it");
    assert_eq!(told(&fold.flush(true)), [(home, SECOND, vec![sample(1), sample(2)])]);
    assert_eq!(told(&fold.flush(true)), [], "and is told once");
    // Of no partition here, and of partitions that went away.
    fold.lag(at, SECOND + 1, &[sample(0), sample(3)]);
    assert_eq!(told(&fold.flush(true)), []);
    fold.lag(at, SECOND + 2, &all);
    fold.clear();
    assert_eq!(told(&fold.flush(true)), []);
}
