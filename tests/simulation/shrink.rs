//! Fewer actions that fail the same way.

use super::action::Action;

/// Leaves out ever smaller stretches as long as the rest still fails.
pub fn shrink(mut actions: Vec<Action>, fails: impl Fn(&[Action]) -> bool) -> Vec<Action> {
    let mut stretch = actions.len().div_ceil(2);
    while stretch > 0 {
        let mut at = 0;
        while at < actions.len() {
            let mut fewer = actions.clone();
            fewer.drain(at..(at + stretch).min(actions.len()));
            if fails(&fewer) { actions = fewer } else { at += stretch }
        }
        stretch /= 2;
    }
    actions
}
