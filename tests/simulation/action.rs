//! What may happen, one thing at a time. Every action fits every state, if only as nothing, so that a list of them
//! stays one when some are left out.

use super::chance::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process takes so many steps; `dice` decides which, when it has a choice.
    Go { process: u8, steps: u8, dice: u32 },
    /// Time passes.
    Wait { ms: u32 },
    /// The ends of transactions reach so many partitions.
    Mark { times: u8, dice: u32 },
    /// A process is killed.
    Kill { process: u8 },
    /// A name without a living process gets one.
    Start { name: u8 },
    /// A second process starts under a name while the first still lives.
    Twin { name: u8 },
    /// A group takes a silent member for dead.
    Expire { name: u8 },
    /// The broker's next answer to the process gets lost, after the deed or before it.
    Lose { process: u8, done: bool },
    /// The changelog is compacted.
    Compact { dice: u32 },
}

/// A schedule for `names` names.
pub fn schedule(chance: &mut Chance, names: u64) -> Vec<Action> {
    let length = 150 + chance.below(450);
    // Some runs are rough and some are nearly calm, for bugs hide in both.
    let rough = chance.pick(&[1, 4, 12]);
    // Who sleeps while others go on wakes up as a zombie.
    let mut awake = everyone(names);
    (0..length)
        .map(|_| {
            if chance.percent(4) {
                awake = everyone(names);
                awake.retain(|_| chance.percent(60));
            }
            draw(chance, names, rough, &awake)
        })
        .collect()
}

/// A twin comes after the first process of every name.
fn everyone(names: u64) -> Vec<u8> {
    (0..names as u8 + 3).collect()
}

fn draw(chance: &mut Chance, names: u64, rough: u64, awake: &[u8]) -> Action {
    let process = chance.below(names + 3) as u8;
    let name = chance.below(names) as u8;
    let dice = chance.any();
    if chance.percent(rough) {
        return match chance.below(8) {
            0 | 1 => Action::Kill { process },
            2 | 3 => Action::Start { name },
            4 => Action::Twin { name },
            5 => Action::Expire { name },
            _ => Action::Lose { process, done: chance.percent(50) },
        };
    }
    match chance.below(100) {
        0..14 => Action::Wait { ms: chance.pick(&[5, 50, 300, 1_000, 3_500]) },
        14..34 => Action::Mark { times: chance.pick(&[1, 2, 20]), dice },
        34..36 => Action::Compact { dice },
        36..38 => Action::Start { name },
        _ => {
            let process = awake.get(usize::from(process) % awake.len().max(1)).copied().unwrap_or(process);
            Action::Go { process, steps: chance.pick(&[1, 1, 2, 6, 16]), dice }
        }
    }
}
