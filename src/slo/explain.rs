//! A rule in plain words and figures.

use serde::Serialize;
use std::fmt::{self, Display, Formatter};

use super::condition::{sign, text};
use super::cost::{Cost, cost};
use super::span::{decimal, percent, size, span};
use super::timing::{self, HeldBack};
use crate::core::alert::{AlertRule, Feed, Lag, LagUnit, Level, RuleKind, Side};
use crate::core::expr::Condition;
use crate::core::objective::{EmptySlice, Indicator, Method, Objective, Period};
use crate::core::rules::Rules;
use crate::core::slo::pane::pane_width_s;

/// Seconds unless a name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `document/rule`.
    pub rule: String,
    pub kind: &'static str,
    pub service: Option<String>,
    /// What is promised, for an objective.
    pub objective: Option<String>,
    pub counts: Vec<Counts>,
    /// What the number is that levels are compared with.
    pub number: String,
    pub levels: Vec<LevelFacts>,
    /// What `detected_within_s` is made of.
    pub detection: String,
    pub hold_s: i64,
    pub no_data_after_s: i64,
    pub correct_within_s: i64,
    pub out_of_order_s: i64,
    pub idle_after_s: i64,
    pub cost: Cost,
}

/// What is counted in one source; conditions in the `where` language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub source: String,
    pub counted: String,
    /// None for kinds that know no bad events.
    pub bad: Option<String>,
    pub group_by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LevelFacts {
    pub name: String,
    pub severity: String,
    pub priority: String,
    /// When it fires, in words.
    pub fires_when: String,
    pub window_s: i64,
    pub pane_s: i64,
    pub short_window_s: Option<i64>,
    pub for_s: i64,
    pub min_events: u64,
    pub min_bad: u64,
    /// None: it never opens.
    pub detected_within_s: Option<i64>,
    pub detect_within_s: i64,
    pub reactions: Vec<Reaction>,
}

/// How a level answers a share of bad events that begins, stays a while and ends, each all at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reaction {
    pub trouble: &'static str,
    pub bad_billionths: i64,
    pub fires_after_s: Option<i64>,
    pub resolves_after_s: Option<i64>,
}

pub fn explain(rules: &Rules, rule: &AlertRule) -> Explanation {
    let HeldBack { out_of_order_s, idle_after_s } = timing::held_back(rules, rule);
    Explanation {
        rule: rule.full_name(),
        kind: rule.kind.name(),
        service: rule.service.clone(),
        objective: rule.objective.as_ref().map(promise),
        counts: rule.feeds.iter().filter_map(|feed| counts(rules, rule, feed)).collect(),
        number: number(rules, rule),
        levels: rule.levels.iter().map(|level| level_facts(rules, rule, level)).collect(),
        detection: detection(rule, out_of_order_s, idle_after_s),
        hold_s: rule.hold_s,
        no_data_after_s: rule.no_data_after_s,
        correct_within_s: rule.correct_within_s,
        out_of_order_s,
        idle_after_s,
        cost: cost(rules, rule),
    }
}

fn counts(rules: &Rules, rule: &AlertRule, feed: &Feed) -> Option<Counts> {
    let source = rules.source(&feed.source)?;
    let knows_bad = match rule.kind {
        RuleKind::Ratio | RuleKind::BurnRate | RuleKind::Budget => true,
        RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Count
        | RuleKind::Rate
        | RuleKind::Absence
        | RuleKind::Lag { .. }
        | RuleKind::Composite(_) => false,
    };
    Some(Counts {
        source: source.name.clone(),
        counted: match &feed.filter {
            Condition::True => "every event".into(),
            filter => text(source, filter),
        },
        bad: knows_bad.then(|| text(source, &feed.bad)),
        group_by: feed.group_by.iter().map(|&slot| source.fields[slot].name.clone()).collect(),
    })
}

fn level_facts(rules: &Rules, rule: &AlertRule, level: &Level) -> LevelFacts {
    let severity = rules.severities.levels.get(level.severity);
    let reaction = |(name, trouble): (&'static str, timing::Trouble)| Reaction {
        trouble: name,
        bad_billionths: trouble.bad_billionths,
        fires_after_s: timing::fires_s(rule, level, trouble),
        resolves_after_s: timing::resolves_s(rules, rule, level, trouble),
    };
    LevelFacts {
        name: level.name.clone(),
        severity: severity.map(|s| s.name.clone()).unwrap_or_default(),
        priority: severity.map(|s| s.priority.clone()).unwrap_or_default(),
        fires_when: fires_when(rules, rule, level),
        window_s: level.window_s,
        pane_s: pane_width_s(level.window_s),
        short_window_s: level.short_window_s,
        for_s: level.for_s,
        min_events: level.min_events,
        min_bad: level.min_bad,
        detected_within_s: timing::detection_s(rules, rule, level),
        detect_within_s: severity.map_or(0, |s| s.detect_within_s),
        reactions: timing::troubles(rule, level).into_iter().map(reaction).collect(),
    }
}

/// What the number is.
fn number(rules: &Rules, rule: &AlertRule) -> String {
    match &rule.kind {
        RuleKind::Ratio => "the share of bad events among those that count".into(),
        RuleKind::Quantile { of, quantile } => {
            format!("the {} of {}", quantile.suffix(), field(rules, rule, *of))
        }
        RuleKind::Freshness { quantile } => {
            format!("the {} of the time between an event and its Kafka timestamp", quantile.suffix())
        }
        RuleKind::Count => "the events that count".into(),
        RuleKind::Rate => "the events that count, a second, all sources together".into(),
        RuleKind::Absence => "the time since the last event that counts".into(),
        RuleKind::Lag { source, lag } => {
            format!("how far {} is behind on {source}, {}", group(lag), unit(lag))
        }
        RuleKind::BurnRate => "the share of bad events over the share the objective allows".into(),
        RuleKind::Budget => "the share of the error budget that is left".into(),
        RuleKind::Composite(composite) => {
            let part = |part: &crate::core::alert::Part| {
                format!(
                    "{} x {} ({} is good, {} is bad)",
                    decimal(part.weight_millionths as i64 * 1_000),
                    part.rule,
                    decimal(part.full_billionths),
                    decimal(part.zero_billionths)
                )
            };
            let parts: Vec<String> = composite.parts.iter().map(part).collect();
            format!("the weighted mean of the scores of {}", parts.join(", "))
        }
    }
}

fn detection(rule: &AlertRule, out_of_order_s: i64, idle_after_s: i64) -> String {
    let condition = match rule.kind {
        RuleKind::Lag { .. } => return "`for`, and 1 s, for lags are sampled each second".into(),
        RuleKind::BurnRate => "the time a full outage takes, `for`",
        RuleKind::Count => "the window (not for a count above), `for`",
        RuleKind::Absence => "the threshold, `for`",
        RuleKind::Ratio
        | RuleKind::Quantile { .. }
        | RuleKind::Freshness { .. }
        | RuleKind::Rate
        | RuleKind::Budget
        | RuleKind::Composite(_) => "the window, `for`",
    };
    let (late, idle) = (span(out_of_order_s), span(idle_after_s));
    format!("{condition}, 1 s, out_of_order ({late}), idle_after ({idle}) should a partition fall silent")
}

fn field(rules: &Rules, rule: &AlertRule, slot: usize) -> String {
    let source = rule.feeds.first().and_then(|feed| rules.source(&feed.source));
    match source.and_then(|source| source.fields.get(slot)) {
        Some(field) if field.unit.is_empty() => field.name.clone(),
        Some(field) => format!("{} [{}]", field.name, field.unit),
        None => "a field".into(),
    }
}

fn group(lag: &Lag) -> String {
    match &lag.consumer_group {
        Some(group) => format!("the consumer group {group}"),
        None => "Plimsoll itself".into(),
    }
}

fn unit(lag: &Lag) -> &'static str {
    match lag.unit {
        LagUnit::Seconds => "in seconds",
        LagUnit::Messages => "in messages",
    }
}

fn fires_when(rules: &Rules, rule: &AlertRule, level: &Level) -> String {
    let (threshold, window) = (&level.threshold_text, span(level.window_s));
    let (more, beyond) = match level.side {
        Side::Above => ("more than", "above"),
        Side::Below => ("less than", "below"),
    };
    let mut text = match &rule.kind {
        RuleKind::Ratio => format!("{more} {threshold} of the events of {window} are bad"),
        RuleKind::Quantile { .. } | RuleKind::Freshness { .. } => {
            format!("{} over {window} is {beyond} {threshold}", number(rules, rule))
        }
        RuleKind::Count => format!("{more} {threshold} events in {window}"),
        RuleKind::Rate => format!("{more} {threshold} over {window}"),
        RuleKind::Absence => format!("no event for {window}"),
        RuleKind::Lag { source, lag } => {
            format!("{} is {more} {threshold} behind on {source}", group(lag))
        }
        RuleKind::BurnRate => {
            let factor = decimal(level.threshold_billionths);
            let short = level.short_window_s.map(|s| format!(" and over {}", span(s))).unwrap_or_default();
            format!("errors come at least {factor} times as fast as allowed, over {window}{short}")
        }
        RuleKind::Budget => format!("{more} {threshold} of the error budget is left"),
        RuleKind::Composite(_) => format!("the score is {beyond} {threshold}"),
    };
    if level.for_s > 0 {
        text.push_str(&format!(", for {} on end", span(level.for_s)));
    }
    if level.min_events > 0 {
        text.push_str(&format!(", of at least {} events", level.min_events));
    }
    if level.min_bad > 0 {
        text.push_str(&format!(", at least {} of them bad", level.min_bad));
    }
    text
}

/// What an objective promises, and what its budget is.
fn promise(objective: &Objective) -> String {
    let target = percent(objective.target_billionths);
    let (period, length_s) = match &objective.period {
        Period::Rolling { length_s } => (format!("any {}", span(*length_s)), Some(*length_s)),
        Period::Calendar { unit, count, zone, .. } => {
            (format!("each {count} calendar {unit:?} ({})", zone.name).to_lowercase(), None)
        }
    };
    let good = match &objective.indicator {
        Indicator::Events => "of the events".into(),
        Indicator::Rate { op, per_second_billionths } => {
            format!("of the slices with a rate {} {}/s", sign(*op), decimal(*per_second_billionths))
        }
        Indicator::Lag { source, op, value_billionths, .. } => {
            format!("of the seconds with a lag on {source} {} {}", sign(*op), decimal(*value_billionths))
        }
        Indicator::Composite { rule, op, value_billionths } => {
            format!("of the seconds with {rule} {} {}", sign(*op), decimal(*value_billionths))
        }
    };
    let empty = |empty: EmptySlice| match empty {
        EmptySlice::Good => "good",
        EmptySlice::Bad => "bad",
        EmptySlice::Skipped => "skipped",
    };
    let method = match objective.method {
        Method::Occurrences => String::new(),
        Method::Timeslices { slice_s, target_billionths, empty: when } => format!(
            "; counted in slices of {}, good from {} good on, empty ones {}",
            span(slice_s),
            percent(target_billionths),
            empty(when)
        ),
        Method::RatioTimeslices { slice_s, empty: when } => {
            format!("; the mean of slices of {}, empty ones {}", span(slice_s), empty(when))
        }
    };
    let allowed = percent(objective.allowed_billionths());
    let outage = |length_s: i64| {
        let seconds = i128::from(length_s) * i128::from(objective.allowed_billionths()) / 1_000_000_000;
        format!(", {} of full outage", span(seconds as i64))
    };
    let outage = length_s.map(outage).unwrap_or_default();
    format!("{target} {good} are good over {period}{method}; the error budget is {allowed}{outage}")
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let service = self.service.as_ref().map(|name| format!(", service {name}")).unwrap_or_default();
        writeln!(f, "{} ({}{service})", self.rule, self.kind)?;
        if let Some(objective) = &self.objective {
            writeln!(f, "  promise    {objective}")?;
        }
        for counts in &self.counts {
            writeln!(f, "  source     {}", counts.source)?;
            writeln!(f, "  counts     {}", counts.counted)?;
            if let Some(bad) = &counts.bad {
                writeln!(f, "  bad        {bad}")?;
            }
            if !counts.group_by.is_empty() {
                writeln!(f, "  for each   {}", counts.group_by.join(", "))?;
            }
        }
        writeln!(f, "  number     {}", self.number)?;
        self.write_levels(f)?;
        self.write_reactions(f)?;
        writeln!(f)?;
        self.write_end(f)?;
        self.write_cost(f)
    }
}

impl Explanation {
    fn write_levels(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.levels.is_empty() {
            return writeln!(f, "  It raises no alerts: it is only counted and reported.");
        }
        writeln!(f, "\n  It fires, gravest level first, when")?;
        let width = self.levels.iter().map(|level| level.title().len()).max().unwrap_or(0);
        for level in &self.levels {
            writeln!(f, "    {:width$}  {}", level.title(), level.fires_when)?;
        }
        let mut rows =
            vec![["level", "window", "panes of", "detected within", "allowed", ""].map(str::to_owned)];
        for level in &self.levels {
            let windows = match level.short_window_s {
                Some(short_s) => format!("{} and {}", span(level.window_s), span(short_s)),
                None => span(level.window_s),
            };
            let (detected, verdict) = match level.detected_within_s {
                Some(within_s) if within_s <= level.detect_within_s => (span(within_s), ""),
                Some(within_s) => (span(within_s), "TOO SLOW"),
                None => ("never".into(), "OUT OF REACH"),
            };
            let allowed = span(level.detect_within_s);
            rows.push([level.name.clone(), windows, span(level.pane_s), detected, allowed, verdict.into()]);
        }
        writeln!(f)?;
        write_table(f, &rows)?;
        writeln!(f, "    detected within: {}", self.detection)
    }

    /// After how long each trouble is told, and its end.
    fn write_reactions(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["level", "bad events", "", "fires after", "resolves after"].map(str::to_owned)];
        for level in &self.levels {
            for reaction in &level.reactions {
                let shown = |seconds: Option<i64>| seconds.map_or("never".into(), span);
                rows.push([
                    level.name.clone(),
                    percent(reaction.bad_billionths),
                    reaction.trouble.into(),
                    shown(reaction.fires_after_s),
                    reaction.resolves_after_s.map_or("-".into(), span),
                ]);
            }
        }
        if rows.len() > 1 {
            let base = if self.objective.is_some() { "the objective allows" } else { "the level takes" };
            writeln!(
                f,
                "\n  From the first bad event on, and from the last one on (2 x and 10 x of what {base}):"
            )?;
            write_table(f, &rows)?;
        }
        Ok(())
    }

    fn write_end(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.levels.is_empty() {
            return Ok(());
        }
        let (hold, silent) = (span(self.hold_s), span(self.no_data_after_s));
        writeln!(
            f,
            "  It resolves once no level has been crossed for {hold}, by counts that are final: events up to"
        )?;
        writeln!(
            f,
            "  {} late are waited for. Without an answer for {silent} it resolves as",
            span(self.out_of_order_s)
        )?;
        writeln!(
            f,
            "  NO_DATA_TIMEOUT. Later events correct or take back breaches of the last {}.",
            span(self.correct_within_s)
        )?;
        Ok(())
    }

    fn write_cost(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Cost { panes, bytes, group_limit, bytes_at_limit, panes_read } = self.cost;
        if panes == 0 {
            return writeln!(f, "  Cost: it keeps no counts of its own.");
        }
        writeln!(
            f,
            "  Cost: {panes} panes, about {}, and {panes_read} of them read for each second;",
            size(bytes)
        )?;
        match group_limit {
            1 => writeln!(f, "  it has no groups."),
            limit => writeln!(
                f,
                "  for each group, so {} at the limit of {limit} groups a shard.",
                size(bytes_at_limit)
            ),
        }
    }
}

impl LevelFacts {
    fn title(&self) -> String {
        match self.name == self.severity {
            true => format!("{} ({})", self.name, self.priority),
            false => format!("{} ({}, {})", self.name, self.severity, self.priority),
        }
    }
}

fn write_table<const N: usize>(f: &mut Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    for row in rows {
        let mut line = String::from("   ");
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!(" {cell:width$} "));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
