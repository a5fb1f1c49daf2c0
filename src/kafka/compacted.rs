//! Compacted topics read as the tables they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::admin::{Admin, EndOf};
use super::batch::{Fetched, QueuedConsumer};
use super::connection::LogContext;
use super::error::{failed, partition_error};
use super::list::start_list;
use super::record::Record;
use super::slot::Slot;
use super::{Connection, KafkaError, Start, TopicPartition};

/// Records asked for at a time.
const BATCH: usize = 10_000;
const WAIT: Duration = Duration::from_millis(100);
const LOOK_UP: Duration = Duration::from_secs(30);
/// Where several partitions are read, each is waited for only so long.
const LOOK: Duration = Duration::from_millis(5);
/// Each of them has a queue of its own.
const QUEUE: (&str, &str) = ("queued.max.messages.kbytes", "2048");

/// Reads a partition from its beginning to the end it had at the call (the end of the log, open transactions
/// counted), committed records only: `each(offset, key, value)`, no value for a tombstone. Waits for open
/// transactions to end. Returns that end, the offset to go on from.
/// `stall`: the longest time without progress before it gives up.
pub fn read_whole(
    connection: &Connection,
    topic: &str,
    partition: i32,
    stall: Duration,
    mut each: impl FnMut(i64, &[u8], Option<&[u8]>),
) -> Result<i64, KafkaError> {
    let partition = TopicPartition::new(topic, partition);
    let admin = Admin::open(connection)?;
    let one = std::slice::from_ref(&partition);
    let offset_at = |end| Ok(admin.offsets(one, end, LOOK_UP)?.first().map_or(0, |(_, offset)| *offset));
    let end = offset_at(EndOf::LatestUncommitted)?;
    if offset_at(EndOf::Earliest)? >= end {
        return Ok(end); // empty: nothing would ever arrive to show a position
    }
    let mut follower = Follower::start(connection, partition, Start::Beginning, &[])?;
    let mut progress = (None, Instant::now());
    loop {
        follower.poll(WAIT, |record| {
            // A record past the end may come along; it belongs to whoever goes on from there.
            if record.offset < end {
                each(record.offset, record.key.unwrap_or_default(), record.payload);
            }
        })?;
        // Not the last record: markers and aborted records take offsets too.
        let position = follower.position()?;
        if position.is_some_and(|position| position >= end) {
            return Ok(end);
        }
        if position != progress.0 {
            progress = (position, Instant::now());
        } else if progress.1.elapsed() > stall {
            let action =
                format!("reading {} up to offset {end} (now at {position:?})", follower.slot.partition);
            return Err(KafkaError::TimedOut { action, waited: stall });
        }
    }
}

/// Reads partitions from the offsets given, which must still be there, to the ends they had at the call, committed
/// records only. Each comes in the order of its log; between partitions there is none. Waits for open transactions to
/// end. `stall`: the longest time without progress before it gives up.
pub fn read_to_end(
    connection: &Connection,
    admin: &Admin,
    starts: &[(TopicPartition, i64)],
    stall: Duration,
    mut each: impl FnMut(Record<'_>),
) -> Result<(), KafkaError> {
    let partitions: Vec<TopicPartition> = starts.iter().map(|(partition, _)| partition.clone()).collect();
    let ends = admin.offsets(&partitions, EndOf::LatestUncommitted, LOOK_UP)?;
    // Of an empty one nothing would ever arrive to show a position.
    let open = starts.iter().zip(ends).filter(|((_, start), (_, end))| start < end);
    let (starts, ends): (Vec<_>, Vec<i64>) =
        open.map(|((partition, start), (_, end))| ((partition.clone(), Start::At(*start)), end)).unzip();
    if starts.is_empty() {
        return Ok(());
    }
    let followers = Follower::start_all(connection, &starts, &[QUEUE])?;
    let mut open: Vec<(Follower, i64)> = followers.into_iter().zip(ends).collect();
    let mut moved = Instant::now();
    while let Some((first, end)) = open.first() {
        if moved.elapsed() > stall {
            let action = format!("reading {} up to offset {end}", first.slot.partition);
            return Err(KafkaError::TimedOut { action, waited: stall });
        }
        // All have one client: while one is waited for, the others fill up.
        let (mut wait, before) = (LOOK, open.len());
        let mut at_end = Vec::new();
        for (follower, end) in &mut open {
            let count = follower.poll(wait, |record| {
                if record.offset < *end {
                    each(record);
                }
            })?;
            if count > 0 {
                (wait, moved) = (Duration::ZERO, Instant::now());
            }
            // Not the last record: markers and aborted records take offsets too.
            at_end.push(follower.position()?.is_some_and(|position| position >= *end));
        }
        let mut is_open = at_end.into_iter().map(|at_end| !at_end);
        open.retain(|_| is_open.next().unwrap_or(true));
        if open.len() < before {
            moved = Instant::now();
        }
    }
    Ok(())
}

type Client = BaseConsumer<LogContext>;

/// A client without a group.
fn client(connection: &Connection, more: &[(&str, &str)]) -> Result<Arc<Client>, KafkaError> {
    // librdkafka wants a group's name even to assign by hand. Nothing joins it and nothing is committed.
    let fixed = [("group.id", "plimsoll-follower"), ("client.id", "plimsoll-follower")];
    Ok(Arc::new(connection.consumer(Duration::ZERO, &[&fixed, more].concat(), LogContext::default())?))
}

/// Follows one partition without a group.
pub struct Follower {
    consumer: QueuedConsumer<LogContext>,
    slot: Slot,
}

impl Follower {
    /// Starts at `from` (the end [`read_whole`] returned, or 0).
    pub fn open(
        connection: &Connection,
        partition: TopicPartition,
        from: i64,
    ) -> Result<Follower, KafkaError> {
        Follower::start(connection, partition, Start::At(from), &[])
    }

    /// `more` are settings of the client.
    pub(super) fn start(
        connection: &Connection,
        partition: TopicPartition,
        start: Start,
        more: &[(&str, &str)],
    ) -> Result<Follower, KafkaError> {
        let client = client(connection, more)?;
        let follower = Follower::on(&client, partition.clone(), start)?;
        client.assign(&start_list(&[(partition, start)])?).map_err(failed("assigning"))?;
        Ok(follower)
    }

    /// Several followers on one client, in the order of `starts`; each reads on its own, past the others or behind.
    pub(super) fn start_all(
        connection: &Connection,
        starts: &[(TopicPartition, Start)],
        more: &[(&str, &str)],
    ) -> Result<Vec<Follower>, KafkaError> {
        let client = client(connection, more)?;
        let followers =
            starts.iter().map(|(partition, start)| Follower::on(&client, partition.clone(), *start));
        let followers = followers.collect::<Result<Vec<_>, _>>()?;
        client.assign(&start_list(starts)?).map_err(failed("assigning"))?;
        Ok(followers)
    }

    /// Nothing arrives before the partition is assigned.
    fn on(client: &Arc<Client>, partition: TopicPartition, start: Start) -> Result<Follower, KafkaError> {
        let consumer = QueuedConsumer::new(Arc::clone(client))?;
        consumer.forward(&partition.topic, partition.partition)?;
        Ok(Follower { consumer, slot: Slot::new(partition, start) })
    }

    /// Hands out what has arrived since, without waiting. Returns how many records. Where records before the next
    /// offset were compacted away the offsets jump; that is no error.
    pub fn poll_new(&mut self, each: impl FnMut(Record<'_>)) -> Result<usize, KafkaError> {
        self.poll(Duration::ZERO, each)
    }

    pub(super) fn poll(&mut self, wait: Duration, each: impl FnMut(Record<'_>)) -> Result<usize, KafkaError> {
        self.poll_some(wait, BATCH, each)
    }

    /// Hands out `most` records at most.
    pub(super) fn poll_some(
        &mut self,
        wait: Duration,
        most: usize,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<usize, KafkaError> {
        // Serves log lines; the records all go to the batch queue.
        let _ = self.consumer.consumer().poll(Duration::ZERO);
        let Follower { consumer, slot } = self;
        let (mut count, mut error) = (0, None);
        consumer.read(wait, most, |fetched| match fetched {
            Fetched::Record(record) => {
                if slot.accept(record.offset) {
                    count += 1;
                    each(record);
                }
            }
            Fetched::Error { code, reason, .. } => {
                error = error.take().or_else(|| partition_error(slot.partition.clone(), code, reason));
            }
        });
        error.map_or(Ok(count), Err)
    }

    pub(super) fn position(&self) -> Result<Option<i64>, KafkaError> {
        let list = self.consumer.consumer().position().map_err(failed("reading positions"))?;
        let seen = list.find_partition(&self.slot.partition.topic, self.slot.partition.partition);
        let client = match seen.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        Ok(client.max(self.slot.next))
    }
}
