//! The record of `plimsoll-rules`: what is in force, and the documents it was made from.

use serde::{Deserialize, Serialize};

use crate::core::rules::Rules;

/// Key of the one record of the compacted topic.
pub const KEY: &[u8] = b"rules";
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesRecord {
    format: u32,
    pub rules: Rules,
    pub documents: Vec<RulesDocument>,
}

/// A configuration file as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesDocument {
    pub path: String,
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("the rules in force have format {found}, this release reads {FORMAT}: upgrade this replica")]
    Format { found: u32 },
    #[error("the rules in force cannot be read ({0}); put them right with `plimsoll rules apply`")]
    Damaged(#[from] serde_json::Error),
}

impl RulesRecord {
    pub fn new(rules: Rules, documents: Vec<RulesDocument>) -> RulesRecord {
        RulesRecord { format: FORMAT, rules, documents }
    }

    pub fn encode(&self) -> Result<Vec<u8>, RulesError> {
        Ok(serde_json::to_vec(self)?)
    }

    pub fn decode(bytes: &[u8]) -> Result<RulesRecord, RulesError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(RulesError::Format { found: format });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}
