//! A shard from its changelog: the last whole checkpoint, then a replay up to what the group has committed.

use std::time::{Duration, Instant};

use super::shard_slot::{ShardSlot, SlotError};
use super::{Context, RoleError};
use crate::core::shard::ShardOptions;
use crate::core::shard::checkpoint::Restore;
use crate::http::Role;
use crate::kafka::{Committed, read_whole};

/// Longest time a restore may stand still before it is given up.
const STALL: Duration = Duration::from_secs(60);
/// How often a restore that takes its time says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Restores the shard of `partition` from its changelog. `committed` is where the group stands.
pub fn restore(
    context: &Context,
    partition: i32,
    committed: Option<&Committed>,
    options: ShardOptions,
) -> Result<ShardSlot, RoleError> {
    let began = Instant::now();
    let topics = &context.settings.topics;
    let changelog = topics.full_name(&topics.changelog);
    let mut restore = Restore::default();
    let (mut bytes, mut told) = (0, began);
    read_whole(&context.connection, &changelog, partition, STALL, |offset, key, value| {
        bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        restore.take(key, value);
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!(shard = partition, bytes, offset, "shard restoring");
        }
    })?;
    // Kafka numbers partitions from 0.
    let restored = restore
        .finish(partition as u32, options)
        .map_err(|source| RoleError::Restore { shard: partition, source })?;
    let next = restored.0.as_ref().map_or(0, |shard| shard.version() + 1);
    let committed = committed.map(|committed| committed.next);
    let slot =
        ShardSlot::new(partition, restored, committed, options, Instant::now()).map_err(|e| match e {
            SlotError::NoCheckpoint { committed } => RoleError::NoCheckpoint {
                shard: partition,
                group: context.group(Role::Evaluate),
                committed,
                changelog,
            },
            SlotError::Checkpoint(_) => e.into(),
        })?;
    context.metrics.restore_seconds().observe(began.elapsed().as_secs_f64());
    context.metrics.restore_bytes().inc_by(bytes);
    tracing::info!(
        shard = partition,
        bytes,
        from = next,
        replay = slot.commits() - next,
        millis = began.elapsed().as_millis() as u64,
        "shard restored"
    );
    Ok(slot)
}
