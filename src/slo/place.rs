//! Where rules stand in the documents they were read from.

use crate::config::Document;
use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::yaml::{self, Entry, Node, Value};
use crate::core::alert::AlertRule;

/// The documents as trees. They have been read once already, so mistakes in them are known.
pub struct Places {
    roots: Vec<Node>,
}

impl Places {
    pub fn of(documents: &[Document]) -> Places {
        let mut diagnostics = Diagnostics::default();
        let roots = documents.iter().flat_map(|d| yaml::documents(&d.path, &d.text, &mut diagnostics));
        Places { roots: roots.collect() }
    }

    pub fn roots(&self) -> &[Node] {
        &self.roots
    }

    /// The line of the rule's or objective's name, else of its document's.
    pub fn rule(&self, rule: &AlertRule) -> Option<&Place> {
        let named = |root: &&Node| {
            let name = entry(root, "metadata").and_then(|metadata| entry(metadata, "name"));
            name.and_then(scalar) == Some(&rule.document)
        };
        let mut named = self.roots.iter().filter(named).peekable();
        let first = named.peek().and_then(|root| entry(root, "metadata")).map(|metadata| &metadata.place);
        named.find_map(|root| entry(root, "spec").and_then(|spec| mapping_called(spec, &rule.name))).or(first)
    }
}

pub fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Mapping(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

pub fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries(node).iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

pub fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Null | Value::List(_) | Value::Mapping(_) => None,
    }
}

/// What stands directly in a node.
pub fn children(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::Mapping(entries) => entries.iter().map(|entry| &entry.value).collect(),
        Value::List(items) => items.iter().collect(),
        Value::Null | Value::Scalar { .. } => Vec::new(),
    }
}

fn mapping_called<'n>(node: &'n Node, name: &str) -> Option<&'n Place> {
    let own = ["name", "displayName"].into_iter().filter_map(|key| entry(node, key));
    match own.filter_map(scalar).any(|own| own == name) {
        true => Some(&node.place),
        false => children(node).into_iter().find_map(|child| mapping_called(child, name)),
    }
}
