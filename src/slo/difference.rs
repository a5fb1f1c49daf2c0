//! What two versions of the rules would have said, side by side.

use std::collections::BTreeMap;

use super::alarm::Told;
use super::case::Observed;

/// Which of two versions said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Both,
    First,
    Second,
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            By::Both => "both",
            By::First => "first",
            By::Second => "second",
        }
    }

    /// As in a diff.
    pub fn mark(self) -> char {
        match self {
            By::Both => ' ',
            By::First => '-',
            By::Second => '+',
        }
    }
}

/// All that came of both, in the order of time. Equal is what has the same rule, group, level and moment.
pub fn difference<'a>(first: &'a [Told], second: &'a [Told]) -> Vec<(By, &'a Observed)> {
    let mut unmatched: BTreeMap<_, Vec<&Observed>> = BTreeMap::new();
    for told in second {
        unmatched.entry(identity(&told.observed)).or_default().push(&told.observed);
    }
    let mut lines: Vec<(By, &Observed)> = Vec::new();
    for Told { observed, .. } in first {
        let same = unmatched.get_mut(&identity(observed)).and_then(Vec::pop);
        lines.push((if same.is_some() { By::Both } else { By::First }, observed));
    }
    lines.extend(unmatched.into_values().flatten().map(|observed| (By::Second, observed)));
    lines.sort_by(|(_, a), (_, b)| (a.at_s, &a.rule, &a.group).cmp(&(b.at_s, &b.rule, &b.group)));
    lines
}

type Identity<'a> = (&'a str, &'a [(String, String)], i64, &'static str, &'a str, Option<&'static str>);

fn identity(observed: &Observed) -> Identity<'_> {
    let Observed { rule, group, at_s, transition, level, reason, .. } = observed;
    (rule, group, *at_s, transition.name(), level, *reason)
}
