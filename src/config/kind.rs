//! The kinds of rules that `AlertRules` may declare, and which keys have a meaning for each.

use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::reader::{Mapping, text};
use super::yaml::Node;

/// BURN_RATE is not here: it is what the objectives of SLO documents are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeKind {
    Ratio,
    Quantile,
    Freshness,
    Count,
    Rate,
    Absence,
    Lag,
    Budget,
    Composite,
}

use NativeKind::{Absence, Budget, Composite, Count, Freshness, Lag, Quantile, Rate, Ratio};

/// A key, and the kinds for which it has a meaning.
pub type Key = (&'static str, &'static [NativeKind]);

const ALL: &[NativeKind] = &[Ratio, Quantile, Freshness, Count, Rate, Absence, Lag, Budget, Composite];
/// Those that look at events one by one.
const COUNTED: &[NativeKind] = &[Ratio, Quantile, Freshness, Count, Rate, Absence];
const WINDOWED: &[NativeKind] = &[Ratio, Quantile, Freshness, Count, Rate, Composite];
/// Those whose number says nothing when it is of few events.
const OF_SHARES: &[NativeKind] = &[Ratio, Quantile, Freshness];
const COVERED: &[NativeKind] = &[Ratio, Quantile, Freshness, Count, Rate];

/// What a rule may say, besides the levels.
pub const RULE_KEYS: [Key; 27] = [
    ("name", ALL),
    ("kind", ALL),
    ("source", &[Ratio, Quantile, Freshness, Count, Rate, Absence, Lag]),
    ("sources", &[Count, Rate, Absence]),
    ("where", COUNTED),
    ("bad", &[Ratio]),
    ("good", &[Ratio]),
    ("of", &[Quantile]),
    ("quantile", &[Quantile, Freshness]),
    ("consumer_group", &[Lag]),
    ("slo", &[Budget]),
    ("objective", &[Budget]),
    ("parts", &[Composite]),
    ("min_weight", &[Composite]),
    ("window", WINDOWED),
    ("for", ALL),
    ("hold", ALL),
    ("no_data_after", ALL),
    ("correct_within", ALL),
    ("min_events", OF_SHARES),
    ("min_bad", OF_SHARES),
    ("min_coverage", COVERED),
    ("group_by", COUNTED),
    ("group_limit", COUNTED),
    ("labels", ALL),
    ("runbook", ALL),
    ("summary", ALL),
];

/// What a level may say.
pub const LEVEL_KEYS: [Key; 7] = [
    ("above", &[Ratio, Quantile, Freshness, Count, Rate, Absence, Lag, Composite]),
    ("below", &[Ratio, Quantile, Freshness, Count, Rate, Budget, Composite]),
    ("window", WINDOWED),
    ("for", ALL),
    ("min_events", OF_SHARES),
    ("min_bad", OF_SHARES),
    ("min_coverage", COVERED),
];

impl NativeKind {
    pub fn name(self) -> &'static str {
        match self {
            Ratio => "RATIO",
            Quantile => "QUANTILE",
            Freshness => "FRESHNESS",
            Count => "COUNT",
            Rate => "RATE",
            Absence => "ABSENCE",
            Lag => "LAG",
            Budget => "BUDGET",
            Composite => "COMPOSITE",
        }
    }

    /// Whether `key` of a rule has a meaning.
    pub fn takes(self, key: &str) -> bool {
        RULE_KEYS.iter().any(|(name, kinds)| *name == key && kinds.contains(&self))
    }

    /// A level, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Ratio => "above: 5%",
            Quantile => "above: 200ms",
            Freshness => "above: 1s",
            Count => "above: 3",
            Rate => "below: 7000/s",
            Absence => "above: 45s",
            Lag => "above: 30s",
            Budget => "below: 25%",
            Composite => "below: 95%",
        }
    }
}

pub fn native_kind(node: &Node) -> Result<NativeKind, Problem> {
    let word = text(node)?;
    if let Some(kind) = ALL.iter().find(|kind| kind.name() == word) {
        return Ok(*kind);
    }
    Err(match word {
        "BURN_RATE" => Problem::new(
            "BURN_RATE is no rule by itself",
            "write an SLO document: its objectives are judged by how fast they burn their error budget",
        ),
        other => Problem::new(
            format!("`{other}` is not a kind of rule"),
            suggestion(&other.to_ascii_uppercase(), ALL.iter().map(|kind| kind.name())),
        ),
    })
}

/// The mapping of a rule or level. Notes keys that no kind knows, and those that have no meaning for this one.
/// `words`: keys that all kinds take.
pub fn open<'n>(
    node: &'n Node,
    kind: NativeKind,
    keys: &[Key],
    words: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<Mapping<'n>> {
    // Only what this kind takes is offered for a key that is not known, but what another takes is known.
    let is_other = |key: &str| keys.iter().find(|(name, kinds)| *name == key && !kinds.contains(&kind));
    let own = keys.iter().filter(|(_, kinds)| kinds.contains(&kind)).map(|(name, _)| *name);
    let own: Vec<&str> = own.chain(words.iter().copied()).collect();
    let mapping = Mapping::of_any_keys(node, diagnostics)?;
    for entry in mapping.entries.iter().filter(|entry| !own.contains(&entry.key.as_str())) {
        let key = &entry.key;
        let problem = match is_other(key) {
            Some((_, kinds)) => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let help = format!("remove it; it is for {}", kinds.join(", "));
                Problem::new(format!("`{key}` has no meaning for {}", kind.name()), help)
            }
            None => Problem::new(format!("`{key}` is not a key here"), suggestion(key, own.iter().copied())),
        };
        diagnostics.push(&entry.place, problem);
    }
    Some(mapping)
}
