//! Deltas that met an hour already gone, as dead letters.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::core::event::{Invalid, Reason};
use crate::core::output::HourGone;
use crate::core::time::rfc3339;
use crate::wire::dead_letter;

use super::{OutputRecord, OutputTopics};

impl OutputTopics {
    pub(super) fn hour_gone(&self, gone: &HourGone) -> OutputRecord {
        let key: Vec<&str> = gone.key.columns().collect();
        let ranges: Vec<Value> =
            gone.offset_ranges.iter().map(|(partition, from, to)| json!([partition, from, to])).collect();
        let value = json!({
            "table": &*gone.table,
            "key": key,
            "bucket_start": rfc3339(gone.hour_us),
            "event_count": gone.event_count,
            "offset_ranges": ranges,
            "version": gone.version,
        });
        let detail = format!(
            "{} events for {} {} came after the hour was gone",
            gone.event_count,
            gone.table,
            rfc3339(gone.hour_us)
        );
        let (partition, offset) =
            gone.offset_ranges.first().map_or((-1, -1), |&(partition, from, _)| (partition, from));
        let invalid = Invalid { reason: Reason::HourGone, detail };
        OutputRecord {
            topic: Arc::clone(&self.dead_letters),
            key: gone.topic.clone().into_bytes(),
            value: value.to_string().into_bytes(),
            headers: dead_letter::headers(&gone.topic, partition, offset, None, &invalid),
        }
    }
}
