//! What one objective or rule says of one group: its labels, and the key of its records.

use serde_json::{Map, Value, json};

pub(super) fn labels_json(labels: &[(String, String)]) -> Value {
    labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<Map<_, _>>().into()
}

/// `[owner, name, [label, value], ..., hour]`. Labels stand with their names, as in `alert_key`: once a rule is grouped
/// by another field, its groups are others even where their values are the same.
pub(super) fn key_json(owner: &str, name: &str, group: &[(String, String)], hour: Option<&str>) -> Value {
    let mut key = vec![Value::from(owner), name.into()];
    key.extend(group.iter().map(|(label, value)| json!([label, value])));
    key.extend(hour.map(Value::from));
    Value::Array(key)
}
