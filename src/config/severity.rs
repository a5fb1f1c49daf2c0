//! `Severities`: the words rules may use as levels.

use super::diagnostic::{Diagnostics, Problem};
use super::manifest::Manifest;
use super::quantity::duration_s;
use super::reader::{Mapping, list, owned_text, text};
use super::yaml::Node;
use crate::core::alert::{Severities, Severity};

const MAX_LEVELS: usize = 8;
const PRIORITIES: [&str; 4] = ["P0", "P1", "P2", "P3"];
const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// The words when no document gives any.
pub fn default_severities() -> Severities {
    let severity = |name: &str, priority: &str, detect, respond, resolve| Severity {
        name: name.into(),
        priority: priority.into(),
        detect_within_s: detect,
        respond_within_s: respond,
        resolve_within_s: resolve,
    };
    Severities {
        levels: vec![
            severity("critical", "P0", MINUTE_S, 5 * MINUTE_S, 30 * MINUTE_S),
            severity("high", "P1", 5 * MINUTE_S, 15 * MINUTE_S, HOUR_S),
            severity("warning", "P2", 15 * MINUTE_S, HOUR_S, 4 * HOUR_S),
            severity("low", "P3", HOUR_S, 4 * HOUR_S, 24 * HOUR_S),
        ],
    }
}

/// The words that can be read, so that the rules can still be checked when one is wrong. `reserved`: the other keys
/// of a rule, which no level may be called.
pub fn severities(manifest: &Manifest<'_>, reserved: &[&str], diagnostics: &mut Diagnostics) -> Severities {
    let items = levels(manifest.spec, diagnostics).unwrap_or_default();
    let read: Vec<Option<Severity>> =
        items.iter().map(|item| severity(item, reserved, diagnostics)).collect();
    for (index, level) in read.iter().enumerate() {
        let Some(level) = level else { continue };
        if read[..index].iter().flatten().any(|earlier| earlier.name == level.name) {
            let message = format!("the level `{}` is declared twice", level.name);
            diagnostics.push(&items[index].place, Problem::new(message, "keep one of the two"));
        }
    }
    Severities { levels: read.into_iter().flatten().collect() }
}

fn levels<'n>(spec: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n [Node]> {
    let spec = Mapping::open(spec, &["description", "levels"], diagnostics)?;
    spec.required("levels", diagnostics, |node| match list(node)? {
        items if (1..=MAX_LEVELS).contains(&items.len()) => Ok(items),
        items => {
            let help = format!("name 1 to {MAX_LEVELS}, gravest first");
            Err(Problem::new(format!("{} levels", items.len()), help))
        }
    })
}

/// None when the word itself is wrong.
fn severity(node: &Node, reserved: &[&str], diagnostics: &mut Diagnostics) -> Option<Severity> {
    let known = ["name", "priority", "detect_within", "respond_within", "resolve_within"];
    let keys = Mapping::open(node, &known, diagnostics)?;
    let name = keys.required("name", diagnostics, |node| {
        let name = owned_text(node)?;
        let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match word && !reserved.contains(&name.as_str()) {
            true => Ok(name),
            false => {
                let help = "a word of lower-case letters that is no other key of a rule, as in `critical`";
                Err(Problem::new(format!("`{name}` cannot be a level"), help))
            }
        }
    });
    let priority = keys.required("priority", diagnostics, |node| match text(node)? {
        priority if PRIORITIES.contains(&priority) => Ok(priority.to_owned()),
        other => Err(Problem::new(format!("`{other}` is not a priority"), "P0, P1, P2 or P3")),
    });
    let detect_within_s = keys.required("detect_within", diagnostics, duration_s(1..=DAY_S));
    let respond_within_s = keys.required("respond_within", diagnostics, duration_s(1..=30 * DAY_S));
    let resolve_within_s = keys.required("resolve_within", diagnostics, duration_s(1..=90 * DAY_S));
    Some(Severity {
        name: name?,
        priority: priority.unwrap_or_default(),
        detect_within_s: detect_within_s.unwrap_or_default(),
        respond_within_s: respond_within_s.unwrap_or_default(),
        resolve_within_s: resolve_within_s.unwrap_or_default(),
    })
}
