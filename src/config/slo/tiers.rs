//! Burn-rate tiers: when an objective raises an alert, and which tiers it cannot use.
//!
//! A tier crosses when its long and its short window both spend the error budget at least `factor` times as fast as
//! the period allows. A factor is a share of the budget times period over long window: to spend 2 % of 30 days in an
//! hour is 14.4.

use std::fmt;

use crate::core::objective::Objective;

use super::window::nominal_s;

const BILLION: i64 = 1_000_000_000;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub name: String,
    /// A word of `Severities`.
    pub severity: String,
    /// How many times faster than allowed, in billionths; rounded down.
    pub factor_billionths: i64,
    pub long_s: i64,
    pub short_s: i64,
}

/// The tiers of an objective, gravest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers {
    pub used: Vec<Tier>,
    pub left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub tier: Tier,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Even when everything is bad the budget is spent no faster than this, in billionths.
    Unreachable { most_billionths: i64 },
    /// It would alert while the budget lasts for the whole period.
    BelowOne,
    /// A window is not made of whole slices.
    FinerThanSlice { slice_s: i64 },
}

/// What the preset takes from the budget, in thousandths, by tier: for periods of weeks and longer ...
const SHARES_OF_MONTH: [i64; 5] = [10, 20, 50, 100, 100];
/// ... and for short ones, of which a week's are Datadog's. With a month's shares a week's factors are below 1.
const SHARES_OF_WEEK: [i64; 5] = [50, 100, 200, 400, 400];
/// The shortest period a month's shares are for: as far from a week as from four, by ratio.
const MONTH_FROM_S: i64 = 14 * DAY_S;
/// From here on a factor just below 1 is kept (`drift` of 28 days is 0.93): what spends so fast ends with an empty
/// budget but for a rest that any other trouble takes.
const BELOW_ONE_FROM_S: i64 = 28 * DAY_S;

/// Name, severity, long and short window. The short one, about a twelfth of the long, ends the alert soon after the
/// trouble.
const STANDARD: [(&str, &str, i64, i64); 5] = [
    ("flash", "critical", 300, 30),
    ("fast", "critical", HOUR_S, 300),
    ("medium", "high", 6 * HOUR_S, 1_800),
    ("slow", "warning", DAY_S, 2 * HOUR_S),
    ("drift", "low", 3 * DAY_S, 6 * HOUR_S),
];

/// The tiers' names in the preset, gravest first.
pub fn standard_names() -> [&'static str; 5] {
    STANDARD.map(|(name, ..)| name)
}

/// The preset `standard` for an objective.
pub fn standard(objective: &Objective) -> Tiers {
    standard_for(nominal_s(&objective.period), objective.target_billionths, objective.method.slice_s())
}

/// The preset for a period of `period_s` seconds. `slice_s`: none for `Occurrences`.
pub fn standard_for(period_s: i64, target_billionths: i64, slice_s: Option<i64>) -> Tiers {
    let shares = if period_s < MONTH_FROM_S { SHARES_OF_WEEK } else { SHARES_OF_MONTH };
    let mut tiers = Tiers::default();
    for ((name, severity, long_s, short_s), thousandths) in STANDARD.into_iter().zip(shares) {
        let factor_billionths = factor_billionths(thousandths * (BILLION / 1_000), period_s, long_s);
        let tier = Tier { name: name.into(), severity: severity.into(), factor_billionths, long_s, short_s };
        let below_one = factor_billionths < BILLION && period_s < BELOW_ONE_FROM_S;
        match unusable(&tier, target_billionths, slice_s).or(below_one.then_some(Why::BelowOne)) {
            Some(why) => tiers.left_out.push(LeftOut { tier, why }),
            None => tiers.used.push(tier),
        }
    }
    tiers
}

/// Share of the budget x period / long window, rounded down to a billionth.
pub fn factor_billionths(share_billionths: i64, period_s: i64, long_s: i64) -> i64 {
    let factor = i128::from(share_billionths) * i128::from(period_s) / i128::from(long_s.max(1));
    i64::try_from(factor).unwrap_or(i64::MAX)
}

/// Why an objective can never cross the tier, or cannot be judged by it.
pub fn unusable(tier: &Tier, target_billionths: i64, slice_s: Option<i64>) -> Option<Why> {
    let allowed = i128::from((BILLION - target_billionths).max(1));
    // The most a burn rate can be is 1 / (1 - target).
    if i128::from(tier.factor_billionths) * allowed > i128::from(BILLION) * i128::from(BILLION) {
        let most = i128::from(BILLION) * i128::from(BILLION) / allowed;
        return Some(Why::Unreachable { most_billionths: i64::try_from(most).unwrap_or(i64::MAX) });
    }
    let slice_s = slice_s?;
    let whole = tier.long_s % slice_s == 0 && tier.short_s % slice_s == 0;
    (!whole).then_some(Why::FinerThanSlice { slice_s })
}

impl Tier {
    /// `14.4`: at most two digits behind the point, rounded down.
    pub fn factor_text(&self) -> String {
        hundredths(self.factor_billionths)
    }

    /// Long windows wait for half their data, so that a start or a restored gap does not read as a slow burn.
    pub fn min_coverage_billionths(&self) -> i64 {
        if self.long_s >= DAY_S { BILLION / 2 } else { 0 }
    }
}

fn hundredths(billionths: i64) -> String {
    let (whole, fraction) = (billionths / BILLION, billionths % BILLION / 10_000_000);
    let text = format!("{whole}.{fraction:02}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for LeftOut {
    /// As in `flash (86.4 over 5m/30s): no burn rate of this objective exceeds 20`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tier { name, long_s, short_s, .. } = &self.tier;
        let (long, short) = (window_text(*long_s), window_text(*short_s));
        write!(f, "{name} ({} over {long}/{short}): {}", self.tier.factor_text(), self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unreachable { most_billionths } => {
                write!(f, "no burn rate of this objective exceeds {}", hundredths(*most_billionths))
            }
            Why::BelowOne => f.write_str("below 1 it would alert while the budget lasts"),
            Why::FinerThanSlice { slice_s } => {
                write!(f, "its windows are not made of whole slices of {}", window_text(*slice_s))
            }
        }
    }
}

/// `5m`, `1h`, `3d`: in the largest unit that divides.
pub fn window_text(seconds: i64) -> String {
    let units = [(DAY_S, "d"), (HOUR_S, "h"), (60, "m"), (1, "s")];
    let (length_s, unit) = units.into_iter().find(|(s, _)| seconds % s == 0).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / length_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(period_s: i64, target_billionths: i64, slice_s: Option<i64>) -> Vec<String> {
        let tiers = standard_for(period_s, target_billionths, slice_s).used;
        tiers.iter().map(|tier| format!("{} {}", tier.name, tier.factor_text())).collect()
    }

    #[test]
    fn the_preset_follows_the_period() {
        let table: [(i64, &[&str]); 7] = [
            (30, &["flash 86.4", "fast 14.4", "medium 6", "slow 3", "drift 1"]),
            (28, &["flash 80.64", "fast 13.44", "medium 5.6", "slow 2.8", "drift 0.93"]),
            (90, &["flash 259.2", "fast 43.2", "medium 18", "slow 9", "drift 3"]),
            // More than everything bad cannot be: at 99.9 % the most is 1,000.
            (365, &["fast 175.2", "medium 73", "slow 36.5", "drift 12.16"]),
            (14, &["flash 40.32", "fast 6.72", "medium 2.8", "slow 1.4"]),
            (7, &["flash 100.8", "fast 16.8", "medium 5.6", "slow 2.8"]),
            (1, &["flash 14.4", "fast 2.4"]),
        ];
        for (days, expected) in table {
            assert_eq!(factors(days * DAY_S, 999_000_000, None), expected, "{days} d");
        }
        assert!(factors(HOUR_S, 999_000_000, None).is_empty());
    }

    #[test]
    fn factors_are_exact() {
        let tiers = standard_for(30 * DAY_S, 999_000_000, None).used;
        let exact: Vec<i64> = tiers.iter().map(|tier| tier.factor_billionths).collect();
        assert_eq!(exact, [86_400_000_000, 14_400_000_000, 6_000_000_000, 3_000_000_000, 1_000_000_000]);
        assert_eq!(factor_billionths(100_000_000, 28 * DAY_S, 3 * DAY_S), 933_333_333, "rounded down");
        assert_eq!(
            tiers.iter().map(Tier::min_coverage_billionths).collect::<Vec<_>>(),
            [0, 0, 0, 500_000_000, 500_000_000]
        );
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_said() {
        let tiers = standard_for(7 * DAY_S, 950_000_000, None);
        let said: Vec<String> = tiers.left_out.iter().map(LeftOut::to_string).collect();
        let expected = [
            "flash (100.8 over 5m/30s): no burn rate of this objective exceeds 20",
            "drift (0.93 over 3d/6h): below 1 it would alert while the budget lasts",
        ];
        assert_eq!(said, expected);
        // Exactly the most there is: an outage of everything reaches it.
        assert_eq!(factors(30 * DAY_S, 900_000_000, None), ["medium 6", "slow 3", "drift 1"]);
        let exactly = Tier {
            name: "all".into(),
            severity: "low".into(),
            factor_billionths: 10 * BILLION,
            long_s: 60,
            short_s: 5,
        };
        assert_eq!(unusable(&exactly, 900_000_000, None), None);
        let sliced = standard_for(30 * DAY_S, 999_000_000, Some(60));
        assert_eq!(
            sliced.left_out[0].to_string(),
            "flash (86.4 over 5m/30s): its windows are not made of whole slices of 1m"
        );
        assert_eq!(sliced.used.len(), 4);
    }
}
