//! How a rule or objective stands now.

use serde_json::json;

use crate::core::output::Status;

use super::budget::budget_json;
use super::decimal::{billionths, share};
use super::series::{key_json, labels_json};
use super::{OutputRecord, OutputTopics, second};

impl OutputTopics {
    pub(super) fn status(&self, status: &Status) -> OutputRecord {
        let key = key_json(&status.document, &status.rule, &status.group, None);
        let value = json!({
            "document": status.document,
            "rule": status.rule,
            "kind": status.kind,
            "unit": status.unit,
            "service": status.service,
            "labels": labels_json(&status.group),
            "evaluated_at": second(status.at_s),
            "level": status.level,
            "value": status.value_billionths.map(billionths),
            "good": status.good,
            "bad": status.bad,
            "total": status.total,
            "sli": share(status.good, status.total),
            "coverage": billionths(status.coverage_billionths),
            "budget": status.budget.as_ref().map(budget_json),
            "version": status.version,
        });
        OutputRecord::plain(&self.slo_status, &key, &value)
    }
}
