//! A score of several rules: each part's value on a line from 0 to 1, their weighted mean.

use super::reading::{BILLION, narrow};
use crate::core::alert::{Composite, Part};

/// The weighted mean of the parts that have a value, in billionths; None when they weigh too little.
pub fn score_billionths<'p>(
    composite: &Composite,
    parts: impl Iterator<Item = (&'p Part, Option<i64>)>,
) -> Option<i64> {
    let (mut sum, mut weight, mut whole) = (0i128, 0i128, 0i128);
    for (part, value) in parts {
        let of_part = i128::from(part.weight_millionths);
        whole += of_part;
        if let Some(value) = value {
            weight += of_part;
            sum += of_part * i128::from(part_billionths(part, value));
        }
    }
    let enough = weight > 0 && weight * BILLION >= i128::from(composite.min_weight_billionths) * whole;
    enough.then(|| narrow(sum.div_euclid(weight)))
}

/// 1 at `full`, 0 at `zero`, linear between, never beyond.
fn part_billionths(part: &Part, value_billionths: i64) -> i64 {
    let (full, zero) = (i128::from(part.full_billionths), i128::from(part.zero_billionths));
    let along = (i128::from(value_billionths) - zero) * BILLION;
    // `full` and `zero` differ.
    narrow((along / (full - zero)).clamp(0, BILLION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_scores_on_a_line() {
        let part = |full_billionths, zero_billionths| Part {
            rule: String::new(),
            weight_millionths: 1,
            full_billionths,
            zero_billionths,
        };
        let lag = part(5_000_000_000, 60_000_000_000);
        let scores = [0, 5_000_000_000, 32_500_000_000, 60_000_000_000, 90_000_000_000];
        assert_eq!(
            scores.map(|v| part_billionths(&lag, v)),
            [1_000_000_000, 1_000_000_000, 500_000_000, 0, 0]
        );
        let rate = part(7_000, 0);
        assert_eq!([9_000, 3_500, 0].map(|v| part_billionths(&rate, v)), [1_000_000_000, 500_000_000, 0]);
    }
}
