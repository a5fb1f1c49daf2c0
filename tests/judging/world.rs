//! One worker and one shard, ticked second by second.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll::config::{Overrides, Surroundings, embedded};
use plimsoll::core::aggregate::Position;
use plimsoll::core::alert::{AlertRule, Feed, Level, RuleKind, Side};
use plimsoll::core::event::Event;
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::fold::{Assigned, Fold, PartitionId};
use plimsoll::core::key::Key;
use plimsoll::core::objective::{Indicator, Method, Objective, Period};
use plimsoll::core::output::{Breach, Output, UpdateReason};
use plimsoll::core::partial::{Delta, DeltaBody, LagSample, LogRecord, Partial};
use plimsoll::core::plan::{Body, Plan};
use plimsoll::core::rules::Rules;
use plimsoll::core::shard::{Shard, ShardOptions};

pub const SECOND_US: i64 = 1_000_000;
/// 2025-10-31T02:00:00Z: a whole hour.
pub const START_S: i64 = 1_761_876_000;
pub const BILLION: i64 = 1_000_000_000;

/// Event times are given in seconds after [`START_S`].
pub struct World {
    plan: Arc<Plan>,
    fold: Fold,
    shard: Shard,
    next: BTreeMap<PartitionId, i64>,
    offset: i64,
    pub now_s: i64,
    pub outputs: Vec<Output>,
}

impl World {
    /// Every source has one partition, assigned from the beginning.
    pub fn new(alerts: Vec<AlertRule>) -> World {
        World::of(Rules { alerts, ..sources() })
    }

    /// The topic of the source `missing` does not exist, so nobody reads it.
    pub fn without(missing: &str, alerts: Vec<AlertRule>) -> World {
        World::reading(|source| source != missing, Rules { alerts, ..sources() })
    }

    pub fn of(rules: Rules) -> World {
        World::reading(|_| true, rules)
    }

    fn reading(is_read: impl Fn(&str) -> bool, mut rules: Rules) -> World {
        rules.alerts.sort_by_key(AlertRule::full_name);
        let plan = Arc::new(Plan::compile(0, Arc::new(rules)).unwrap());
        let options = ShardOptions { provisional_every_s: 300, heartbeat_every_s: 10, rows_per_record: 256 };
        let mut world = World {
            fold: Fold::new(Arc::clone(&plan), 1),
            shard: Shard::new(0, options),
            plan,
            next: BTreeMap::new(),
            offset: 0,
            now_s: 0,
            outputs: Vec::new(),
        };
        let sources = world.plan.rules.sources.iter().enumerate();
        for (source, _) in sources.filter(|(_, source)| is_read(&source.name)) {
            let assigned = Assigned { partitions: 1, topic: 0, next: 0, max_event_us: None };
            world.fold.assign((source as u16, 0), assigned, START_S * SECOND_US);
        }
        let rules = Arc::clone(&world.plan.rules);
        world.apply(LogRecord::Spec { version: 0, rules });
        world
    }

    /// `count` requests with this status within second `at_s`.
    pub fn requests(&mut self, at_s: i64, status: i64, count: u64) {
        for n in 0..count {
            self.event(
                "request-log",
                at_s,
                n,
                &[("status", status), ("duration", 20_000)],
                &[("route", "/")],
            );
        }
    }

    /// One event; the `n`-th of its second.
    pub fn event(
        &mut self,
        source: &str,
        at_s: i64,
        n: u64,
        numbers: &[(&str, i64)],
        texts: &[(&str, &str)],
    ) {
        let plan = Arc::clone(&self.plan);
        let at = plan.rules.sources.iter().position(|s| s.name == source).unwrap();
        let source = &plan.rules.sources[at];
        let at_us = (START_S + at_s) * SECOND_US + n as i64 % SECOND_US;
        let mut event = Event::default();
        event.clear(source.fields.len());
        event.set_number(source.event_time.slot, at_us);
        numbers.iter().for_each(|(name, value)| event.set_number(source.slot(name).unwrap(), *value));
        texts.iter().for_each(|(name, value)| event.set_text(source.slot(name).unwrap(), value));
        let id = (at as u16, 0);
        let next = self.next.entry(id).or_insert(0);
        let position = Position { partition: 0, offset: *next, timestamp_us: at_us };
        *next += 1;
        let now_us = (START_S + self.now_s.max(at_s)) * SECOND_US + SECOND_US;
        self.fold.event(id, position, now_us, &mut event).unwrap();
    }

    /// The second is over: everything is flushed, and the broker says that nothing more is there.
    pub fn tick(&mut self) {
        self.now_s += 1;
        let now_us = (START_S + self.now_s) * SECOND_US;
        let ids: Vec<PartitionId> = self.fold.partitions().collect();
        ids.into_iter().for_each(|id| self.fold.observe_end(id, 0, now_us));
        self.flush(true, now_us);
    }

    /// What has come so far is flushed, and the second goes on.
    pub fn flush_within(&mut self) {
        self.flush(false, (START_S + self.now_s) * SECOND_US + SECOND_US / 2);
    }

    pub fn has_grown(&mut self) -> bool {
        self.fold.has_grown()
    }

    pub fn has_turned(&self) -> bool {
        self.fold.has_turned()
    }

    fn flush(&mut self, every_clock: bool, log_time_us: i64) {
        let flush = self.fold.flush(every_clock);
        let deltas = flush.deltas.into_iter().flatten().collect();
        let clocks = flush.clocks.into_iter().flatten().collect();
        self.apply(LogRecord::Partial(Partial { rules: 0, worker: 0, log_time_us, deltas, clocks }));
    }

    /// A sample of the lag of `group` on partition 0 of a source, taken in the second that is going on.
    pub fn lag(&mut self, group: &str, messages: u64, behind_s: i64) {
        self.lag_of(group, 0, messages, behind_s);
    }

    pub fn lag_of(&mut self, group: &str, partition: i32, messages: u64, behind_s: i64) {
        let is_it = |body: &Body| matches!(body, Body::Lag(Some(of)) if of == group);
        let projection = self.plan.projections.iter().position(|p| is_it(&p.body)).unwrap();
        let sample = LagSample { partition, messages, behind_us: behind_s * SECOND_US };
        let (key, pane) = (Key::from_packed(&[]), START_S + self.now_s);
        let delta = Delta { projection: projection as u16, key, pane, body: DeltaBody::Lag(vec![sample]) };
        let log_time_us = pane * SECOND_US;
        let (deltas, clocks) = (vec![delta], Vec::new());
        self.apply(LogRecord::Partial(Partial { rules: 0, worker: 0, log_time_us, deltas, clocks }));
    }

    fn apply(&mut self, record: LogRecord) {
        self.shard.apply(self.offset, record, &mut self.outputs).unwrap();
        self.offset += 1;
    }

    pub fn breaches(&self) -> impl Iterator<Item = &Breach> {
        self.outputs.iter().filter_map(|output| match output {
            Output::Breach(breach) => Some(&**breach),
            _ => None,
        })
    }

    /// Transition, level and second judged of each breach record of a rule, in order; not that it is still open.
    pub fn told(&self, rule: &str) -> Vec<(&'static str, String, i64)> {
        let of_rule = self.breaches().filter(|breach| format!("{}/{}", breach.document, breach.rule) == rule);
        let news = of_rule.filter(|breach| breach.update_reason != Some(UpdateReason::StillOpen));
        news.map(|b| (b.transition.name(), b.level.clone(), b.evaluated_s - START_S)).collect()
    }
}

/// The sources that ship, without tables.
pub fn sources() -> Rules {
    let surroundings = Surroundings { host_name: "test".into(), cores: 1 };
    let mut rules = embedded(&BTreeMap::new(), &surroundings, &Overrides::default()).unwrap().rules;
    rules.sources.iter_mut().for_each(|source| source.rollups.clear());
    rules
}

pub fn status_at_least(status: i64) -> Condition {
    let slot = sources().source("request-log").unwrap().slot("status").unwrap();
    Condition::Atom(Atom::Number { slot, op: Comparison::GreaterOrEqual, constant: status })
}

pub fn feed(source: &str, bad: Condition) -> Feed {
    Feed { source: source.into(), group_by: Vec::new(), filter: Condition::True, bad }
}

/// `test/NAME` with one level, `critical`.
pub fn rule(name: &str, kind: RuleKind, feeds: Vec<Feed>, level: Level) -> AlertRule {
    AlertRule {
        document: "test".into(),
        name: name.into(),
        service: Some("platform".into()),
        kind,
        feeds,
        group_limit: 1,
        hold_s: 10,
        no_data_after_s: 900,
        correct_within_s: 900,
        levels: vec![level],
        labels: BTreeMap::new(),
        runbook: None,
        summary: None,
        objective: None,
    }
}

pub fn level(side: Side, threshold_billionths: i64, window_s: i64) -> Level {
    Level {
        name: "critical".into(),
        severity: 0,
        side,
        threshold_billionths,
        threshold_text: threshold_billionths.to_string(),
        window_s,
        short_window_s: None,
        for_s: 0,
        min_events: 0,
        min_bad: 0,
        min_coverage_billionths: 0,
        over: None,
    }
}

pub fn whole(level: Level) -> Level {
    Level { min_coverage_billionths: BILLION, ..level }
}

pub fn objective(target_billionths: i64, length_s: i64, method: Method) -> Objective {
    Objective {
        slo: "slo".into(),
        name: "objective".into(),
        target_billionths,
        period: Period::Rolling { length_s },
        method,
        indicator: Indicator::Events,
    }
}
