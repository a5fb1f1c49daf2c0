//! The rules in force: all that gives the log its meaning.

use serde::{Deserialize, Serialize};

use super::alert::{AlertRule, Severities};
use super::source::Source;

/// Sources, alert rules and severities, validated. Travels whole in `plimsoll-rules` and in every `Spec` record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Sorted by name.
    pub sources: Vec<Source>,
    /// Sorted by (document, name).
    pub alerts: Vec<AlertRule>,
    pub severities: Severities,
}

impl Rules {
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.name == name)
    }
}
