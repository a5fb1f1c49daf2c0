//! `Maintenance` documents: when breaches are expected.

use super::diagnostic::{Diagnostics, Problem};
use super::manifest::Manifest;
use super::reader::{Mapping, list, owned_text, text, texts};
use super::yaml::Node;
use crate::core::rules::Maintenance;

/// None, and noted, when something is wrong.
pub fn maintenance(manifest: &Manifest<'_>, diagnostics: &mut Diagnostics) -> Option<Maintenance> {
    let known = ["description", "from", "to", "services", "labels"];
    let spec = Mapping::open(manifest.spec, &known, diagnostics)?;
    spec.optional("description", diagnostics, text);
    let from = spec.required("from", diagnostics, moment_s);
    let to = spec.required("to", diagnostics, moment_s);
    let services = spec.node("services").map(|_| spec.optional("services", diagnostics, services));
    let labels = spec.node("labels").map(|node| texts(node, diagnostics)).unwrap_or_default();
    let (from_s, to_s) = (from?, to?);
    if to_s <= from_s {
        let message = if to_s == from_s { "`to` is the same as `from`" } else { "`to` is before `from`" };
        let place = spec.node("to").map_or(spec.place, |node| &node.place);
        diagnostics.push(place, Problem::new(message, "let it end after it begins; `to` itself is outside"));
        return None;
    }
    Some(Maintenance {
        name: manifest.name.clone(),
        from_s,
        to_s,
        services: services.unwrap_or(Some(Vec::new()))?,
        labels,
    })
}

/// A time of RFC 3339, in seconds since 1970.
fn moment_s(node: &Node) -> Result<i64, Problem> {
    let text = text(node)?;
    let help = "write it like `2026-03-01T22:00:00Z`, or with an offset: `2026-03-01T22:00:00+01:00`";
    let at: jiff::Timestamp =
        text.parse().map_err(|_| Problem::new(format!("`{text}` is not a time of RFC 3339"), help))?;
    match at.subsec_nanosecond() {
        0 => Ok(at.as_second()),
        _ => Err(Problem::new(format!("`{text}` is not a whole second"), "rules are judged for each second")),
    }
}

fn services(node: &Node) -> Result<Vec<String>, Problem> {
    let mut services: Vec<String> = Vec::new();
    for item in list(node)? {
        let name = owned_text(item)?;
        if services.contains(&name) {
            return Err(Problem::new(format!("`{name}` is named twice"), "name each service once"));
        }
        services.push(name);
    }
    match services.is_empty() {
        true => Err(Problem::new(
            "the list is empty",
            "name a service, or leave the key out: then it holds for all",
        )),
        false => Ok(services),
    }
}
