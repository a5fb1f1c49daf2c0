//! Episodes as people count them.

use plimsoll::core::output::{Breach, Output, Transition};

use crate::fixtures::*;
use crate::outputs::{self, HOUR_S, breach};

/// An episode of the alert `rule` of `service`; its name stands for its key too.
fn episode(
    service: Option<&str>,
    rule: &str,
    opened_s: i64,
    revision: u32,
    transition: Transition,
) -> Breach {
    Breach {
        alert_key: format!("{rule} of {service:?}"),
        rule: rule.into(),
        service: service.map(str::to_owned),
        ..breach(opened_s, revision, transition)
    }
}

fn stored(breaches: impl IntoIterator<Item = Breach>) -> Bench {
    let bench = Bench::migrated();
    let values = breaches.into_iter().map(|breach| outputs::value(Output::Breach(Box::new(breach))));
    let written = Feed::new(bench.store(), BREACHES).write(values.collect::<Vec<_>>());
    assert_eq!(written.invalid, []);
    bench
}

#[test]
fn the_facts_of_a_breach_fill_the_row() {
    let bench = stored([breach(HOUR_S, 0, Transition::Opened)]);
    let query = "SELECT concat_ws(' ', slo, objective, target, budget_period_s, budget_remaining_ratio, \
                 budget_exhausts_at, suppressed_by, offset_ranges->0->>'to', jsonb_array_length(exemplars), \
                 exemplars->0->>'value', windows->0->>'burn_rate', windows->0->>'value_rel_error', op) FROM slo_breach";
    assert_eq!(
        bench.value::<String>(query),
        "checkout-fast fast 0.999000000 2592000 -0.250000000 2025-11-01 02:00:00+00 {release,tuesday} 1200 2 \
         1.250000000 20.000000000 0.001000000 at_least"
    );
    // Later transitions bring them up to date.
    let bare = Breach {
        slo: None,
        budget: None,
        evidence: Default::default(),
        suppressed_by: vec![],
        ..breach(HOUR_S, 1, Transition::Updated)
    };
    let mut feed = Feed::new(bench.store(), BREACHES);
    feed.next = Some(1);
    feed.write([outputs::value(Output::Breach(Box::new(bare)))]);
    let empty = "SELECT slo IS NULL AND target IS NULL AND budget_period_s IS NULL AND suppressed_by = '{}' \
                 AND offset_ranges = '[]' AND exemplars = '[]' FROM slo_breach";
    assert!(bench.value::<bool>(empty));
}

#[test]
fn an_episode_is_told_in_one_row() {
    let graver = Breach {
        level: "critical".into(),
        priority: "P0".into(),
        previous_level: Some("high".into()),
        ..breach(HOUR_S, 1, Transition::Updated)
    };
    let bench = stored([
        breach(HOUR_S, 0, Transition::Opened),
        graver,
        breach(HOUR_S, 2, Transition::Resolved),
        breach(HOUR_S + 7_200, 0, Transition::Opened),
    ]);
    let query = "SELECT string_agg(concat_ws(' ', service, rule, labels->>'route', worst_severity, worst_priority, \
                 is_open, time_to_detect_s, coalesce(crossed_s, -1), coalesce(duration_s, -1), \
                 coalesce(to_char(resolved_at, 'HH24:MI'), 'open')), '; ' ORDER BY opened_at) FROM episode";
    assert_eq!(
        bench.value::<String>(query),
        "checkout fast /pay critical P0 f 60 300 600 02:10; checkout fast /pay high P1 t 60 -1 -1 open"
    );
}

#[test]
fn an_episode_taken_back_is_no_incident() {
    let bench = stored([breach(HOUR_S, 0, Transition::Opened), breach(HOUR_S, 1, Transition::Retracted)]);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM episode"), 0);
    assert_eq!(bench.value::<i64>("SELECT count(*) FROM incident"), 0);
    assert_eq!(bench.value::<String>("SELECT status FROM slo_breach"), "RETRACTED");
}

#[test]
fn what_fails_together_is_one_incident_of_its_service() {
    let whole = |service, rule, opened_s| {
        [Transition::Opened, Transition::Resolved]
            .into_iter()
            .zip(0..)
            .map(move |(transition, revision)| episode(service, rule, opened_s, revision, transition))
    };
    let shop = Some("shop");
    let breaches = whole(shop, "errors", HOUR_S)
        // Begins in the middle of the first; the third when the first is over, but not the second.
        .chain(whole(shop, "latency", HOUR_S + 300))
        .chain(whole(shop, "errors", HOUR_S + 700))
        // After a pause.
        .chain(whole(shop, "errors", HOUR_S + 2_000))
        .chain([episode(shop, "latency", HOUR_S + 2_100, 0, Transition::Opened)])
        // What is open has no end yet, so all that comes after is part of it.
        .chain([episode(Some("mail"), "errors", HOUR_S, 0, Transition::Opened)])
        .chain(whole(Some("mail"), "latency", HOUR_S + 5_000))
        // Others, at the same time.
        .chain(whole(Some("search"), "errors", HOUR_S))
        .chain(whole(None, "errors", HOUR_S));
    let bench = stored(breaches);
    let query = "SELECT string_agg(concat_ws(' ', coalesce(service, 'none'), to_char(onset_at, 'MI:SS'), \
                 coalesce(to_char(resolved_at, 'MI:SS'), 'open'), episodes, coalesce(duration_s, -1), rules), \
                 E'\\n' ORDER BY service, onset_at) FROM incident";
    assert_eq!(
        bench.value::<String>(query),
        "mail 59:00 open 2 -1 {checkout-fast/errors,checkout-fast/latency}\n\
         search 59:00 10:00 1 600 {checkout-fast/errors}\n\
         shop 59:00 21:40 3 1300 {checkout-fast/errors,checkout-fast/latency}\n\
         shop 32:20 open 2 -1 {checkout-fast/errors,checkout-fast/latency}\n\
         none 59:00 10:00 1 600 {checkout-fast/errors}"
    );
}
