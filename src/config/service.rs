//! `Service` documents -> services.

use super::diagnostic::{Diagnostics, Problem};
use super::manifest::Manifest;
use super::reader::{Mapping, text};
use super::yaml::Node;
use crate::core::rules::Service;

/// In characters; OpenSLO's own limit.
const MAX_DESCRIPTION: usize = 1_050;

/// What is wrong is noted.
pub fn service(manifest: &Manifest<'_>, diagnostics: &mut Diagnostics) -> Service {
    let spec = Mapping::open(manifest.spec, &["description"], diagnostics);
    let description = spec.and_then(|spec| spec.optional("description", diagnostics, description));
    Service { name: manifest.name.clone(), description, labels: manifest.labels.clone() }
}

pub fn description(node: &Node) -> Result<String, Problem> {
    let text = text(node)?;
    match text.chars().count() {
        length if length > MAX_DESCRIPTION => {
            let message = format!("{length} characters are too long");
            Err(Problem::new(message, format!("OpenSLO allows {MAX_DESCRIPTION}; say more in a runbook")))
        }
        _ => Ok(text.to_owned()),
    }
}
