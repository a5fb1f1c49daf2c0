//! What a command ends with when it cannot do its work: a text that says how to mend it, and an exit code.

use std::fmt::Display;

use plimsoll::config::Diagnostics;
use plimsoll::kafka::{CommitError, KafkaError};
use plimsoll::roles::RoleError;
use plimsoll::roles::board::BoardError;
use plimsoll::roles::run::RunError;
use plimsoll::store::StoreError;

use super::Format;

/// The demo did not show what it is to show.
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 64;
pub const DIFFERENT: u8 = 65;
pub const UNREACHABLE: u8 = 69;
pub const BROKEN: u8 = 70;

#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    pub fn failed(text: impl Display) -> Failure {
        Failure { code: FAILED, text: text.to_string() }
    }

    pub fn usage(text: impl Display) -> Failure {
        Failure { code: USAGE, text: text.to_string() }
    }

    pub fn different(text: impl Display) -> Failure {
        Failure { code: DIFFERENT, text: text.to_string() }
    }

    pub fn unreachable(text: impl Display) -> Failure {
        Failure { code: UNREACHABLE, text: text.to_string() }
    }

    pub fn broken(text: impl Display) -> Failure {
        Failure { code: BROKEN, text: text.to_string() }
    }

    pub fn print(&self, format: Format) {
        match format {
            Format::Text => eprintln!("{}", self.text),
            Format::Json => {
                eprintln!("{}", serde_json::json!({"error": self.text, "exit_code": self.code}))
            }
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Failure {
        Failure::usage(diagnostics)
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Failure {
        match error {
            KafkaError::UnknownTopic { .. } | KafkaError::Configuration { .. } => Failure::usage(error),
            error => Failure::unreachable(error),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        Failure::unreachable(error)
    }
}

impl From<BoardError> for Failure {
    fn from(error: BoardError) -> Failure {
        match error {
            BoardError::Kafka(error) => error.into(),
            error => Failure::unreachable(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Url { .. } => Failure::usage(error),
            error => Failure::unreachable(error),
        }
    }
}

impl From<RoleError> for Failure {
    fn from(error: RoleError) -> Failure {
        Failure { code: error.exit_code(), text: error.to_string() }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Role(error) => error.into(),
            RunError::Http(error) => Failure::usage(error),
            RunError::Thread(error) => Failure::broken(error),
        }
    }
}
