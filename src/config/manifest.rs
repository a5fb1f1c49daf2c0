//! The frame every document stands in: `apiVersion`, `kind`, `metadata`, `spec`.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostics, Place, Problem, suggestion};
use super::name::document_name;
use super::reader::{Mapping, scalar, text, texts};
use super::yaml::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    DataSource,
    AlertRules,
    Severities,
    Maintenance,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::DataSource, Kind::AlertRules, Kind::Severities, Kind::Maintenance];

    pub fn name(self) -> &'static str {
        match self {
            Kind::DataSource => "DataSource",
            Kind::AlertRules => "AlertRules",
            Kind::Severities => "Severities",
            Kind::Maintenance => "Maintenance",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Kind::DataSource => "openslo/v1",
            Kind::AlertRules | Kind::Severities | Kind::Maintenance => "plimsoll.dev/v1",
        }
    }
}

pub struct Manifest<'n> {
    pub kind: Kind,
    pub name: String,
    /// Where the name stands.
    pub place: &'n Place,
    pub labels: BTreeMap<String, String>,
    pub spec: &'n Node,
}

/// None, and noted, when the document cannot be told apart from others.
pub fn manifest<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<Manifest<'n>> {
    let frame = Mapping::open(node, &["apiVersion", "kind", "metadata", "spec"], diagnostics)?;
    let kind = frame.required("kind", diagnostics, |node| {
        let word = text(node)?;
        Kind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
            let help = suggestion(word, Kind::ALL.map(Kind::name));
            Problem::new(format!("`{word}` is not a supported kind of document"), help)
        })
    });
    frame.required("apiVersion", diagnostics, |node| match (text(node)?, kind) {
        (version, Some(kind)) if version != kind.api_version() => {
            let message = format!("`{version}` has no {}", kind.name());
            Err(Problem::new(message, format!("write `apiVersion: {}`", kind.api_version())))
        }
        _ => Ok(()),
    });
    let metadata = frame.required_node("metadata", diagnostics);
    let spec = frame.required_node("spec", diagnostics);
    let metadata = Mapping::open(metadata?, &["name", "displayName", "labels", "annotations"], diagnostics)?;
    let name = metadata.required("name", diagnostics, document_name);
    // A wrong name still tells which document others mean.
    let written = metadata.node("name").and_then(|node| scalar(node).ok()).map(str::to_owned);
    let place = metadata.node("name").map_or(metadata.place, |node| &node.place);
    let labels = metadata.node("labels").map(|node| texts(node, diagnostics)).unwrap_or_default();
    Some(Manifest { kind: kind?, name: name.or(written)?, place, labels, spec: spec? })
}
