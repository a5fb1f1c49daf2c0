//! The frame every document stands in: `apiVersion`, `kind`, `metadata`, `spec`.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostics, Place, Problem, suggestion};
use super::name::document_name;
use super::reader::{Mapping, list, owned_text, scalar, text};
use super::yaml::Node;

/// Annotations with this prefix are ours; all others are left alone.
pub const ANNOTATION_PREFIX: &str = "plimsoll.dev/";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    DataSource,
    Service,
    Sli,
    Slo,
    AlertRules,
    Severities,
    Maintenance,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::DataSource,
        Kind::Service,
        Kind::Sli,
        Kind::Slo,
        Kind::AlertRules,
        Kind::Severities,
        Kind::Maintenance,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::DataSource => "DataSource",
            Kind::Service => "Service",
            Kind::Sli => "SLI",
            Kind::Slo => "SLO",
            Kind::AlertRules => "AlertRules",
            Kind::Severities => "Severities",
            Kind::Maintenance => "Maintenance",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Kind::DataSource | Kind::Service | Kind::Sli | Kind::Slo => "openslo/v1",
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
    pub annotations: Option<&'n Node>,
    pub spec: &'n Node,
}

/// None, and noted, when the document cannot be told apart from others.
pub fn manifest<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<Manifest<'n>> {
    let frame = Mapping::open(node, &["apiVersion", "kind", "metadata", "spec"], diagnostics)?;
    let kind = frame.required("kind", diagnostics, |node| {
        let word = text(node)?;
        Kind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| unsupported(word))
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
    let labels = metadata.node("labels").map(|node| labels(node, diagnostics)).unwrap_or_default();
    let annotations = metadata.node("annotations");
    let kind = kind?;
    if let Some(node) = annotations
        && kind != Kind::Slo
    {
        check_foreign(node, kind.name(), diagnostics);
    }
    Some(Manifest { kind, name: name.or(written)?, place, labels, annotations, spec: spec? })
}

/// OpenSLO allows several values a label; here they are one, joined by commas.
fn labels(node: &Node, diagnostics: &mut Diagnostics) -> BTreeMap<String, String> {
    let entries = Mapping::of_any_keys(node, diagnostics).map_or(&[][..], |mapping| mapping.entries);
    let mut labels = BTreeMap::new();
    for entry in entries {
        let value = match list(&entry.value) {
            Ok(items) => items.iter().map(text).collect::<Result<Vec<_>, _>>().map(|texts| texts.join(",")),
            Err(_) => owned_text(&entry.value),
        };
        if let Some(value) = diagnostics.accept(&entry.place, value.map_err(|p| p.of_key(&entry.key))) {
            labels.insert(entry.key.clone(), value);
        }
    }
    labels
}

/// Only an SLO has annotations of ours.
pub fn check_foreign(annotations: &Node, owner: &str, diagnostics: &mut Diagnostics) {
    let entries = Mapping::of_any_keys(annotations, diagnostics).map_or(&[][..], |mapping| mapping.entries);
    for entry in entries.iter().filter(|entry| entry.key.starts_with(ANNOTATION_PREFIX)) {
        let message = format!("`{}` has no meaning on the {owner}", entry.key);
        diagnostics.push(&entry.place, Problem::new(message, "write it in the metadata of the SLO"));
    }
}

fn unsupported(word: &str) -> Problem {
    match word {
        "AlertPolicy" | "AlertCondition" => Problem::new(
            format!("{word} is not supported: its one condition cannot hold a long and a short window"),
            "remove it, and write the annotation `plimsoll.dev/alerts: standard` on the SLO",
        ),
        "AlertNotificationTarget" => Problem::new(
            format!("{word} is not supported: Plimsoll notifies nobody itself"),
            "remove it, and let what notifies read the topic `slo-breaches`",
        ),
        _ => {
            let help = suggestion(word, Kind::ALL.map(Kind::name));
            Problem::new(format!("`{word}` is not a supported kind of document"), help)
        }
    }
}
