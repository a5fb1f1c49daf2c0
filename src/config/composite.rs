//! COMPOSITE rules: the parts of a score.

use super::alert::Sources;
use super::decimal::decimal;
use super::diagnostic::{Diagnostics, Problem};
use super::quantity::share_billionths;
use super::reader::{Mapping, list, text};
use super::reference::Known;
use super::threshold::Unit;
use super::yaml::Node;
use crate::core::alert::{AlertRule, Composite, Part};

const MAX_PARTS: usize = 64;
const DEFAULT_MIN_WEIGHT_BILLIONTHS: i64 = 500_000_000;
const DEFAULT_WEIGHT_MILLIONTHS: u64 = 1_000_000;
const WEIGHT_SCALE: u8 = 6;
const MAX_WEIGHT_MILLIONTHS: u64 = 1_000_000_000_000;

/// The parts and the least weight. None, and noted, when one is wrong.
pub fn composite(
    keys: &Mapping<'_>,
    document: &str,
    known: &Known,
    sources: &Sources<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Composite> {
    let mut min_weight_billionths = DEFAULT_MIN_WEIGHT_BILLIONTHS;
    keys.set("min_weight", &mut min_weight_billionths, diagnostics, share_billionths);
    let nodes = keys.required("parts", diagnostics, |node| match list(node)? {
        nodes if (2..=MAX_PARTS).contains(&nodes.len()) => Ok(nodes),
        _ => {
            let help =
                format!("name 2 to {MAX_PARTS} rules, as in `- {{rule: error-rate, full: 0.1%, zero: 5%}}`");
            Err(Problem::new("the list is too short or too long", help))
        }
    })?;
    let read: Vec<Option<Part>> =
        nodes.iter().map(|node| part(node, document, known, sources, diagnostics)).collect();
    for (at, part) in read.iter().enumerate() {
        let Some(part) = part else { continue };
        if read[..at].iter().flatten().any(|earlier| earlier.rule == part.rule) {
            let message = format!("`{}` is a part twice", part.rule);
            diagnostics.push(&nodes[at].place, Problem::new(message, "keep one, with the weight of both"));
        }
    }
    let parts = read.into_iter().collect::<Option<Vec<Part>>>()?;
    Some(Composite { parts, min_weight_billionths })
}

fn part(
    node: &Node,
    document: &str,
    known: &Known,
    sources: &Sources<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Part> {
    let keys = Mapping::open(node, &["rule", "weight", "full", "zero"], diagnostics)?;
    let rule = keys.required("rule", diagnostics, |node| known.part(text(node)?, document)).flatten();
    let mut weight_millionths = DEFAULT_WEIGHT_MILLIONTHS;
    keys.set("weight", &mut weight_millionths, diagnostics, weight);
    let unit = rule.and_then(|rule| unit(rule, sources));
    let mut read = |key: &str| {
        let read = |node| unit.map(|unit| unit.billionths(node)).transpose();
        keys.required(key, diagnostics, read).flatten()
    };
    let (full, zero) = (read("full"), read("zero"));
    let (full_billionths, zero_billionths) = (full?, zero?);
    if full_billionths == zero_billionths {
        let help = "let the part score 1 at `full`, 0 at `zero`, and a share of it between";
        diagnostics.push(keys.place, Problem::new("`full` and `zero` are the same", help));
    }
    Some(Part { rule: rule?.full_name(), weight_millionths, full_billionths, zero_billionths })
}

fn unit<'s>(rule: &AlertRule, sources: &Sources<'s>) -> Option<Unit<'s>> {
    let source = rule.feeds.first().and_then(|feed| *sources.get(feed.source.as_str())?);
    Unit::of(&rule.kind, source.map_or(&[], |source| &source.fields))
}

fn weight(node: &Node) -> Result<u64, Problem> {
    let scaled = decimal(node)?.scaled(WEIGHT_SCALE).filter(|scaled| scaled.exact);
    let millionths = scaled.and_then(|scaled| u64::try_from(scaled.floor).ok());
    millionths.filter(|millionths| (1..=MAX_WEIGHT_MILLIONTHS).contains(millionths)).ok_or_else(|| {
        let help = format!("above 0, at most 1000000, with at most {WEIGHT_SCALE} digits behind the point");
        Problem::new("this is not a weight", help)
    })
}
