//! What is left of an error budget.

use serde_json::{Value, json};

use crate::core::output::BudgetLeft;

use super::decimal::billionths;
use super::second;

pub(super) fn budget_json(budget: &BudgetLeft) -> Value {
    json!({
        "period_s": budget.period_s,
        "remaining_ratio": billionths(budget.remaining_billionths),
        "exhausts_at": budget.exhausts_at_s.map(second),
    })
}
