//! What can go wrong with Postgres, by what the caller must do about it.

use std::error::Error as _;

use postgres::error::SqlState;

/// Why a call did nothing. A single record that Postgres refuses is no error: see `Written::invalid`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Rejected: no connection, a shutdown, a lock or conflict, a full disk. Try the same call again later.
    #[error("Postgres cannot be used now: {problem}")]
    Unavailable { problem: String },
    /// Another writer has moved this partition on. Nothing was written; stop reading it until it is assigned again.
    #[error(
        "partition {partition} of {topic} has another owner: its next offset is {}, not {}",
        offset_text(*.found), offset_text(*.expected)
    )]
    Fenced { topic: String, partition: i32, expected: Option<i64>, found: Option<i64> },
    /// The tables are not those of the rules, or this user may not use them. A person must act.
    #[error("{problem}; run `plimsoll db migrate` with a user who may change the schema")]
    Schema { problem: String },
    /// The rules ask for something that the tables, as they are, cannot become.
    #[error("{problem}")]
    Unmigratable { problem: String },
    /// The database URL does not say how to connect. The text never holds a part of it.
    #[error("the database URL is not usable: {problem}")]
    Url { problem: String },
}

fn offset_text(offset: Option<i64>) -> String {
    offset.map_or("not set".to_owned(), |offset| offset.to_string())
}

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> StoreError {
        let problem = describe(&error);
        match error.code() {
            Some(state) if needs_migration(state) => StoreError::Schema { problem },
            // Without its DEFAULT partition a table cannot take the row: not the row's fault.
            Some(state) if *state == SqlState::CHECK_VIOLATION => StoreError::Schema { problem },
            _ => StoreError::Unavailable { problem },
        }
    }
}

/// Classes 42 (no such table, column or right) and 3F (no such schema).
fn needs_migration(state: &SqlState) -> bool {
    let class = state.code().get(..2);
    class == Some("42") || class == Some("3F")
}

/// Whether Postgres refuses the data themselves, so that sending them again cannot help.
pub(super) fn refuses_data(error: &postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    match db.code().code().get(..2) {
        // Data exception; a limit of the program, such as JSON nested too deep.
        Some("22" | "54") => true,
        Some("23") => db.code() == &SqlState::NOT_NULL_VIOLATION || db.constraint().is_some(),
        _ => false,
    }
}

/// The server's own words when it spoke, else the chain of causes. Neither holds a password.
pub(super) fn describe(error: &postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
        for more in [db.detail(), db.hint()].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
