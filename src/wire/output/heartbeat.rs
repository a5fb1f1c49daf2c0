//! Heartbeats, beside the breaches' latest states.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::core::output::Heartbeat;
use crate::core::time::rfc3339;

use super::{OutputRecord, OutputTopics};

impl OutputTopics {
    pub(super) fn heartbeat(&self, heartbeat: &Heartbeat) -> OutputRecord {
        let watermarks: Map<String, Value> =
            heartbeat.watermarks.iter().map(|(name, at)| (name.clone(), at.map(rfc3339).into())).collect();
        let value = json!({
            "shard": heartbeat.shard,
            "log_time": rfc3339(heartbeat.log_time_us),
            "version": heartbeat.version,
            "open_episodes": heartbeat.open_episodes,
            "watermarks": watermarks,
        });
        OutputRecord {
            topic: Arc::clone(&self.breach_state),
            key: format!("heartbeat/{}", heartbeat.shard).into_bytes(),
            value: value.to_string().into_bytes(),
            headers: vec![("content-type", b"application/json".to_vec())],
        }
    }
}
