//! The rules compiled: which projections an event is folded into, and what each rule reads from them.

use std::sync::Arc;

use super::alert::{AlertRule, Feed, RuleKind};
use super::expr::{Atom, Condition};
use super::identity::{atom_text, column_text, condition_text, field_text, hash, key_texts, signature};
use super::objective::Indicator;
use super::rules::Rules;
use super::source::{Rollup, Slot, Source};
use super::tally::{CellSet, Tallies};

/// Most atoms of one projection: a cell is a bit set of this many.
pub const ATOMS_MAX: usize = 16;

/// One version of the rules, ready for use.
#[derive(Debug)]
pub struct Plan {
    /// Offset of the rules in `plimsoll-rules`.
    pub version: i64,
    pub rules: Arc<Rules>,
    /// Deltas name projections by their index here.
    pub projections: Vec<Projection>,
    /// Compiled `rules.alerts`, index for index.
    pub watched: Vec<Watched>,
}

/// A source with one set of group-by fields.
#[derive(Debug)]
pub struct Projection {
    /// Index into `Rules::sources`.
    pub source: usize,
    pub by: Vec<Slot>,
    pub limit: u32,
    /// Names the projection across versions.
    pub id: u64,
    /// Seeds the way its keys spread over the shards; one and the same wherever there is nothing to group by, so that
    /// one shard sees all of that.
    pub spread: u64,
    /// Rules without groups of their own that read it, scores of those included; indexes into `rules.alerts`.
    pub joint: Vec<usize>,
    /// Rules of its groups whose number only grows.
    pub growing: Vec<usize>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    /// A row for each hour: index into the source's rollups, and the hash of what its columns compute.
    Hourly { rollup: usize, signature: u64 },
    /// Counts of events by cell and second, and histograms of what rules show.
    Cells(Cells),
    /// How far a consumer group is behind: None is our own.
    Lag(Option<String>),
}

/// What a projection of cells keeps of an event.
#[derive(Debug, Default)]
pub struct Cells {
    pub atoms: Vec<NamedAtom>,
    pub measured: Vec<Measured>,
    /// Cells that some rule blames: their events are worth a look.
    pub notable: CellSet,
    /// Cells that some rule counts whose number only grows: their events may cross its line at once.
    pub growing: CellSet,
    /// The field that names an event elsewhere.
    pub trace_id: Option<Slot>,
}

/// A value some rule shows: recorded for the events that its filter lets count.
#[derive(Debug)]
pub struct Measured {
    /// Hash of the canonical text, by which histograms outlive a change of rules.
    pub name: u64,
    pub what: Value,
    pub filter: Condition,
    /// Cells that some rule blames by this value.
    pub notable: CellSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Field(Slot),
    /// Kafka timestamp less event time, in microseconds.
    Age,
}

/// A field test and the hash of its canonical text, by which counts outlive a change of rules.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedAtom {
    pub name: u64,
    pub atom: Atom,
}

/// A rule and where its counts are.
#[derive(Debug)]
pub struct Watched {
    /// `document/rule`.
    pub name: String,
    /// Parallel to the rule's own.
    pub feeds: Vec<WatchedFeed>,
    /// LAG: index into `Plan::projections`.
    pub lag: Option<usize>,
    /// COMPOSITE: the parts, as indexes into `rules.alerts`; an objective of a score: the one it is about.
    pub parts: Vec<usize>,
    /// How late the events it counts may come.
    pub lateness_s: i64,
    /// 16 hex digits over all that the rule says.
    pub spec_hash: String,
    /// The same over what is counted alone: while it stays, counts and episodes go on.
    pub identity: u64,
}

impl Watched {
    /// Whether it counts in a projection.
    fn counts_in(&self, projection: usize) -> bool {
        self.feeds.iter().any(|feed| feed.projection == projection)
    }

    /// Whether any of the cells counts for it.
    pub fn counts_any(&self, cells: &[(u16, u64)]) -> bool {
        self.feeds.iter().any(|feed| cells.iter().any(|&(cell, _)| feed.tallies.total.has(cell)))
    }
}

#[derive(Debug)]
pub struct WatchedFeed {
    /// Index into `Plan::projections`.
    pub projection: usize,
    pub tallies: Tallies,
    /// Index into the projection's measured values.
    pub measured: Option<usize>,
}

impl Plan {
    /// `rules` are valid: slots exist and sources are known. Only the number of atoms is still to be found out.
    pub fn compile(version: i64, rules: Arc<Rules>) -> Result<Plan, PlanError> {
        let mut projections = Vec::new();
        for (at, source) in rules.sources.iter().enumerate() {
            for (rollup_at, rollup) in source.rollups.iter().enumerate() {
                let id = hash(&["hourly", &rollup.table]);
                projections.push(Projection {
                    source: at,
                    by: rollup.by.clone(),
                    limit: rollup.limit,
                    id,
                    spread: id,
                    joint: Vec::new(),
                    growing: Vec::new(),
                    body: Body::Hourly { rollup: rollup_at, signature: signature(source, rollup) },
                });
            }
        }
        let mut homes = Vec::new();
        for rule in &rules.alerts {
            let feeds = rule.feeds.iter().map(|feed| home(&rules, rule, feed, &mut projections));
            homes.push(feeds.collect::<Result<Vec<_>, _>>()?);
        }
        let watched: Vec<Watched> = rules
            .alerts
            .iter()
            .zip(homes)
            .map(|(rule, homes)| watch(&rules, rule, &homes, &mut projections))
            .collect();
        for (at, projection) in projections.iter_mut().enumerate() {
            let joint = |rule: &usize| !rules.alerts[*rule].has_own_groups() && reads(&watched, *rule, at);
            projection.joint = (0..watched.len()).filter(joint).collect();
            let grows = |rule: &usize| {
                let of = &rules.alerts[*rule];
                watched[*rule].counts_in(at) && of.has_own_groups() && of.only_grows()
            };
            projection.growing = (0..watched.len()).filter(grows).collect();
        }
        Ok(Plan { version, rules, projections, watched })
    }

    pub fn source_of(&self, projection: &Projection) -> &Source {
        &self.rules.sources[projection.source]
    }

    pub fn rollup_of(&self, projection: &Projection) -> Option<&Rollup> {
        match projection.body {
            Body::Hourly { rollup, .. } => Some(&self.source_of(projection).rollups[rollup]),
            Body::Cells(_) | Body::Lag(_) => None,
        }
    }

    /// The hourly table of the projection `id`.
    pub fn table(&self, id: u64) -> Option<TableOf<'_>> {
        let projection = self.projections.iter().find(|projection| projection.id == id)?;
        let Body::Hourly { signature, .. } = projection.body else { return None };
        Some(TableOf { source: self.source_of(projection), rollup: self.rollup_of(projection)?, signature })
    }

    /// Rules that read this projection, with their index in `rules.alerts`.
    pub fn rules_of(&self, projection: usize) -> impl Iterator<Item = (usize, &Watched)> {
        self.watched.iter().enumerate().filter(move |(_, watched)| watched.counts_in(projection))
    }

    /// The same, and the rules that score those.
    pub fn readers_of(&self, projection: usize) -> impl Iterator<Item = usize> {
        (0..self.watched.len()).filter(move |&rule| reads(&self.watched, rule, projection))
    }
}

/// Whether a rule counts in a projection, or scores one that does.
fn reads(all: &[Watched], rule: usize, projection: usize) -> bool {
    let watched = &all[rule];
    watched.counts_in(projection) || watched.parts.iter().any(|&part| reads(all, part, projection))
}

/// An hourly table as one version of the rules has it.
#[derive(Clone, Copy, Debug)]
pub struct TableOf<'a> {
    pub source: &'a Source,
    pub rollup: &'a Rollup,
    pub signature: u64,
}

impl TableOf<'_> {
    /// For each column of `to` the one here that computes the same; None when no row can go on there.
    pub fn moved_to(&self, to: &TableOf<'_>) -> Option<Vec<Option<usize>>> {
        let same_keys = key_texts(self.source, self.rollup) == key_texts(to.source, to.rollup);
        if self.source.name != to.source.name || !same_keys {
            return None;
        }
        let columns = &self.rollup.columns;
        let known: Vec<String> = columns.iter().map(|column| column_text(self.source, column)).collect();
        let place = |column| known.iter().position(|text| *text == column_text(to.source, column));
        Some(to.rollup.columns.iter().map(place).collect())
    }
}

/// Too many different conditions on one grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "rule {document}/{rule} tests more than {ATOMS_MAX} different conditions on fields of source {source_name}; say it \
     with fewer, or as several rules"
)]
pub struct PlanError {
    pub document: String,
    pub rule: String,
    pub source_name: String,
}

/// A cell under another list of atoms; an atom unknown to `from` is false.
pub fn move_cell(cell: u16, from: &[NamedAtom], to: &[NamedAtom]) -> u16 {
    to.iter().enumerate().fold(0, |moved, (i, atom)| {
        let old = from.iter().position(|known| known.name == atom.name);
        moved | old.map_or(0, |at| cell >> at & 1) << i
    })
}

/// Finds or makes the projection whose cells tell the conditions of this feed.
fn home(
    rules: &Rules,
    rule: &AlertRule,
    feed: &Feed,
    projections: &mut Vec<Projection>,
) -> Result<usize, PlanError> {
    let error = || PlanError {
        document: rule.document.clone(),
        rule: rule.name.clone(),
        source_name: feed.source.clone(),
    };
    let source_at = rules.sources.iter().position(|s| s.name == feed.source).ok_or_else(error)?;
    let source = &rules.sources[source_at];
    let wanted = atoms_of(rule, feed, source);
    if wanted.len() > ATOMS_MAX {
        return Err(error());
    }
    let by: Vec<&str> = feed.group_by.iter().map(|&slot| source.fields[slot].name.as_str()).collect();
    let (by, limit) = (by.join("\u{1f}"), rule.group_limit.to_string());
    // The first of this grouping that has room for what is new.
    for n in 0.. {
        let id = hash(&["cells", &source.name, &by, &limit, &n.to_string()]);
        let at = projections.iter().position(|p| p.id == id).unwrap_or_else(|| {
            let spread = if feed.group_by.is_empty() { hash(&["ungrouped"]) } else { id };
            let (by, limit) = (feed.group_by.clone(), rule.group_limit);
            let body = Body::Cells(Cells::default());
            projections.push(Projection {
                source: source_at,
                by,
                limit,
                id,
                spread,
                joint: Vec::new(),
                growing: Vec::new(),
                body,
            });
            projections.len() - 1
        });
        let Body::Cells(Cells { atoms, .. }) = &mut projections[at].body else { continue };
        let is_new = |new: &&NamedAtom| atoms.iter().all(|known| known.name != new.name);
        if atoms.len() + wanted.iter().filter(is_new).count() <= ATOMS_MAX {
            for atom in wanted {
                if atoms.iter().all(|known| known.name != atom.name) {
                    atoms.push(atom);
                }
            }
            return Ok(at);
        }
    }
    Err(error())
}

/// The atoms of all that a rule asks of one source.
fn atoms_of(rule: &AlertRule, feed: &Feed, source: &Source) -> Vec<NamedAtom> {
    let mut atoms: Vec<NamedAtom> = Vec::new();
    let over = rule.levels.iter().filter_map(|level| level.over.as_ref());
    for condition in [&feed.filter, &feed.bad].into_iter().chain(over) {
        condition.each_atom(&mut |atom| {
            let name = hash(&["atom", &atom_text(source, atom)]);
            if atoms.iter().all(|known| known.name != name) {
                atoms.push(NamedAtom { name, atom: atom.clone() });
            }
        });
    }
    atoms
}

fn watch(rules: &Rules, rule: &AlertRule, homes: &[usize], projections: &mut Vec<Projection>) -> Watched {
    let mut identity = format!("{:?}", rule.kind);
    let mut feeds = Vec::new();
    for (feed, &at) in rule.feeds.iter().zip(homes) {
        let source = &rules.sources[projections[at].source];
        let texts = [&feed.filter, &feed.bad].map(|condition| condition_text(source, condition));
        identity.push_str(&format!("{:x} {} {}", projections[at].id, texts[0], texts[1]));
        let Body::Cells(cells) = &mut projections[at].body else { continue };
        let measured = shown_value(&rule.kind).map(|what| measure(cells, source, what, &feed.filter));
        let tallies = Tallies::of(rule, feed, &cells.atoms);
        note(cells, rule, feed, &tallies, measured);
        if rule.only_grows() {
            cells.growing.add(&tallies.total);
        }
        cells.trace_id = source.fields.iter().position(|field| field.name == "trace_id");
        feeds.push(WatchedFeed { projection: at, tallies, measured });
    }
    let lag = match (&rule.kind, rule.objective.as_ref().map(|objective| &objective.indicator)) {
        (RuleKind::Lag { source, lag }, _) | (_, Some(Indicator::Lag { source, lag, .. })) => {
            lag_home(rules, source, lag.consumer_group.as_deref(), projections)
        }
        _ => None,
    };
    let at = |name: &str| rules.alerts.iter().position(|rule| rule.full_name() == name);
    let parts = match (&rule.kind, rule.objective.as_ref().map(|objective| &objective.indicator)) {
        (RuleKind::Composite(composite), _) => {
            composite.parts.iter().filter_map(|part| at(&part.rule)).collect()
        }
        (_, Some(Indicator::Composite { rule, .. })) => at(rule).into_iter().collect(),
        _ => Vec::new(),
    };
    identity.push_str(&format!("{:?}", rule.objective));
    for level in &rule.levels {
        identity.push_str(&format!(" {} {:?}", level.window_s, level.short_window_s));
    }
    let spec_hash = format!("{:016x}", hash(&["rule", &format!("{rule:?}")]));
    let identity = hash(&["identity", &identity]);
    let lateness_s = rules.lateness_s(rule);
    Watched { name: rule.full_name(), feeds, lag, parts, lateness_s, spec_hash, identity }
}

/// Marks the cells whose events a breach of the rule names. One that counts everything needs no names.
fn note(cells: &mut Cells, rule: &AlertRule, feed: &Feed, tallies: &Tallies, measured: Option<usize>) {
    if matches!(rule.kind, RuleKind::Count) && feed.filter == Condition::True {
        return;
    }
    let notable = match measured {
        Some(at) => &mut cells.measured[at].notable,
        None => &mut cells.notable,
    };
    (0..rule.levels.len()).for_each(|level| notable.add(tallies.blamed(rule, level)));
}

fn shown_value(kind: &RuleKind) -> Option<Value> {
    match kind {
        RuleKind::Quantile { of, .. } => Some(Value::Field(*of)),
        RuleKind::Freshness { .. } => Some(Value::Age),
        RuleKind::Ratio
        | RuleKind::Count
        | RuleKind::Rate
        | RuleKind::Absence
        | RuleKind::Lag { .. }
        | RuleKind::BurnRate
        | RuleKind::Budget
        | RuleKind::Composite(_) => None,
    }
}

/// The place of a value among those the projection records.
fn measure(cells: &mut Cells, source: &Source, what: Value, filter: &Condition) -> usize {
    let text = match what {
        Value::Field(slot) => field_text(source, slot),
        Value::Age => "age".into(),
    };
    let name = hash(&["measured", &text, &condition_text(source, filter)]);
    cells.measured.iter().position(|known| known.name == name).unwrap_or_else(|| {
        cells.measured.push(Measured { name, what, filter: filter.clone(), notable: CellSet::default() });
        cells.measured.len() - 1
    })
}

fn lag_home(
    rules: &Rules,
    source: &str,
    group: Option<&str>,
    projections: &mut Vec<Projection>,
) -> Option<usize> {
    let source_at = rules.sources.iter().position(|s| s.name == source)?;
    let id = hash(&["lag", source, group.unwrap_or_default()]);
    Some(projections.iter().position(|p| p.id == id).unwrap_or_else(|| {
        let spread = hash(&["ungrouped"]);
        let body = Body::Lag(group.map(str::to_owned));
        projections.push(Projection {
            source: source_at,
            by: Vec::new(),
            limit: 1,
            id,
            spread,
            joint: Vec::new(),
            growing: Vec::new(),
            body,
        });
        projections.len() - 1
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::expr::Comparison;

    fn named(name: u64) -> NamedAtom {
        let atom = Atom::Number { slot: 0, op: Comparison::Less, constant: name as i64 };
        NamedAtom { name, atom }
    }

    #[test]
    fn cells_move_by_the_names_of_their_atoms() {
        let from = [named(7), named(8), named(9)];
        let to = [named(9), named(5), named(7)];
        assert_eq!(move_cell(0b101, &from, &to), 0b101);
        assert_eq!(move_cell(0b001, &from, &to), 0b100);
        assert_eq!(move_cell(0b010, &from, &to), 0);
    }
}
