//! The annotation `plimsoll.dev/alerts`: `standard`, `none`, or tiers written out.
//!
//! A tier is its name, how fast, over which long and short window, and the word of `Severities`; tiers are separated
//! by commas: `fast 14.4x 1h/5m critical, slow 10% 1d/2h warning`. `14.4x` is the burn rate itself; `10%` is the share
//! of the period's budget that the long window may spend.
//!
//! `plimsoll.dev/severity` gives tiers of the preset other words: `flash high, fast high`.

use std::collections::BTreeMap;

use crate::config::decimal::Decimal;
use crate::config::diagnostic::{Problem, suggestion};
use crate::config::quantity::written_duration_us;
use crate::config::reader::text;
use crate::config::yaml::Node;
use crate::core::objective::Objective;
use crate::core::time::SECOND_US;

use super::tiers::{self, LeftOut, Tier, Tiers, Why, factor_billionths};
use super::window::nominal_s;

const LANGUAGE: &str =
    "write `standard`, `none`, or tiers such as `fast 14.4x 1h/5m critical, slow 10% 1d/2h warning`";
/// The longest window of any rule.
const MAX_WINDOW_S: i64 = 30 * 24 * 60 * 60;
const MAX_TIERS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alerts {
    /// With the words of the tiers that are to have another.
    Standard(BTreeMap<String, String>),
    None,
    /// In written order.
    Custom(Vec<Wanted>),
}

/// A tier before the period is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: String,
    severity: String,
    speed: Speed,
    long_s: i64,
    short_s: i64,
}

/// In billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    Factor(i64),
    ShareOfBudget(i64),
}

pub fn alerts(node: &Node) -> Result<Alerts, Problem> {
    let written = text(node)?;
    match written.trim() {
        "standard" => return Ok(Alerts::Standard(BTreeMap::new())),
        "none" => return Ok(Alerts::None),
        _ => {}
    }
    let tiers = written.split(',').map(wanted).collect::<Result<Vec<_>, _>>()?;
    if tiers.len() > MAX_TIERS {
        return Err(Problem::new(format!("{} tiers", tiers.len()), format!("write at most {MAX_TIERS}")));
    }
    for (at, tier) in tiers.iter().enumerate() {
        if tiers[..at].iter().any(|earlier| earlier.name == tier.name) {
            let message = format!("two tiers are called `{}`", tier.name);
            return Err(Problem::new(message, "the name tells them apart; rename one"));
        }
    }
    Ok(Alerts::Custom(tiers))
}

/// Tier of the preset -> word.
pub fn severity_words(node: &Node) -> Result<BTreeMap<String, String>, Problem> {
    let mut words = BTreeMap::new();
    for written in text(node)?.split(',') {
        let [tier, word] = written.split_whitespace().collect::<Vec<_>>()[..] else {
            let message = format!("`{}` is not a tier and its word", written.trim());
            return Err(Problem::new(message, "write it like `flash high, fast high`"));
        };
        if !tiers::standard_names().contains(&tier) {
            let help = suggestion(tier, tiers::standard_names());
            return Err(Problem::new(format!("`{tier}` is not a tier of `standard`"), help));
        }
        if words.insert(tier.to_owned(), word.to_owned()).is_some() {
            return Err(Problem::new(format!("`{tier}` is named twice"), "name each tier once"));
        }
    }
    Ok(words)
}

fn wanted(written: &str) -> Result<Wanted, Problem> {
    let words: Vec<&str> = written.split_whitespace().collect();
    let [name, speed, windows, severity] = words[..] else {
        return Err(Problem::new(format!("`{}` is not a tier", written.trim()), LANGUAGE));
    };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.chars().all(is_word) {
        let help = "lower-case letters, digits, `-` and `_`, as in `fast`";
        return Err(Problem::new(format!("`{name}` cannot be the name of a tier"), help));
    }
    let (long_s, short_s) = windows_s(windows)?;
    Ok(Wanted { name: name.into(), severity: severity.into(), speed: read_speed(speed)?, long_s, short_s })
}

fn read_speed(written: &str) -> Result<Speed, Problem> {
    let billionths = |number: &str, scale: u8| {
        let scaled = Decimal::parse(number)?.scaled(scale).filter(|scaled| scaled.exact)?;
        i64::try_from(scaled.floor).ok().filter(|billionths| *billionths > 0)
    };
    let speed = match (written.strip_suffix('x'), written.strip_suffix('%')) {
        (Some(factor), _) => billionths(factor, 9).map(Speed::Factor),
        // 1 % is 10^7 billionths.
        (_, Some(share)) => {
            billionths(share, 7).filter(|share| *share <= 1_000_000_000).map(Speed::ShareOfBudget)
        }
        _ => None,
    };
    speed.ok_or_else(|| {
        let help = "write a burn rate such as `14.4x`, or a share of the budget such as `2%`";
        Problem::new(format!("`{written}` says not how fast"), help)
    })
}

fn windows_s(written: &str) -> Result<(i64, i64), Problem> {
    let seconds = |text: &str| {
        let us = written_duration_us(text).ok()?;
        let in_range = (SECOND_US..=MAX_WINDOW_S * SECOND_US).contains(&us) && us % SECOND_US == 0;
        in_range.then_some(us / SECOND_US)
    };
    let both = written.split_once('/').and_then(|(long, short)| Some((seconds(long)?, seconds(short)?)));
    both.filter(|(long_s, short_s)| short_s < long_s).ok_or_else(|| {
        let help = "a long and a shorter window of whole seconds, at most 30d, as in `1h/5m`";
        Problem::new(format!("`{written}` is not a pair of windows"), help)
    })
}

impl Alerts {
    /// The tiers of one objective.
    ///
    /// # Errors
    /// A tier written out that the objective can never cross, or not be judged by.
    pub fn tiers(&self, objective: &Objective) -> Result<Tiers, Problem> {
        match self {
            Alerts::Standard(words) => {
                let mut tiers = tiers::standard(objective);
                for tier in &mut tiers.used {
                    if let Some(word) = words.get(&tier.name) {
                        tier.severity.clone_from(word);
                    }
                }
                Ok(tiers)
            }
            Alerts::None => Ok(Tiers::default()),
            Alerts::Custom(wanted) => {
                let used = wanted.iter().map(|wanted| usable(wanted, objective)).collect::<Result<_, _>>()?;
                Ok(Tiers { used, left_out: Vec::new() })
            }
        }
    }
}

fn usable(wanted: &Wanted, objective: &Objective) -> Result<Tier, Problem> {
    let Wanted { name, severity, speed, long_s, short_s } = wanted.clone();
    let period_s = nominal_s(&objective.period);
    let factor_billionths = match speed {
        Speed::Factor(factor) => factor,
        Speed::ShareOfBudget(share) => factor_billionths(share, period_s, long_s),
    };
    let tier = Tier { name, severity, factor_billionths, long_s, short_s };
    if long_s > period_s {
        let message = format!("the windows of `{}` are longer than the period", tier.name);
        return Err(Problem::new(message, "shorten them"));
    }
    let Some(why) = tiers::unusable(&tier, objective.target_billionths, objective.method.slice_s()) else {
        return Ok(tier);
    };
    let help = match why {
        Why::Unreachable { .. } | Why::BelowOne => {
            "lower it, or give the objective an SLO of its own".to_owned()
        }
        Why::FinerThanSlice { slice_s } => {
            format!("write windows that are multiples of {}", tiers::window_text(slice_s))
        }
    };
    let message = format!("objective `{}` cannot use the tier {}", objective.name, LeftOut { tier, why });
    Err(Problem::new(message, help))
}
