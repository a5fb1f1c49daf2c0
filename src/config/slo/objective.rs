//! One objective of an SLO -> a rule on its burn rate.

use std::collections::BTreeMap;

use crate::config::constant::{self, Number};
use crate::config::decimal::{Decimal, decimal};
use crate::config::diagnostic::{Diagnostics, Place, Problem};
use crate::config::reader::{Mapping, scalar, text};
use crate::config::yaml::Node;
use crate::core::alert::{AlertRule, Feed, Level, RuleKind, Severities, Side};
use crate::core::expr::{Comparison, Condition};
use crate::core::objective::{EmptySlice, Indicator, Method, Objective, Period};

use super::annotations::Annotated;
use super::indicator::Sli;
use super::tiers::Tier;
use super::window::slice_s;

const KEYS: [&str; 10] = [
    "displayName",
    "op",
    "value",
    "target",
    "targetPercent",
    "timeSliceTarget",
    "timeSliceWindow",
    "indicator",
    "indicatorRef",
    "compositeWeight",
];
/// Of an objective's name.
const MAX_NAME_BYTES: usize = 63;
const BILLION: i64 = 1_000_000_000;

/// The word `budgetingMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeting {
    Occurrences,
    Timeslices,
    RatioTimeslices,
}

/// What all objectives of an SLO have in common. None: wrong, and noted.
pub struct Shared<'n> {
    pub slo: &'n str,
    pub service: Option<String>,
    pub labels: &'n BTreeMap<String, String>,
    pub budgeting: Option<Budgeting>,
    pub period: Option<Period>,
    pub sli: Option<Sli>,
    pub annotated: Annotated<'n>,
    pub severities: &'n Severities,
}

/// What is compared: `op` and `value`.
#[derive(Clone, Copy)]
struct Threshold {
    op: Comparison,
    value: Decimal,
}

pub fn name(node: &Node) -> Result<String, Problem> {
    let name = text(node)?;
    let inside = !name.contains('/') && !name.chars().any(char::is_control);
    if name.trim() != name || name.is_empty() || name.len() > MAX_NAME_BYTES || !inside {
        let help = format!("a text without `/`, at most {MAX_NAME_BYTES} bytes, as in `p95`");
        return Err(Problem::new(format!("`{name}` cannot be a name"), help));
    }
    Ok(name.to_owned())
}

/// None, and noted, when something is wrong with it.
pub fn objective(
    node: &Node,
    name: Option<String>,
    shared: &Shared<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<AlertRule> {
    let keys = Mapping::open(node, &KEYS, diagnostics)?;
    for key in ["indicator", "indicatorRef", "compositeWeight"] {
        keys.optional(key, diagnostics, |_| -> Result<(), Problem> {
            let help = "give each indicator an SLO of its own; a score of several rules is `kind: COMPOSITE` of AlertRules";
            Err(Problem::new("SLOs composed of several indicators are not supported", help))
        });
    }
    let target = target(&keys, diagnostics);
    let method = shared.budgeting.and_then(|word| method(word, &keys, shared, diagnostics));
    let threshold = shared.sli.as_ref().and_then(|sli| threshold(sli, &keys, diagnostics));
    let (sli, period, method) = (shared.sli.as_ref()?, shared.period.clone()?, method?);
    check_method(sli, method, &keys, diagnostics)?;
    let (indicator, feeds) = lower(sli, threshold?, shared, &keys, diagnostics)?;
    let (slo, name) = (shared.slo.to_owned(), name?);
    let objective = Objective { slo, name, target_billionths: target?, period, method, indicator };
    let levels = levels(&objective, shared, &keys, diagnostics)?;
    let Annotated { group_limit, hold_s, no_data_after_s, correct_within_s, runbook, summary, .. } =
        &shared.annotated;
    Some(AlertRule {
        document: objective.slo.clone(),
        name: objective.name.clone(),
        service: shared.service.clone(),
        kind: RuleKind::BurnRate,
        feeds,
        group_limit: *group_limit,
        hold_s: *hold_s,
        no_data_after_s: *no_data_after_s,
        correct_within_s: *correct_within_s,
        levels,
        labels: shared.labels.clone(),
        runbook: runbook.clone(),
        summary: summary.clone(),
        objective: Some(objective),
    })
}

fn target(keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> Option<i64> {
    let (key, scale) = match (keys.has("target"), keys.has("targetPercent")) {
        (true, false) => ("target", 9),
        // 1 % is 10^7 billionths.
        (false, true) => ("targetPercent", 7),
        _ => {
            let help =
                "write the share that must be good, `target: 0.999`, or in percent, `targetPercent: 99.9`";
            let problem = Problem::new("an objective takes one of `target` and `targetPercent`", help);
            diagnostics.push(keys.place, problem);
            return None;
        }
    };
    keys.optional(key, diagnostics, |node| {
        let billionths = share(node, scale)?;
        match billionths {
            0 => Err(Problem::new("a target of nothing is never missed", "write a share above 0")),
            BILLION => {
                let help = "write a target below 1; for what must never happen, a COUNT of AlertRules with `above: 0`";
                Err(Problem::new("a target of everything leaves no error budget", help))
            }
            billionths => Ok(billionths),
        }
    })
}

/// From nothing to everything, in billionths.
fn share(node: &Node, scale: u8) -> Result<i64, Problem> {
    let scaled = decimal(node)?.scaled(scale).filter(|scaled| scaled.exact);
    let billionths = scaled.and_then(|scaled| i64::try_from(scaled.floor).ok());
    billionths.filter(|billionths| (0..=BILLION).contains(billionths)).ok_or_else(|| {
        let most = if scale == 9 { "1" } else { "100" };
        let help = format!("from 0 to {most}, with at most {scale} digits behind the point");
        Problem::new("this is not a share", help)
    })
}

fn method(
    budgeting: Budgeting,
    keys: &Mapping<'_>,
    shared: &Shared<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Method> {
    let empty = shared.annotated.empty.unwrap_or(EmptySlice::Skipped);
    let unwanted = |key: &str, diagnostics: &mut Diagnostics| {
        keys.optional(key, diagnostics, |_| -> Result<(), Problem> {
            Err(Problem::new(format!("has no meaning with {}", budgeting.word()), "remove it"))
        });
    };
    match budgeting {
        Budgeting::Occurrences => {
            unwanted("timeSliceTarget", diagnostics);
            unwanted("timeSliceWindow", diagnostics);
            Some(Method::Occurrences)
        }
        Budgeting::Timeslices => {
            let slice_s = keys.required("timeSliceWindow", diagnostics, |node| slice(node, shared));
            let target = keys.required("timeSliceTarget", diagnostics, |node| match share(node, 9)? {
                0 => Err(Problem::new("every slice reaches 0", "write the share that makes a slice good")),
                billionths => Ok(billionths),
            });
            Some(Method::Timeslices { slice_s: slice_s?, target_billionths: target?, empty })
        }
        Budgeting::RatioTimeslices => {
            unwanted("timeSliceTarget", diagnostics);
            let slice_s = keys.required("timeSliceWindow", diagnostics, |node| slice(node, shared));
            Some(Method::RatioTimeslices { slice_s: slice_s?, empty })
        }
    }
}

fn slice(node: &Node, shared: &Shared<'_>) -> Result<i64, Problem> {
    let slice_s = slice_s(node)?;
    match shared.period {
        Some(Period::Rolling { length_s }) if length_s % slice_s != 0 => {
            let message = format!("the period is not made of whole slices of {}", scalar(node)?);
            Err(Problem::new(message, "shorten the slices"))
        }
        _ => Ok(slice_s),
    }
}

impl Budgeting {
    pub const ALL: [Budgeting; 3] =
        [Budgeting::Occurrences, Budgeting::Timeslices, Budgeting::RatioTimeslices];

    pub fn word(self) -> &'static str {
        match self {
            Budgeting::Occurrences => "Occurrences",
            Budgeting::Timeslices => "Timeslices",
            Budgeting::RatioTimeslices => "RatioTimeslices",
        }
    }
}

/// Some(None): the indicator compares nothing, and rightly nothing is written.
fn threshold(sli: &Sli, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> Option<Option<Threshold>> {
    if let Sli::Ratio { .. } = sli {
        let mut right = true;
        for key in ["op", "value"] {
            right &= !keys.has(key);
            keys.optional(key, diagnostics, |_| -> Result<(), Problem> {
                let help = "remove it: `target` is the share of good events";
                Err(Problem::new("a ratio is compared with nothing", help))
            });
        }
        return right.then_some(None);
    }
    let op = keys.required("op", diagnostics, |node| match text(node)? {
        "lt" => Ok(Comparison::Less),
        "lte" => Ok(Comparison::LessOrEqual),
        "gt" => Ok(Comparison::Greater),
        "gte" => Ok(Comparison::GreaterOrEqual),
        other => {
            let help = "lt, lte, gt or gte: how the value of what is good compares";
            Err(Problem::new(format!("`{other}` is not a comparison"), help))
        }
    });
    let value = keys.required("value", diagnostics, decimal);
    Some(Some(Threshold { op: op?, value: value? }))
}

/// What is no event is counted in slices.
fn check_method(sli: &Sli, method: Method, keys: &Mapping<'_>, diagnostics: &mut Diagnostics) -> Option<()> {
    let kind = match sli {
        Sli::Ratio { .. } | Sli::Field { .. } => return Some(()),
        Sli::Rate { .. } => "RATE",
        Sli::Lag { .. } => "LAG",
        Sli::Composite { .. } => "COMPOSITE",
    };
    let problem = match method {
        Method::Timeslices { target_billionths: BILLION, .. } => return Some(()),
        // The rate is that of the slice, so a slice is good or it is not.
        Method::Timeslices { .. } if matches!(sli, Sli::Rate { .. }) => Problem::new(
            "a RATE is one number a slice, so none is good in part",
            "write `timeSliceTarget: 1`",
        ),
        Method::Timeslices { .. } => return Some(()),
        Method::Occurrences | Method::RatioTimeslices { .. } => {
            let help = "write `budgetingMethod: Timeslices`, with `timeSliceTarget` and `timeSliceWindow`";
            Problem::new(format!("a {kind} has no events to count"), help)
        }
    };
    diagnostics.push(keys.place, problem);
    None
}

/// The indicator with its threshold, and what is counted for it.
fn lower(
    sli: &Sli,
    threshold: Option<Threshold>,
    shared: &Shared<'_>,
    keys: &Mapping<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<(Indicator, Vec<Feed>)> {
    let events = |source: &String, filter: &Condition, bad: Condition| {
        let group_by = shared.annotated.group_by.clone();
        let feed = Feed { source: source.clone(), group_by, filter: filter.clone(), bad };
        Some((Indicator::Events, vec![feed]))
    };
    let billionths = |value: Decimal, diagnostics: &mut Diagnostics| {
        let scaled = value.scaled(9).filter(|scaled| scaled.exact);
        let billionths = scaled.and_then(|scaled| i64::try_from(scaled.floor).ok());
        let problem = || {
            let help = "below 9000000000, with at most 9 digits behind the point";
            Problem::new("`value` is out of range", help)
        };
        diagnostics.accept(keys.place, billionths.ok_or_else(problem))
    };
    match (sli, threshold) {
        (Sli::Ratio { source, filter, bad }, _) => events(source, filter, bad.clone()),
        (_, None) => None,
        (Sli::Field { source, filter, slot, scale }, Some(Threshold { op, value })) => {
            let too_large = || Problem::new("`value` is too large", "write a number with fewer digits");
            let number = value.scaled(*scale).map(Number::from).ok_or_else(too_large);
            let good = constant::compare(*slot, op, diagnostics.accept(keys.place, number)?);
            events(source, filter, Condition::Not(Box::new(good)))
        }
        (Sli::Rate { feeds }, Some(Threshold { op, value })) => {
            let per_second_billionths = billionths(value, diagnostics)?;
            Some((Indicator::Rate { op, per_second_billionths }, feeds.clone()))
        }
        (Sli::Lag { source, lag }, Some(Threshold { op, value })) => {
            let value_billionths = billionths(value, diagnostics)?;
            let (source, lag) = (source.clone(), lag.clone());
            Some((Indicator::Lag { source, lag, op, value_billionths }, Vec::new()))
        }
        (Sli::Composite { rule }, Some(Threshold { op, value })) => {
            let value_billionths = billionths(value, diagnostics)?;
            Some((Indicator::Composite { rule: rule.clone(), op, value_billionths }, Vec::new()))
        }
    }
}

fn levels(
    objective: &Objective,
    shared: &Shared<'_>,
    keys: &Mapping<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Level>> {
    let Annotated { alerts, alerts_place, min_bad, min_events, .. } = &shared.annotated;
    let of_key = |problem: Problem| problem.of_key("plimsoll.dev/alerts");
    let tiers = diagnostics.accept(alerts_place, alerts.as_ref()?.tiers(objective).map_err(of_key))?;
    for left_out in &tiers.left_out {
        let help = "nothing to mend; write `plimsoll.dev/alerts` out to have tiers of your own";
        diagnostics.note(keys.place, Problem::new(format!("left out: {left_out}"), help));
    }
    for tier in tiers.used.iter().filter(|tier| tier.factor_billionths < BILLION) {
        let message = format!("the tier `{}` alerts below a burn rate of 1", tier.name);
        diagnostics
            .note(alerts_place, Problem::new(message, "so spent, the budget lasts for the whole period"));
    }
    let words = &shared.severities.levels;
    let mut levels = Vec::new();
    for tier in &tiers.used {
        let Some(severity) = words.iter().position(|word| word.name == tier.severity) else {
            diagnostics.push(alerts_place, of_key(no_severity(tier, shared.severities)));
            continue;
        };
        levels.push(Level {
            name: tier.name.clone(),
            severity,
            side: Side::Above,
            threshold_billionths: tier.factor_billionths,
            threshold_text: tier.factor_text(),
            window_s: tier.long_s,
            short_window_s: Some(tier.short_s),
            for_s: 0,
            min_events: *min_events,
            min_bad: *min_bad,
            min_coverage_billionths: tier.min_coverage_billionths(),
            over: None,
        });
    }
    // Written order breaks ties.
    levels.sort_by_key(|level| level.severity);
    (levels.len() == tiers.used.len()).then_some(levels)
}

fn no_severity(tier: &Tier, severities: &Severities) -> Problem {
    let known: Vec<&str> = severities.levels.iter().map(|level| level.name.as_str()).collect();
    let message = format!("the tier `{}` is `{}`, which is no word of Severities", tier.name, tier.severity);
    Problem::new(message, format!("add it there, or write the tiers out with one of {}", known.join(", ")))
}

/// An objective with the line it begins on.
pub struct Placed<'n> {
    pub rule: AlertRule,
    pub place: &'n Place,
}
