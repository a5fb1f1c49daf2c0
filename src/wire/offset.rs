//! The metadata of a committed source offset: the one thing ingest keeps between flushes.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetMetadata {
    /// Largest event time folded from the partition, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_event_us: Option<i64>,
}

impl OffsetMetadata {
    pub fn encode(&self) -> String {
        match self.max_event_us {
            Some(at_us) => format!("{{\"max_event_us\":{at_us}}}"),
            None => "{}".into(),
        }
    }

    /// Empty metadata, as a tool that resets offsets leaves it, says that nothing is known.
    pub fn decode(text: &str) -> Result<OffsetMetadata, serde_json::Error> {
        if text.is_empty() { Ok(OffsetMetadata::default()) } else { serde_json::from_str(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went() {
        for max_event_us in [None, Some(-5), Some(i64::MAX)] {
            let metadata = OffsetMetadata { max_event_us };
            assert_eq!(OffsetMetadata::decode(&metadata.encode()).unwrap(), metadata);
        }
        assert_eq!(OffsetMetadata::decode("").unwrap(), OffsetMetadata::default());
        assert!(OffsetMetadata::decode("nonsense").is_err());
    }
}
