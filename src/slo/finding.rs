//! What `slo check` has to say about one place.

use serde::Serialize;
use std::fmt::{self, Display, Formatter};

use crate::config::Diagnostic;

/// Ordered by file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Empty when it is not known where the rule stands.
    pub file: String,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    /// `document/rule` or `document/rule: level`; empty for what concerns no rule.
    pub subject: String,
    pub weight: Weight,
    pub lint: Lint,
    pub message: String,
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    Error,
    Warning,
}

impl Weight {
    pub fn name(self) -> &'static str {
        match self {
            Weight::Error => "error",
            Weight::Warning => "warning",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lint {
    Configuration,
    UnreachableFactor,
    BurnBelowOne,
    TooSlow,
    WindowFinerThanSlice,
    CoarsePanes,
    OneEventDecides,
    MinEventsOutOfReach,
    LevelsOutOfOrder,
    GroupLimit,
    OpAgainstWords,
    LittleTraffic,
}

impl Lint {
    pub const ALL: [Lint; 12] = [
        Lint::Configuration,
        Lint::UnreachableFactor,
        Lint::BurnBelowOne,
        Lint::TooSlow,
        Lint::WindowFinerThanSlice,
        Lint::CoarsePanes,
        Lint::OneEventDecides,
        Lint::MinEventsOutOfReach,
        Lint::LevelsOutOfOrder,
        Lint::GroupLimit,
        Lint::OpAgainstWords,
        Lint::LittleTraffic,
    ];

    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Lint::Configuration => "configuration",
            Lint::UnreachableFactor => "unreachable-factor",
            Lint::BurnBelowOne => "burn-below-one",
            Lint::TooSlow => "too-slow",
            Lint::WindowFinerThanSlice => "window-finer-than-slice",
            Lint::CoarsePanes => "coarse-panes",
            Lint::OneEventDecides => "one-event-decides",
            Lint::MinEventsOutOfReach => "min-events-out-of-reach",
            Lint::LevelsOutOfOrder => "levels-out-of-order",
            Lint::GroupLimit => "group-limit",
            Lint::OpAgainstWords => "op-against-words",
            Lint::LittleTraffic => "little-traffic",
        }
    }

    /// What it looks for.
    pub fn about(self) -> &'static str {
        match self {
            Lint::Configuration => "A document that cannot be used as it is.",
            Lint::UnreachableFactor => "A burn-rate factor that even a full outage does not reach.",
            Lint::BurnBelowOne => "A burn-rate factor that fires while the budget lasts.",
            Lint::TooSlow => "A level that can take longer to open than its severity allows.",
            Lint::WindowFinerThanSlice => "A window shorter than the slices it counts.",
            Lint::CoarsePanes => "A window so short that its panes of a second move the answer.",
            Lint::OneEventDecides => "A level that a single bad event of a quiet time crosses.",
            Lint::MinEventsOutOfReach => "A minimum of events that contradicts the threshold.",
            Lint::LevelsOutOfOrder => "A graver level that is easier to cross than a lesser one.",
            Lint::GroupLimit => "Groups that all fold into _OTHER, or take much memory.",
            Lint::OpAgainstWords => "A comparison that says the opposite of its description.",
            Lint::LittleTraffic => "A level whose window rarely holds the events it asks for.",
        }
    }
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Finding {
        let Diagnostic { file, line, message, help } = diagnostic;
        let (subject, lint) = (String::new(), Lint::Configuration);
        Finding { file, line, subject, weight: Weight::Error, lint, message, help }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => {}
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) => write!(f, "{file}:{line}: ")?,
        }
        write!(f, "{}: ", self.weight.name())?;
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        write!(f, "{} [{}]\n  help: {}", self.message, self.lint.name(), self.help)
    }
}
