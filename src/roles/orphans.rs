//! Shards that are nobody's.
//!
//! A static member that is killed after it gave up a shard, and before it joined again to say so, comes back to what it
//! had last been given. The group is settled then, and without the shard: nothing would ever be told of it again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Context;
use crate::http::Role;
use crate::kafka::GroupReader;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The worker waits for the answer; without one it looks again the next time.
const LOOK: Duration = Duration::from_millis(200);

/// Looks after all shards of the group.
pub struct Orphans {
    partials: String,
    shards: i32,
    /// The name this worker has in the group.
    member: String,
    looked: Instant,
    /// Nobody's when it last looked.
    before: BTreeSet<i32>,
}

impl Orphans {
    pub fn new(context: &Context, worker: u32, partials: &str) -> Orphans {
        Orphans {
            partials: partials.to_owned(),
            // Kafka numbers partitions below 2^31.
            shards: context.settings.topics.internal_partitions as i32,
            member: context.member(Role::Evaluate, worker),
            looked: Instant::now(),
            before: BTreeSet::new(),
        }
    }

    /// Shards that were nobody's twice in a row, when it is on this worker to do something about it; mostly none, and
    /// mostly without asking.
    pub fn found(&mut self, reader: &GroupReader) -> BTreeSet<i32> {
        if self.looked.elapsed() < LOOK_EVERY {
            return BTreeSet::new();
        }
        self.looked = Instant::now();
        let now = self.look(reader).unwrap_or_default();
        let found = self.before.intersection(&now).copied().collect();
        self.before = now;
        found
    }

    /// None: there was no answer, the group is not settled, or another worker comes first.
    fn look(&self, reader: &GroupReader) -> Option<BTreeSet<i32>> {
        let members = reader.members(LOOK).ok()??;
        let first = members.iter().map(|member| member.client_id.as_str()).min()?;
        if first != self.member {
            return None;
        }
        let held = members.iter().flat_map(|member| &member.partitions);
        let held: BTreeSet<i32> =
            held.filter(|held| *held.topic == *self.partials).map(|held| held.partition).collect();
        Some((0..self.shards).filter(|shard| !held.contains(shard)).collect())
    }
}
