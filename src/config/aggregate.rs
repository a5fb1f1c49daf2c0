//! One column of a rollup: which aggregate over which fields.

use super::condition::condition;
use super::decimal::decimal;
use super::diagnostic::{Diagnostics, Problem, suggestion};
use super::field::{Use, slot};
use super::quantity::duration_us;
use super::reader::{Mapping, count, list, text};
use super::yaml::{Entry, Node};
use crate::core::source::{Aggregate, Field, Quantile, Slot};
use crate::core::time::{HOUR_US, SECOND_US};

const AGGREGATES: [&str; 11] = [
    "count",
    "sum",
    "sum_product",
    "min",
    "max",
    "histogram",
    "freshness",
    "ohlc",
    "count_by",
    "distinct",
    "peak",
];
/// Values a `count_by` column may hold: they stand in one jsonb.
const MAX_COUNT_BY: u32 = 1_000;
const MAX_QUANTILES: usize = 16;
/// Digits of a quantile.
const QUANTILE_SCALE: u8 = 6;

/// None, and noted, when something is wrong with the column.
pub fn aggregate(entry: &Entry, fields: &[Field], diagnostics: &mut Diagnostics) -> Option<Aggregate> {
    let word = aggregate_word(entry, diagnostics)?;
    let options: &[&str] = match word {
        "histogram" => &["quantiles"],
        "count_by" => &["limit"],
        _ => &[],
    };
    let keys = Mapping::open(&entry.value, &[&[word], options].concat(), diagnostics)?;
    let numeric = |node: &Node| slot(text(node)?, fields, Use::Number);
    let label = |node: &Node| slot(text(node)?, fields, Use::Label);
    match word {
        "count" => keys.required(word, diagnostics, |n| condition(text(n)?, fields)).map(Aggregate::Count),
        "sum" => keys.required(word, diagnostics, numeric).map(Aggregate::Sum),
        "min" => keys.required(word, diagnostics, numeric).map(Aggregate::Min),
        "max" => keys.required(word, diagnostics, numeric).map(Aggregate::Max),
        "ohlc" => keys.required(word, diagnostics, numeric).map(Aggregate::Ohlc),
        "distinct" => keys.required(word, diagnostics, label).map(Aggregate::Distinct),
        "sum_product" => keys.required(word, diagnostics, |node| pair(node, fields)),
        "histogram" => {
            let slot = keys.required(word, diagnostics, numeric);
            let quantiles = keys.required("quantiles", diagnostics, quantiles);
            Some(Aggregate::Histogram { slot: slot?, quantiles: quantiles? })
        }
        "count_by" => {
            let slot = keys.required(word, diagnostics, label);
            let limit = keys.required("limit", diagnostics, count(1..=MAX_COUNT_BY));
            Some(Aggregate::CountBy { slot: slot?, limit: limit? })
        }
        "freshness" => {
            let inner = Mapping::open(keys.required_node(word, diagnostics)?, &["quantiles"], diagnostics)?;
            let quantiles = inner.required("quantiles", diagnostics, quantiles)?;
            Some(Aggregate::Freshness { quantiles })
        }
        _ => {
            let inner =
                Mapping::open(keys.required_node(word, diagnostics)?, &["every", "distinct"], diagnostics)?;
            let every_us = inner.required("every", diagnostics, slot_length_us);
            let distinct = match inner.has("distinct") {
                true => Some(inner.required("distinct", diagnostics, label)?),
                false => None,
            };
            Some(Aggregate::Peak { every_us: every_us?, distinct })
        }
    }
}

/// Which aggregate the column names.
fn aggregate_word(entry: &Entry, diagnostics: &mut Diagnostics) -> Option<&'static str> {
    let keys = Mapping::of_any_keys(&entry.value, diagnostics)?;
    // `peak: {every: .., distinct: ..}` nests its options, so a column names one aggregate at the top.
    let words: Vec<_> =
        AGGREGATES.into_iter().filter(|word| keys.entries.iter().any(|e| e.key == *word)).collect();
    if let [word] = words[..] {
        return Some(word);
    }
    let problem = match (words.is_empty(), keys.entries.first()) {
        (true, Some(first)) => {
            let message = format!("`{}` is not an aggregate", first.key);
            Problem::new(message, suggestion(&first.key, AGGREGATES))
        }
        (true, None) => {
            Problem::new("the column has no aggregate", format!("one of {}", AGGREGATES.join(", ")))
        }
        (false, _) => {
            let message = format!("the column has several aggregates: {}", words.join(", "));
            Problem::new(message, "give each a column of its own")
        }
    };
    diagnostics.push(&entry.place, problem);
    None
}

fn pair(node: &Node, fields: &[Field]) -> Result<Aggregate, Problem> {
    let [a, b] = list(node)? else {
        return Err(Problem::new("two fields are wanted", "write `sum_product: [price, volume]`"));
    };
    let number = |node: &Node| -> Result<Slot, Problem> { slot(text(node)?, fields, Use::Number) };
    Ok(Aggregate::SumProduct(number(a)?, number(b)?))
}

fn quantiles(node: &Node) -> Result<Vec<Quantile>, Problem> {
    let items = list(node)?;
    if items.is_empty() || items.len() > MAX_QUANTILES {
        return Err(Problem::new(
            "the list is empty or too long",
            format!("name 1 to {MAX_QUANTILES} quantiles"),
        ));
    }
    items.iter().map(quantile).collect()
}

pub fn quantile(node: &Node) -> Result<Quantile, Problem> {
    let scaled = decimal(node)?.scaled(QUANTILE_SCALE).filter(|scaled| scaled.exact);
    let millionths = scaled.and_then(|scaled| u32::try_from(scaled.floor).ok());
    millionths.filter(|m| (1..1_000_000).contains(m)).map(|millionths| Quantile { millionths }).ok_or_else(
        || {
            let help = format!("between 0 and 1, with at most {QUANTILE_SCALE} digits, as in `0.95`");
            Problem::new("this is not a quantile", help)
        },
    )
}

fn slot_length_us(node: &Node) -> Result<i64, Problem> {
    let us = duration_us(SECOND_US..=HOUR_US)(node)?;
    if us % SECOND_US != 0 || HOUR_US % us != 0 {
        let help = "whole seconds that divide an hour: 1s, 5s, 10s, 1m, 5m, 15m, 1h";
        return Err(Problem::new("slots of this length do not fill an hour", help));
    }
    Ok(us)
}
