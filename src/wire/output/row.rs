//! Rows of the hourly tables.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::core::output::{ColumnValue, Row};
use crate::core::time::rfc3339;

use super::decimal::decimal;
use super::{OutputRecord, OutputTopics};

impl OutputTopics {
    /// None for a table that left the rules.
    pub(super) fn row(&self, row: &Row) -> Option<OutputRecord> {
        let table = self.tables.get(&*row.table)?;
        let hour = rfc3339(row.hour_us);
        let mut key: Vec<Value> = row.key.columns().map(Value::from).collect();
        key.push(hour.clone().into());
        if row.shard >= 0 {
            key.push(row.shard.into());
        }
        let mut value = Map::new();
        for (name, text) in table.keys.iter().zip(row.key.columns()) {
            value.insert(name.clone(), text.into());
        }
        value.insert("shard".into(), row.shard.into());
        value.insert("bucket_start".into(), hour.into());
        value.insert("event_count".into(), row.event_count.into());
        value.insert("late_count".into(), row.late_count.into());
        value.insert("revision".into(), row.revision.into());
        value.insert("version".into(), row.version.into());
        value.insert("is_final".into(), row.is_final.into());
        value.insert("complete".into(), row.complete.into());
        value.insert("watermark".into(), row.watermark_us.map(rfc3339).into());
        for (name, column) in table.columns.iter().zip(&row.values) {
            value.insert(name.clone(), column_json(column));
        }
        Some(OutputRecord::plain(&table.topic, &Value::Array(key), &Value::Object(value)))
    }
}

fn column_json(value: &ColumnValue) -> Value {
    match value {
        ColumnValue::Null => Value::Null,
        ColumnValue::Integer(number) => (*number).into(),
        ColumnValue::Decimal { units, scale } => decimal(*units, *scale).into(),
        ColumnValue::TimestampUs(at_us) => rfc3339(*at_us).into(),
        ColumnValue::Counts(counts) => counts
            .iter()
            .map(|(value, count)| (value.clone(), Value::from(*count)))
            .collect::<Map<_, _>>()
            .into(),
        ColumnValue::Bins(bins) => bins.clone().into(),
        ColumnValue::BinCounts(counts) => counts.clone().into(),
        ColumnValue::Bytes(bytes) => STANDARD.encode(bytes).into(),
    }
}
