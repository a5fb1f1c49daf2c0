//! The hours that are looked at.

use std::ops::Range;

use crate::core::source::Source;
use crate::core::time::{HOUR_US, MINUTE_US, floor_to, rfc3339};
use crate::store::{Store, StoreError};

/// What a user asked for, in microseconds since 1970; whole hours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
}

/// Hours looked at where nothing else is asked for.
const HOURS: i64 = 24;
/// Late events change final rows once a minute at most, and what they changed must be stored.
const SETTLED_AFTER_US: i64 = 2 * MINUTE_US;

/// None when the tables have no hour that is asked for.
pub fn hours(
    asked: Asked,
    sources: &[&Source],
    store: &mut Store,
    now_us: i64,
) -> Result<Option<Range<i64>>, StoreError> {
    if let (Some(from_us), Some(to_us)) = (asked.from_us, asked.to_us) {
        return Ok(Some(from_us..to_us));
    }
    let (mut oldest_us, mut newest_us) = (None, None);
    for rollup in sources.iter().flat_map(|source| &source.rollups) {
        if let Some((first_us, last_us)) = store.hour_span(&rollup.table)? {
            oldest_us = [oldest_us, Some(first_us)].into_iter().flatten().min();
            newest_us = newest_us.max(Some(last_us));
        }
    }
    let (Some(oldest_us), Some(newest_us)) = (oldest_us, newest_us) else { return Ok(None) };
    let wait = |source: &&Source| {
        let time = &source.event_time;
        time.lateness_us + time.out_of_order_us + time.idle_after_us
    };
    let wait_us = sources.iter().map(wait).max().unwrap_or(0) + SETTLED_AFTER_US;
    let settled_us = floor_to(now_us - wait_us, HOUR_US);
    let to_us = asked.to_us.unwrap_or((newest_us + HOUR_US).min(settled_us));
    let from_us = asked.from_us.unwrap_or((to_us - HOURS * HOUR_US).max(oldest_us));
    Ok((from_us < to_us).then_some(from_us..to_us))
}

/// `2025-10-31T02:00:00Z`
pub fn shown(at_us: i64) -> String {
    rfc3339(at_us).replace(".000000Z", "Z")
}
