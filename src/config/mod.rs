//! Documents -> validated, typed model; every error at once.
//!
//! [`load`] reads a folder; [`parse`] and [`parse_rules`] do the same from texts and read nothing themselves, but for
//! the system's time zones where a calendar window names one.

mod aggregate;
mod alert;
mod budget;
mod composite;
mod condition;
mod constant;
mod decimal;
pub mod diagnostic;

mod feed;
mod field;
mod folder;
mod kind;
mod level;
pub(crate) mod maintenance;
mod manifest;
mod name;
mod properties;
pub(crate) mod quantity;
pub(crate) mod reader;
mod reference;
mod rollup;
mod rule;
mod rules;
mod service;
pub mod settings;
mod settings_file;
mod severity;
pub mod slo;
mod source;
mod threshold;
pub(crate) mod yaml;

pub use condition::condition;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use folder::{embedded, embedded_files, load};
pub use quantity::written_duration_us;
pub use settings_file::{Outside, Overrides, Surroundings, default_settings};

use std::fmt;

use self::settings::Settings;
use crate::core::rules::Rules;
use diagnostic::Problem;

/// A file of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// As diagnostics show it.
    pub path: String,
    pub text: String,
}

impl fmt::Debug for Document {
    /// Without the text: a settings file may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("path", &self.path).field("bytes", &self.text.len()).finish()
    }
}

/// The files of a configuration folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `plimsoll.yaml`; None: every setting has its default.
    pub settings: Option<Document>,
    /// Sources, SLOs, alert rules, severities and maintenance, in any order.
    pub rules: Vec<Document>,
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub settings: Settings,
    pub rules: Rules,
    /// The rule files as they were read. The settings file is not among them: it may hold secrets.
    pub documents: Vec<Document>,
    /// What is right and still worth saying, such as burn-rate tiers an objective cannot use; by file and line.
    pub notes: Vec<Diagnostic>,
}

/// The configuration made of `files`.
///
/// # Errors
/// Every mistake in every file.
pub fn parse(files: Files, outside: &Outside<'_>) -> Result<Loaded, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let roots = files.settings.iter().flat_map(|d| yaml::documents(&d.path, &d.text, &mut diagnostics));
    let roots: Vec<_> = roots.collect();
    if let Some(second) = roots.get(1) {
        let problem = Problem::new("a second document", "the settings are one document; remove the `---`");
        diagnostics.push(&second.place, problem);
    }
    let settings = settings_file::settings(roots.first(), outside, &mut diagnostics);
    let nodes = nodes(&files.rules, &mut diagnostics);
    let rules = rules::rules(&nodes, Some(&settings.topics), &mut diagnostics);
    let mut notes = std::mem::take(&mut diagnostics.notes);
    notes.sort();
    diagnostics.finish(rules.map(|rules| Loaded { settings, rules, documents: files.rules, notes }))
}

/// The rules made of `documents`, without settings.
///
/// # Errors
/// Every mistake in every document.
pub fn parse_rules(documents: &[Document]) -> Result<Rules, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let nodes = nodes(documents, &mut diagnostics);
    let rules = rules::rules(&nodes, None, &mut diagnostics);
    diagnostics.finish(rules)
}

/// One a document. A list at the top is a list of documents, as OpenSLO's own tools read it.
fn nodes(documents: &[Document], diagnostics: &mut Diagnostics) -> Vec<yaml::Node> {
    let nodes = documents.iter().flat_map(|d| yaml::documents(&d.path, &d.text, diagnostics));
    let each = |node: yaml::Node| match node.value {
        yaml::Value::List(items) => items,
        _ => vec![node],
    };
    nodes.flat_map(each).collect()
}
