//! Breaches: CloudEvents 1.0 in binary mode.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::core::output::{Breach, BreachWindow, Evidence, OffsetRange, ShownExemplar, SloFacts, Transition};
use crate::core::time::rfc3339;

use super::budget::budget_json;
use super::decimal::{billionths, share};
use super::series::labels_json;
use super::{OutputRecord, OutputTopics, second};

/// `$id` of `schemas/breach.schema.json`.
const DATA_SCHEMA: &str = "https://plimsoll.dev/schemas/breach.v1.json";

impl OutputTopics {
    pub(super) fn breach(&self, breach: &Breach, emitted_at_us: i64) -> Vec<OutputRecord> {
        let episode_id = format!("{}/{}", breach.alert_key, second(breach.opened_s));
        let value = breach_json(breach, &episode_id).to_string().into_bytes();
        let headers = self.breach_headers(breach, &episode_id, emitted_at_us);
        let key = breach.alert_key.clone().into_bytes();
        let to = |topic: &Arc<str>| OutputRecord {
            topic: Arc::clone(topic),
            key: key.clone(),
            value: value.clone(),
            headers: headers.clone(),
        };
        let mut records = vec![to(&self.breaches)];
        if breach.is_latest {
            // Late news of an earlier episode must not hide, by compaction, one that is open.
            records.push(to(&self.breach_state));
        }
        records
    }

    fn breach_headers(
        &self,
        breach: &Breach,
        episode_id: &str,
        emitted_at_us: i64,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let id = hex(&Sha256::digest(json!([episode_id, breach.revision]).to_string().as_bytes()));
        let kind = match breach.transition {
            Transition::Opened => "opened",
            Transition::Updated => "updated",
            Transition::Resolved => "resolved",
            Transition::Retracted => "retracted",
        };
        let (number, text) = match breach.level.as_str() {
            "critical" | "high" => ("17", "ERROR"),
            _ => ("13", "WARN"),
        };
        vec![
            ("ce_specversion", b"1.0".to_vec()),
            ("ce_id", id.into_bytes()),
            ("ce_source", self.ce_source.clone().into_bytes()),
            ("ce_type", format!("dev.plimsoll.slo.breach.{kind}.v1").into_bytes()),
            ("ce_subject", format!("{}/{}", breach.document, breach.rule).into_bytes()),
            ("ce_dataschema", DATA_SCHEMA.into()),
            ("ce_time", second(breach.evaluated_s).into_bytes()),
            ("ce_recordedtime", rfc3339(emitted_at_us).into_bytes()),
            ("ce_severitynumber", number.into()),
            ("ce_severitytext", text.into()),
            ("ce_correlationid", episode_id.as_bytes().to_vec()),
            ("ce_partitionkey", breach.alert_key.clone().into_bytes()),
            ("content-type", b"application/json".to_vec()),
        ]
    }
}

fn breach_json(breach: &Breach, episode_id: &str) -> Value {
    json!({
        "alert_key": breach.alert_key,
        "episode_id": episode_id,
        "revision": breach.revision,
        "transition": breach.transition.name(),
        "update_reason": breach.update_reason.map(|reason| reason.name()),
        "resolve_reason": breach.resolve_reason.map(|reason| reason.name()),
        "severity": breach.level,
        "priority": breach.priority,
        "previous_severity": breach.previous_level,
        "slo": breach.slo.as_ref().map(|slo| slo_json(breach, slo)),
        "service": breach.service,
        "rule": {
            "document": breach.document,
            "name": breach.rule,
            "kind": breach.kind,
            "op": breach.op,
            "threshold": breach.threshold,
            "unit": breach.unit,
        },
        "labels": labels_json(&breach.labels),
        "windows": breach.windows.iter().map(window_json).collect::<Vec<_>>(),
        "budget": breach.budget.as_ref().map(budget_json),
        "onset_at": second(breach.onset_s),
        "opened_at": second(breach.opened_s),
        "recovered_at": breach.recovered_s.map(second),
        "resolved_at": breach.resolved_s.map(second),
        "evaluated_at": second(breach.evaluated_s),
        "worst_value": billionths(breach.worst_value_billionths),
        "bad_total": breach.bad_total,
        "stale": breach.stale,
        "evidence": evidence_json(&breach.evidence),
        "suppressed_by": breach.suppressed_by,
        "completeness": {
            "watermark": breach.completeness.watermark_us.map(rfc3339),
            "lag_events": breach.completeness.lag_events,
            "late_events": breach.completeness.late_events,
            "is_final": breach.completeness.is_final,
        },
        "summary": breach.summary,
        "runbook_url": breach.runbook,
        "spec_hash": breach.spec_hash,
        "version": breach.version,
    })
}

fn slo_json(breach: &Breach, slo: &SloFacts) -> Value {
    json!({
        "name": slo.slo,
        "objective": slo.objective,
        "service": breach.service,
        "target": billionths(slo.target_billionths),
        "spec_hash": breach.spec_hash,
    })
}

fn window_json(window: &BreachWindow) -> Value {
    json!({
        "name": window.name,
        "duration_s": window.end_s - window.start_s,
        "start": second(window.start_s),
        "end": second(window.end_s),
        "good": window.good,
        "bad": window.bad,
        "total": window.total,
        "sli": share(window.good, window.total),
        "coverage": billionths(window.coverage_billionths),
        "value": window.value_billionths.map(billionths),
        "value_rel_error": window.value_error_billionths.map(billionths),
        "burn_rate": window.burn_rate_billionths.map(billionths),
    })
}

fn evidence_json(evidence: &Evidence) -> Value {
    json!({
        "offset_ranges": evidence.offset_ranges.iter().map(range_json).collect::<Vec<_>>(),
        "exemplars": evidence.exemplars.iter().map(exemplar_json).collect::<Vec<_>>(),
    })
}

fn range_json(range: &OffsetRange) -> Value {
    json!({
        "topic": range.topic,
        "partition": range.partition,
        "from": range.from,
        "to": range.to,
    })
}

fn exemplar_json(exemplar: &ShownExemplar) -> Value {
    json!({
        "topic": exemplar.topic,
        "partition": exemplar.partition,
        "offset": exemplar.offset,
        "trace_id": exemplar.trace_id,
        "value": exemplar.value_billionths.map(billionths),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
