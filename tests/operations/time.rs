//! Event time on a real broker: silence, wrong clocks and old data.

use std::time::Duration;

use crate::facts::{Hour, dead_letters, eventually, hour, samples};
use crate::oracle::rfc3339;
use crate::records::{
    DAY_US, HOUR_US, MINUTE_US, SECOND_US, arrived, hour_of, now_us, prediction, price, request,
};
use crate::support::{Deployment, Settings};

const LIMIT: Duration = Duration::from_secs(40);
/// A final row is revised a minute after it was last written, at most.
const REVISION_LIMIT: Duration = Duration::from_secs(100);
/// 2099-12-31T00:00:00Z
const FAR_AHEAD_US: i64 = 4_102_358_400 * SECOND_US;

#[test]
fn a_live_source_goes_on_in_silence_and_takes_what_comes_after() {
    let deployment = Deployment::start(2, &Settings::default());
    let now = now_us();
    // An hour that is over, with events young enough that the source is live.
    let past_hour = hour_of(now - 90 * MINUTE_US);
    let past = past_hour + 40 * MINUTE_US;
    deployment.produce([
        price(0, past),
        price(1, past),
        request(0, past, "shop", 200),
        request(0, now, "shop", 200),
        prediction(0, now),
        prediction(1, now),
        arrived(prediction(0, FAR_AHEAD_US), now),
        prediction(0, now + SECOND_US),
    ]);
    let mut replica = deployment.replica("one", &[]);

    // Every partition is silent: log time moves the watermark on and finishes the hour.
    let first = eventually("the hour is finished by log time", LIMIT, &mut replica, |_| {
        hour(&deployment, "commodity_prices_hourly", past_hour).filter(|hour| hour.is_final)
    });
    assert_eq!(first, Hour { events: 2, late: 0, revision: 0, is_final: true });
    // One partition has never had an event.
    let requests = eventually("an empty partition holds nothing back", LIMIT, &mut replica, |_| {
        hour(&deployment, "request_log_total_hourly", past_hour).filter(|hour| hour.is_final)
    });
    assert_eq!(requests.events, 1);
    eventually("watermarks stay near log time", LIMIT, &mut replica, |replica| {
        let delays = samples(replica, "plimsoll_source_watermark_delay_seconds");
        let near = delays.values().all(|delay| (0.0..10.0).contains(delay));
        (near && delays.len() >= 3 * 4).then_some(())
    });

    // A clock that is wrong by decades costs its own event only.
    assert_eq!(dead_letters(&deployment), [("TOO_FAR_AHEAD".to_owned(), 1)].into());
    let predictions = || {
        let hours = [hour_of(now), hour_of(now) + HOUR_US];
        hours.map(|at| hour(&deployment, "ml_predictions_hourly", at).map_or((at, None), |h| (at, Some(h))))
    };
    eventually("the others are counted", LIMIT, &mut replica, |_| {
        let events: i64 = predictions().iter().flat_map(|(_, hour)| hour).map(|hour| hour.events).sum();
        (events == 3).then_some(())
    });
    for (at, found) in predictions() {
        let over = at + HOUR_US <= now_us();
        assert!(found.is_none_or(|hour| over || !hour.is_final), "{} {found:?}", rfc3339(at));
    }

    // The producer had only paused: nothing of what it sends now is lost, and what is late is counted so.
    deployment.produce([price(0, past + SECOND_US), price(0, past - 10 * SECOND_US), price(1, past)]);
    let revised = eventually("the finished hour is revised", REVISION_LIMIT, &mut replica, |_| {
        hour(&deployment, "commodity_prices_hourly", past_hour).filter(|hour| hour.revision > 0)
    });
    assert_eq!(revised, Hour { events: 5, late: 1, revision: 1, is_final: true });
    assert_eq!(dead_letters(&deployment).len(), 1);
}

#[test]
fn a_replay_that_pauses_is_not_cut_off_by_the_wall_clock() {
    let more = "intervals: {provisional: 2s, checkpoint: 2s, heartbeat: 1s}\n";
    let deployment = Deployment::start(2, &Settings { more, ..Settings::default() });
    let began = now_us();
    let old = hour_of(began - 365 * DAY_US);
    deployment.produce([
        request(0, old + 10 * MINUTE_US, "shop", 200),
        request(1, old + 12 * MINUTE_US, "shop", 200),
        price(0, old),
        price(0, old + 2 * HOUR_US),
    ]);
    let mut replica = deployment.replica("one", &[]);
    eventually("the first half is counted", LIMIT, &mut replica, |_| {
        hour(&deployment, "request_log_total_hourly", old).filter(|hour| hour.events == 2)
    });
    let quiet_since = now_us();
    eventually("log time is past idle_after", LIMIT, &mut replica, |_| {
        let heartbeats = deployment.records("slo-breach-state");
        let values = heartbeats.iter().filter_map(|(.., value)| value.as_deref());
        let beats = values.map(|value| serde_json::from_slice::<serde_json::Value>(value).unwrap());
        let newest = beats.filter_map(|beat| beat["log_time"].as_str().map(str::to_owned)).max()?;
        (newest > rfc3339(quiet_since + 8 * SECOND_US)).then_some(())
    });
    let half = hour(&deployment, "request_log_total_hourly", old).unwrap();
    assert_eq!(half, Hour { events: 2, late: 0, revision: half.revision, is_final: false });
    // An empty partition holds nothing back here either, but neither does anything go on without data.
    eventually("the hour before the newest is finished", LIMIT, &mut replica, |_| {
        hour(&deployment, "commodity_prices_hourly", old).filter(|hour| hour.is_final)
    });
    let newest = hour(&deployment, "commodity_prices_hourly", old + 2 * HOUR_US);
    assert!(newest.is_some_and(|hour| !hour.is_final), "{newest:?}");

    deployment.produce([
        request(0, old + 40 * MINUTE_US, "shop", 200),
        request(0, old + 9 * HOUR_US, "shop", 200),
        request(1, old + 41 * MINUTE_US, "shop", 200),
        request(1, old + 9 * HOUR_US, "shop", 200),
    ]);
    let whole = eventually("the hour is finished by its own data", LIMIT, &mut replica, |_| {
        hour(&deployment, "request_log_total_hourly", old).filter(|hour| hour.is_final && hour.events == 4)
    });
    assert_eq!(whole.late, 0);
    assert_eq!(dead_letters(&deployment), [].into());
}
