//! `Maintenance` documents: when breaches are expected.

use std::collections::BTreeSet;

use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::manifest::Manifest;
use super::reader::{Mapping, list, owned_text, text, texts};
use super::yaml::Node;
use crate::core::rules::Maintenance;

/// None, and noted, when something is wrong. `known`: the services that rules are about; None: not known for sure, so
/// nothing is said about names.
pub fn maintenance(
    manifest: &Manifest<'_>,
    known: Option<&BTreeSet<&str>>,
    diagnostics: &mut Diagnostics,
) -> Option<Maintenance> {
    let keys = ["description", "from", "to", "services", "labels"];
    let spec = Mapping::open(manifest.spec, &keys, diagnostics)?;
    spec.optional("description", diagnostics, text);
    let from = spec.required("from", diagnostics, moment_s);
    let to = spec.required("to", diagnostics, moment_s);
    let services = spec.node("services").map_or(Some(Vec::new()), |node| services(node, known, diagnostics));
    let labels = spec.node("labels").map(|node| texts(node, diagnostics)).unwrap_or_default();
    let (from_s, to_s) = (from?, to?);
    if to_s <= from_s {
        let message = if to_s == from_s { "`to` is the same as `from`" } else { "`to` is before `from`" };
        let place = spec.node("to").map_or(spec.place, |node| &node.place);
        diagnostics.push(place, Problem::new(message, "let it end after it begins; `to` itself is outside"));
        return None;
    }
    Some(Maintenance { name: manifest.name.clone(), from_s, to_s, services: services?, labels })
}

/// A time of RFC 3339, in seconds since 1970.
pub fn moment_s(node: &Node) -> Result<i64, Problem> {
    let text = text(node)?;
    let help = "write it like `2026-03-01T22:00:00Z`, or with an offset: `2026-03-01T22:00:00+01:00`";
    let at: jiff::Timestamp =
        text.parse().map_err(|_| Problem::new(format!("`{text}` is not a time of RFC 3339"), help))?;
    match at.subsec_nanosecond() {
        0 => Ok(at.as_second()),
        _ => Err(Problem::new(format!("`{text}` is not a whole second"), "rules are judged for each second")),
    }
}

/// None, and noted, when one is wrong.
fn services(
    node: &Node,
    known: Option<&BTreeSet<&str>>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<String>> {
    let items = diagnostics.accept(&node.place, list(node).map_err(|problem| problem.of_key("services")))?;
    if items.is_empty() {
        let help = "name a service, or leave the key out: then it holds for all";
        diagnostics.push(&node.place, Problem::new("`services`: the list is empty", help));
    }
    let mut services: Vec<String> = Vec::new();
    for item in items {
        let read = service(item, &services, known).map_err(|problem| problem.of_key("services"));
        services.extend(diagnostics.accept(&item.place, read));
    }
    (!items.is_empty() && services.len() == items.len()).then_some(services)
}

fn service(node: &Node, before: &[String], known: Option<&BTreeSet<&str>>) -> Result<String, Problem> {
    let name = owned_text(node)?;
    if before.contains(&name) {
        return Err(Problem::new(format!("`{name}` is named twice"), "name each service once"));
    }
    match known {
        Some(known) if !known.contains(name.as_str()) => {
            let help = suggestion(&name, known.iter().copied());
            Err(Problem::new(format!("no rule is about a service `{name}`"), help))
        }
        _ => Ok(name),
    }
}
