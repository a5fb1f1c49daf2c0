//! The records others read, and the JSON Schemas that describe them.

#[path = "support/outputs.rs"]
mod outputs;

use std::fs;
use std::path::Path;

use outputs::{HOUR_S, KEY, breach, record, rule_hour, slo_hour, status, value};
use plimsoll::core::output::*;
use plimsoll::wire::output::OutputRecord;
use serde_json::{Value, json};

fn key(record: &OutputRecord) -> Value {
    serde_json::from_slice(&record.key).unwrap()
}

#[test]
fn a_breach_says_all_it_knows() {
    let record = record(Output::Breach(Box::new(breach(HOUR_S, 2, Transition::Resolved))));
    assert_eq!((&*record.topic, record.key.as_slice()), ("slo-breaches", KEY.as_bytes()));
    let header = |name: &str| {
        let found = record.headers.iter().find(|(known, _)| *known == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no {name}")).1.clone()).unwrap()
    };
    assert_eq!(header("ce_subject"), "checkout-fast/fast");
    assert_eq!(header("ce_dataschema"), schema("breach.schema.json")["$id"]);
    let got: Value = serde_json::from_slice(&record.value).unwrap();
    let window = |name: &str, start: &str, duration_s: i64| {
        json!({
            "name": name, "duration_s": duration_s, "start": start, "end": "2025-10-31T02:00:00.000000Z",
            "good": 980, "bad": 20, "total": 1000, "sli": "0.980000000", "coverage": "1.000000000",
            "value": null, "value_rel_error": null, "burn_rate": null,
        })
    };
    let mut long = window("fast", "2025-10-31T01:00:00.000000Z", 3_600);
    long["value"] = "20.000000000".into();
    long["value_rel_error"] = "0.001000000".into();
    long["burn_rate"] = "20.000000000".into();
    let expected = json!({
        "alert_key": KEY, "episode_id": format!("{KEY}/2025-10-31T02:00:00.000000Z"), "revision": 2,
        "transition": "RESOLVED", "update_reason": null, "resolve_reason": "RECOVERED", "severity": "high", "priority": "P1",
        "previous_severity": null,
        "slo": {"name": "checkout-fast", "objective": "fast", "service": "checkout", "target": "0.999000000",
                "spec_hash": "0123456789abcdef"},
        "service": "checkout",
        "rule": {"document": "checkout-fast", "name": "fast", "kind": "BURN_RATE", "op": "at_least",
                 "threshold": "14.4", "unit": "1"},
        "labels": {"route": "/pay", "team": "web"},
        "windows": [long, window("fast short", "2025-10-31T01:55:00.000000Z", 300)],
        "budget": {"period_s": 2_592_000, "remaining_ratio": "-0.250000000",
                   "exhausts_at": "2025-11-01T02:00:00.000000Z"},
        "onset_at": "2025-10-31T01:59:00.000000Z", "opened_at": "2025-10-31T02:00:00.000000Z",
        "recovered_at": "2025-10-31T02:04:00.000000Z", "resolved_at": "2025-10-31T02:10:00.000000Z",
        "evaluated_at": "2025-10-31T02:10:00.000000Z", "worst_value": "20.500000000", "bad_total": 22,
        "stale": false,
        "evidence": {
            "offset_ranges": [{"topic": "request-log", "partition": 2, "from": 100, "to": 1200}],
            "exemplars": [
                {"topic": "request-log", "partition": 2, "offset": 101,
                 "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "value": "1.250000000"},
                {"topic": "request-log", "partition": 2, "offset": 250, "trace_id": null, "value": null},
            ],
        },
        "suppressed_by": ["release", "tuesday"],
        "completeness": {"watermark": "2025-10-31T02:00:00.000000Z", "lag_events": 3, "late_events": 1,
                         "is_final": false},
        "summary": "checkout burns 20 times too fast", "runbook_url": "https://runbooks.example/checkout",
        "spec_hash": "0123456789abcdef", "version": 77,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(got[name], *value, "{name}");
    }
    assert_eq!(got, expected);
}

#[test]
fn hours_and_statuses_are_keyed_by_their_series() {
    let hour = record(Output::SloHour(Box::new(slo_hour("/pay", HOUR_S, 7, 20))));
    assert_eq!(&*hour.topic, "slo-hourly");
    let at = "2025-10-31T02:00:00.000000Z";
    assert_eq!(key(&hour), json!(["checkout-fast", "fast", ["region", "eu"], ["route", "/pay"], at]));
    let hour = record(Output::RuleHour(Box::new(rule_hour(HOUR_S, 7))));
    assert_eq!(&*hour.topic, "rule-hourly");
    assert_eq!(key(&hour), json!(["platform", "error-rate", at]));
    let status = record(Output::Status(Box::new(status(HOUR_S + 60, 7))));
    assert_eq!(&*status.topic, "slo-status");
    assert_eq!(key(&status), json!(["checkout-fast", "fast", ["route", "/pay"]]));
}

#[test]
fn decimals_are_exact_texts() {
    let hour = value(Output::RuleHour(Box::new(rule_hour(HOUR_S, 7))));
    assert_eq!(hour["value_min"], "-0.000000001");
    assert_eq!(hour["value_sum"], "123456789012345678.901234567");
    let sliced = SloHour { slice_good_billionths: 58_500_000_001, ..slo_hour("/pay", HOUR_S, 7, 20) };
    assert_eq!(value(Output::SloHour(Box::new(sliced)))["slice_good"], "58.500000001");
}

#[test]
fn breaches_are_as_their_schema_says() {
    let full = |transition| breach(HOUR_S, 3, transition);
    let bare = Breach {
        service: None,
        previous_level: Some("critical".into()),
        windows: vec![],
        slo: None,
        budget: None,
        evidence: Evidence::default(),
        suppressed_by: vec![],
        runbook: None,
        completeness: Completeness { watermark_us: None, ..full(Transition::Updated).completeness },
        ..full(Transition::Updated)
    };
    let reasons = [
        ResolveReason::Recovered,
        ResolveReason::NoDataTimeout,
        ResolveReason::RuleRemoved,
        ResolveReason::LateData,
    ];
    let ended = reasons.map(|reason| Breach { resolve_reason: Some(reason), ..full(Transition::Resolved) });
    let reasons = [UpdateReason::Level, UpdateReason::LateData, UpdateReason::StillOpen];
    let updated = reasons.map(|reason| Breach { update_reason: Some(reason), ..full(Transition::Updated) });
    let others = [full(Transition::Opened), full(Transition::Retracted), bare];
    for breach in ended.into_iter().chain(updated).chain(others) {
        assert_described("breach.schema.json", &value(Output::Breach(Box::new(breach))));
    }
}

#[test]
fn hours_are_as_their_schemas_say() {
    let hour = slo_hour("/pay", HOUR_S, 7, 20);
    let unknown = Stamp { watermark_us: None, ..hour.stamp };
    let bare = SloHour { service: None, group: vec![], stamp: unknown, ..hour.clone() };
    for hour in [hour, bare] {
        assert_described("slo-hourly.schema.json", &value(Output::SloHour(Box::new(hour))));
    }
    let bare = RuleHour { values: None, level_seconds: vec![], ..rule_hour(HOUR_S, 7) };
    for hour in [rule_hour(HOUR_S, 7), bare] {
        assert_described("rule-hourly.schema.json", &value(Output::RuleHour(Box::new(hour))));
    }
}

#[test]
fn statuses_are_as_their_schema_says() {
    let well = Status {
        level: None,
        value_billionths: None,
        budget: None,
        service: None,
        good: 0,
        bad: 0,
        total: 0,
        ..status(HOUR_S, 7)
    };
    let lasting = BudgetLeft { period_s: 60, remaining_billionths: 1_000_000_000, exhausts_at_s: None };
    let sound = Status { budget: Some(lasting), ..status(HOUR_S, 7) };
    for status in [status(HOUR_S, 7), well, sound] {
        assert_described("slo-status.schema.json", &value(Output::Status(Box::new(status))));
    }
}

#[test]
fn the_reader_of_schemas_sees_what_is_wrong() {
    let right = value(Output::Breach(Box::new(breach(HOUR_S, 0, Transition::Opened))));
    let wrong = [
        ("/revision", json!("0"), "/revision: \"0\" is no integer"),
        ("/revision", json!(-1), "/revision: -1 is below 0"),
        ("/transition", json!("IMPROVED"), "/transition: \"IMPROVED\" is none of"),
        ("/worst_value", json!("1.5"), "/worst_value: \"1.5\" is not like"),
        ("/alert_key", json!("9F"), "/alert_key: \"9F\" is not like"),
        ("/opened_at", json!("yesterday"), "/opened_at: \"yesterday\" is no time"),
        ("/labels/route", json!(7), "/labels/route: 7 is no string"),
        ("/budget/period_s", json!(null), "/budget: "),
        ("/windows/0", json!({}), "/windows/0: name is missing"),
        ("/evidence/exemplars", json!(vec![0; 11]), "/evidence/exemplars: 11 items, at most 10"),
        ("/slo", json!({"name": "x"}), "/slo: "),
    ];
    for (place, value, expected) in wrong {
        let mut record = right.clone();
        *record.pointer_mut(place).unwrap() = value;
        let found = Schema::load("breach.schema.json").faults(&record);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{place}: {found:?}");
    }
    let mut more = right;
    more["windows"][0]["colour"] = "red".into();
    assert_eq!(Schema::load("breach.schema.json").faults(&more), ["/windows/0: colour is not described"]);
}

fn schema(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_described(file: &str, record: &Value) {
    let faults = Schema::load(file).faults(record);
    assert!(faults.is_empty(), "{file}:\n  {}\n{record:#}", faults.join("\n  "));
}

/// As much of JSON Schema as the shipped files use; any other word in them is a fault of theirs. It is stricter in one
/// thing: a field that is not described is a fault too.
struct Schema {
    root: Value,
}

impl Schema {
    fn load(file: &str) -> Schema {
        Schema { root: schema(file) }
    }

    fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.root, value, "", &mut faults);
        faults
    }

    fn check(&self, rule: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        for (word, wanted) in rule.as_object().unwrap() {
            match word.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" => {}
                "$ref" => {
                    let target = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                    self.check(self.root.pointer(target).unwrap(), value, place, faults);
                }
                "anyOf" => self.check_any(wanted, value, place, faults),
                "required" => {
                    let is_missing = |name: &&str| value.is_object() && value.get(name).is_none();
                    let missing = texts(wanted).into_iter().filter(is_missing);
                    faults.extend(missing.map(|name| format!("{place}: {name} is missing")));
                }
                "properties" | "additionalProperties" => self.check_fields(rule, value, place, word, faults),
                "items" => {
                    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{place}/{at}"), faults);
                    }
                }
                _ => faults.extend(fault(word, wanted, value).map(|fault| format!("{place}: {fault}"))),
            }
        }
    }

    fn check_any(&self, choices: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let tries = choices.as_array().unwrap().iter().map(|choice| {
            let mut faults = Vec::new();
            self.check(choice, value, place, &mut faults);
            faults
        });
        let tries: Vec<_> = tries.collect();
        if tries.iter().all(|faults| !faults.is_empty()) {
            faults.push(format!("{place}: {}", tries.concat().join(", or ")));
        }
    }

    fn check_fields(&self, rule: &Value, value: &Value, place: &str, word: &str, faults: &mut Vec<String>) {
        for (name, field) in value.as_object().into_iter().flatten() {
            let place = format!("{place}/{name}");
            match (rule.pointer(&format!("/properties/{name}")), rule.get("additionalProperties")) {
                (Some(known), _) if word == "properties" => self.check(known, field, &place, faults),
                (None, Some(other)) if word == "additionalProperties" => {
                    self.check(other, field, &place, faults);
                }
                (None, None) => {
                    let (parent, _) = place.rsplit_once('/').unwrap();
                    faults.push(format!("{parent}: {name} is not described"));
                }
                _ => {}
            }
        }
    }
}

/// What one word that looks at the value alone has against it.
fn fault(word: &str, wanted: &Value, value: &Value) -> Option<String> {
    let is_right = match word {
        "type" => texts_or_one(wanted).into_iter().any(|name| has_type(value, name)),
        "enum" => wanted.as_array().unwrap().contains(value),
        "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| is_like(text, wanted.as_str().unwrap())),
        "format" => {
            assert_eq!(wanted, "date-time");
            value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok())
        }
        other => panic!("the schema says `{other}`, which this test does not know"),
    };
    let said = match word {
        "type" => format!("{value} is no {}", texts_or_one(wanted).join(" or ")),
        "enum" => format!("{value} is none of {wanted}"),
        "minimum" => format!("{value} is below {wanted}"),
        "maxItems" => format!("{} items, at most {wanted}", value.as_array().map_or(0, Vec::len)),
        "format" => format!("{value} is no time"),
        _ => format!("{value} is not like {wanted}"),
    };
    (!is_right).then_some(said)
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type of the shipped schemas"),
    }
}

/// The patterns that the schemas use, each by hand.
fn is_like(text: &str, pattern: &str) -> bool {
    let hex = |length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern {
        "^[0-9a-f]{64}$" => hex(64),
        "^[0-9a-f]{16}$" => hex(16),
        r"^-?[0-9]+\.[0-9]{9}$" => {
            let parts = text.strip_prefix('-').unwrap_or(text).split_once('.');
            parts.is_some_and(|(whole, part)| digits(whole) && digits(part) && part.len() == 9)
        }
        other => panic!("the schema has a pattern that this test does not know: {other}"),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn texts_or_one(value: &Value) -> Vec<&str> {
    value.as_str().map_or_else(|| texts(value), |one| vec![one])
}
