//! What a rule costs in memory and in reading, counted from the panes it keeps.

use serde::Serialize;

use crate::core::alert::{AlertRule, RuleKind};
use crate::core::rules::Rules;
use crate::core::sketch::histogram::Histogram;
use crate::core::slo::pane::{Resolution, pane_width_s};

/// An estimate: an entry of an ordered map with its share of empty places, and the few cells most panes hold.
const PANE_BYTES: u64 = 176;
/// A histogram of a second or a minute rarely has more different values.
const VALUES: u64 = 32;
const VALUE_BYTES: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Panes of one group with events in every second.
    pub panes: u64,
    /// About so many bytes of memory for it.
    pub bytes: u64,
    /// Groups a shard keeps at most.
    pub group_limit: u32,
    pub bytes_at_limit: u64,
    /// Panes added up to judge one second of one group.
    pub panes_read: u64,
}

/// The cost of the rule alone; rules of one source and grouping share their panes.
pub fn cost(rules: &Rules, rule: &AlertRule) -> Cost {
    let feeds = rule.feeds.len() as u64;
    let resolution = Resolution::of(rules, std::iter::once(rule));
    let kept = resolution.tiers().iter().map(|(width_s, keep_s)| (keep_s / width_s + 1) as u64);
    let panes = if feeds == 0 { 0 } else { kept.sum::<u64>() * feeds };
    let measured = match rule.kind {
        RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => {
            size_of::<Histogram>() as u64 + VALUES * VALUE_BYTES
        }
        _ => 0,
    };
    let windows = rule.levels.iter().flat_map(|level| [Some(level.window_s), level.short_window_s]);
    let read = windows.flatten().map(|window_s| (window_s / pane_width_s(window_s)).max(1) as u64);
    let bytes = panes * (PANE_BYTES + measured);
    let groups = if rule.is_ungrouped() { 1 } else { rule.group_limit };
    Cost {
        panes,
        bytes,
        group_limit: groups,
        bytes_at_limit: bytes * u64::from(groups),
        panes_read: read.sum::<u64>() * feeds,
    }
}
