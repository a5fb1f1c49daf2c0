//! Hours of objectives and of rules.

use serde_json::{Map, Value, json};

use crate::core::output::{RuleHour, SloHour, Stamp};
use crate::core::time::rfc3339;

use super::decimal::billionths;
use super::series::{key_json, labels_json};
use super::{OutputRecord, OutputTopics};

impl OutputTopics {
    pub(super) fn slo_hour(&self, hour: &SloHour) -> OutputRecord {
        let bucket_start = rfc3339(hour.hour_us);
        let key = key_json(&hour.slo, &hour.objective, &hour.group, Some(&bucket_start));
        let value = json!({
            "slo": hour.slo,
            "objective": hour.objective,
            "service": hour.service,
            "labels": labels_json(&hour.group),
            "bucket_start": bucket_start,
            "target": billionths(hour.target_billionths),
            "good": hour.good,
            "bad": hour.bad,
            "total": hour.total,
            "slice_good": billionths(hour.slice_good_billionths),
            "slice_bad": billionths(hour.slice_bad_billionths),
            "slice_s": hour.slice_s,
        });
        OutputRecord::plain(&self.slo_hourly, &key, &stamped(value, &hour.stamp))
    }

    pub(super) fn rule_hour(&self, hour: &RuleHour) -> OutputRecord {
        let bucket_start = rfc3339(hour.hour_us);
        let key = key_json(&hour.document, &hour.rule, &hour.group, Some(&bucket_start));
        let level_seconds: Map<String, Value> =
            hour.level_seconds.iter().map(|(level, seconds)| (level.clone(), (*seconds).into())).collect();
        let value = json!({
            "document": hour.document,
            "rule": hour.rule,
            "kind": hour.kind,
            "unit": hour.unit,
            "service": hour.service,
            "labels": labels_json(&hour.group),
            "bucket_start": bucket_start,
            "value_min": hour.values.map(|values| billionths(values.min_billionths)),
            "value_max": hour.values.map(|values| billionths(values.max_billionths)),
            "value_sum": hour.values.map(|values| billionths(values.sum_billionths)),
            "known_seconds": hour.known_seconds,
            "level_seconds": level_seconds,
        });
        OutputRecord::plain(&self.rule_hourly, &key, &stamped(value, &hour.stamp))
    }
}

fn stamped(mut value: Value, stamp: &Stamp) -> Value {
    value["revision"] = stamp.revision.into();
    value["version"] = stamp.version.into();
    value["is_final"] = stamp.is_final.into();
    value["complete"] = stamp.complete.into();
    value["watermark"] = stamp.watermark_us.map(rfc3339).into();
    value
}
