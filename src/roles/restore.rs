//! Shards from their changelog: the last whole checkpoint of each, then a replay up to what the group has committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::shard_slot::{ShardSlot, SlotError};
use super::{ASK, Context, RoleError};
use crate::core::shard::ShardOptions;
use crate::core::shard::checkpoint::Restore;
use crate::http::{Component, Role};
use crate::kafka::{Admin, Committed, EndOf, TopicPartition, read_to_end};

/// Longest time a restore may stand still before it is given up.
const STALL: Duration = Duration::from_secs(60);
/// How often a restore that takes its time says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What has been read of one shard.
#[derive(Default)]
struct Reading {
    restore: Restore,
    bytes: u64,
}

/// Restores shards from their changelogs, all at once: most of the time is waiting for the broker. With each comes where
/// its group stands. `component` shows that it is alive meanwhile.
pub fn restore(
    context: &Context,
    component: Component,
    shards: &[(i32, Option<Committed>)],
    options: ShardOptions,
) -> Result<Vec<ShardSlot>, RoleError> {
    let began = Instant::now();
    let mut readings = read(context, component, shards)?;
    let mut slots = Vec::new();
    for (partition, committed) in shards {
        let Reading { restore, bytes } = readings.remove(partition).unwrap_or_default();
        let slot = finish(context, *partition, restore, committed.as_ref(), options)?;
        context.metrics.restore_seconds().observe(began.elapsed().as_secs_f64());
        context.metrics.restore_bytes().inc_by(bytes);
        tracing::info!(
            shard = partition,
            bytes,
            from = slot.next(),
            replay = slot.commits() - slot.next(),
            millis = began.elapsed().as_millis() as u64,
            "shard restored"
        );
        context.health.beat(component);
        slots.push(slot);
    }
    Ok(slots)
}

fn read(
    context: &Context,
    component: Component,
    shards: &[(i32, Option<Committed>)],
) -> Result<BTreeMap<i32, Reading>, RoleError> {
    let topics = &context.settings.topics;
    let changelog = topics.full_name(&topics.changelog);
    let places: Vec<TopicPartition> =
        shards.iter().map(|(partition, _)| TopicPartition::new(changelog.as_str(), *partition)).collect();
    let admin = Admin::open(&context.connection)?;
    let starts = admin.offsets(&places, EndOf::Earliest, ASK)?;
    let mut readings: BTreeMap<i32, Reading> = BTreeMap::new();
    let (mut bytes, mut told) = (0, Instant::now());
    read_to_end(&context.connection, &admin, &starts, STALL, |record| {
        let (key, value) = (record.key.unwrap_or_default(), record.payload);
        let length = (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        let reading = readings.entry(record.partition).or_default();
        reading.restore.take(key, value);
        reading.bytes += length;
        bytes += length;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            context.health.beat(component);
            tracing::info!(shards = shards.len(), bytes, "shards restoring");
        }
    })?;
    Ok(readings)
}

fn finish(
    context: &Context,
    partition: i32,
    restore: Restore,
    committed: Option<&Committed>,
    options: ShardOptions,
) -> Result<ShardSlot, RoleError> {
    // Kafka numbers partitions from 0.
    let restored = restore
        .finish(partition as u32, options)
        .map_err(|source| RoleError::Restore { shard: partition, source })?;
    let committed = committed.map(|committed| committed.next);
    ShardSlot::new(partition, restored, committed, options, Instant::now()).map_err(|error| match error {
        SlotError::NoCheckpoint { committed } => {
            let topics = &context.settings.topics;
            RoleError::NoCheckpoint {
                shard: partition,
                group: context.group(Role::Evaluate),
                committed,
                changelog: topics.full_name(&topics.changelog),
            }
        }
        SlotError::Checkpoint(_) => error.into(),
    })
}
