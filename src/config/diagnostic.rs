//! What is wrong with a configuration: every mistake, where it stands and how to mend it.

use std::fmt;
use std::sync::Arc;

/// A line of a file of the configuration. Line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
}

impl Place {
    pub fn whole_file(file: &str) -> Place {
        Place { file: file.into(), line: 0 }
    }
}

/// What is wrong and how to mend it, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    pub help: String,
}

impl Problem {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: help.into() }
    }

    /// The same, found in the value of `key`.
    pub fn of_key(self, key: &str) -> Problem {
        Problem { message: format!("`{key}`: {}", self.message), help: self.help }
    }
}

/// One mistake. Ordered by file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub file: String,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    pub message: String,
    pub help: String,
}

impl Diagnostic {
    fn new(place: &Place, problem: Problem) -> Diagnostic {
        let Problem { message, help } = problem;
        Diagnostic { file: place.file.to_string(), line: place.line, message, help }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}: {}", self.file, self.message)?,
        }
        write!(f, "\n  help: {}", self.help)
    }
}

/// Every mistake found, in the order of files and lines once [`Diagnostics::finish`] has handed them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    pub list: Vec<Diagnostic>,
    /// What is right and still worth saying. Shown only when nothing is wrong.
    pub notes: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn push(&mut self, place: &Place, problem: Problem) {
        self.list.push(Diagnostic::new(place, problem));
    }

    pub fn note(&mut self, place: &Place, problem: Problem) {
        self.notes.push(Diagnostic::new(place, problem));
    }

    /// The value of `result`; its problem is noted at `place`.
    pub fn accept<T>(&mut self, place: &Place, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(place, problem)).ok()
    }

    /// `value` when nothing is wrong.
    ///
    /// # Errors
    /// Everything that is wrong, sorted and each once: a YAML anchor can lead to the same line twice.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Diagnostics> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => {
                self.list.sort();
                self.list.dedup();
                Err(self)
            }
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Help for an unknown word: the nearest known one, else all of them.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 2.max(word.len() / 3) => {
            format!("did you mean `{nearest}`?")
        }
        Some(_) => format!("known here: {}", known.join(", ")),
        None => "none is declared".into(),
    }
}
