//! Fetching without librdkafka's queues: what a broker sends is handed out from the very bytes it came in.
//!
//! librdkafka makes an object of each record and hands it from thread to thread, which costs more than all that is
//! done with it afterwards. Here one thread asks, reads and hands out; while it does, the broker makes the next answer
//! ready. Who leads what is still asked through librdkafka, which also keeps the group, the transactions and every
//! secret: a listener with TLS or SASL is read through its queues.

mod brokers;
mod chunk;
mod inflate;
mod link;
mod low_water;
mod partition;
mod record_batch;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::{Decodable, StrBytes};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use self::brokers::{Brokers, Outcome};
use self::chunk::Chunk;
use self::inflate::Inflated;
use self::partition::{Asked, Partition};
use self::record_batch::Damaged;
use super::batch::Fetched;
use super::connection::FetchLimits;
use super::{KafkaError, Start, TopicPartition};

pub(super) use self::record_batch::RawHeaders;

/// Who leads a partition is not waited for any longer: the others go on meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// Before a broker or a partition that failed is asked again.
const REST: Duration = Duration::from_millis(100);
const READ_COMMITTED: i8 = 1;
/// Of no session: each request names all it wants.
const NO_SESSION: i32 = -1;

pub(super) struct DirectFetch {
    limits: FetchLimits,
    partitions: Vec<Partition>,
    brokers: Brokers,
    /// Fetched and not handed out.
    ready: VecDeque<Chunk>,
    /// The records of the batch that is being handed out, if they were compressed.
    inflated: Inflated,
    /// To be told with the next read.
    troubles: Vec<Trouble>,
    runs: u64,
    answers: u64,
}

struct Trouble {
    partition: TopicPartition,
    offset: i64,
    code: Code,
    reason: String,
}

impl Trouble {
    fn damaged(partition: TopicPartition, damaged: &Damaged) -> Trouble {
        Trouble { partition, offset: damaged.offset(), code: Code::BadMessage, reason: damaged.to_string() }
    }
}

impl DirectFetch {
    pub fn new(client_id: &str, limits: FetchLimits) -> Result<DirectFetch, KafkaError> {
        Ok(DirectFetch {
            limits,
            partitions: Vec::new(),
            brokers: Brokers::new(client_id).map_err(polling)?,
            ready: VecDeque::new(),
            inflated: Inflated::default(),
            troubles: Vec::new(),
            runs: 0,
            answers: 0,
        })
    }

    /// From now on these partitions and no others.
    pub fn assign(&mut self, starts: &[(TopicPartition, Start)]) {
        self.ready.clear();
        self.troubles.clear();
        let runs = self.runs..;
        let fresh =
            starts.iter().zip(runs).map(|((name, start), run)| Partition::new(name.clone(), *start, run));
        self.partitions = fresh.collect();
        self.runs += starts.len() as u64;
    }

    /// Goes on exactly at these offsets. Partitions that are not assigned are skipped.
    pub fn reposition(&mut self, starts: &[(TopicPartition, Start)]) {
        for (name, start) in starts {
            let Some(partition) = self.partitions.iter_mut().find(|partition| partition.name == *name) else {
                continue;
            };
            self.ready.retain(|chunk| chunk.run != partition.run);
            self.troubles.retain(|trouble| trouble.partition != *name);
            partition.restart(*start, self.runs);
            self.runs += 1;
        }
    }

    pub fn set_paused(&mut self, names: &[TopicPartition], is_paused: bool) {
        for partition in self.partitions.iter_mut().filter(|partition| names.contains(&partition.name)) {
            partition.is_paused = is_paused;
        }
    }

    /// Where everything before is handed out. None: something is not, or nothing is known yet.
    pub fn position(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.partitions.iter().find(|partition| partition.name == *name)?;
        let is_waiting = self.ready.iter().any(|chunk| chunk.run == partition.run);
        partition.next.filter(|_| !is_waiting && !partition.is_lost)
    }

    /// Waits up to `timeout` for something to hand out, then hands out what is there, `max` records at most.
    pub fn read<C: ConsumerContext>(
        &mut self,
        client: &BaseConsumer<C>,
        timeout: Duration,
        max: usize,
        mut each: impl FnMut(Fetched<'_>),
    ) -> Result<(), KafkaError> {
        if self.ready.is_empty() && self.troubles.is_empty() {
            self.wait(client, timeout).map_err(polling)?;
        }
        self.hand_out(max, &mut each);
        for Trouble { partition, offset, code, reason } in self.troubles.drain(..) {
            let (topic, partition) = (&*partition.topic, partition.partition);
            each(Fetched::Error { topic, partition, offset, code, reason });
        }
        Ok(())
    }

    fn hand_out(&mut self, max: usize, each: &mut impl FnMut(Fetched<'_>)) {
        let mut left = max;
        while left > 0 {
            let Some(chunk) = self.ready.front_mut() else { return };
            match chunk.hand_out(left, &mut self.inflated, &mut |record| each(Fetched::Record(record))) {
                Ok(count) if count == left => return,
                Ok(count) => left -= count,
                Err(damaged) => {
                    let (name, run) = (chunk.partition.clone(), chunk.run);
                    self.damaged(name, run, &damaged);
                }
            }
            self.ready.pop_front();
        }
    }

    /// What is damaged is asked for again, and told: whoever reads on does not read past it.
    fn damaged(&mut self, name: TopicPartition, run: u64, damaged: &Damaged) {
        if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.run == run) {
            partition.restart(Start::At(damaged.offset()), self.runs);
            partition.rest(Instant::now());
            self.runs += 1;
        }
        self.troubles.push(Trouble::damaged(name, damaged));
    }

    /// Until something is ready or in trouble, or the time is up.
    fn wait<C: ConsumerContext>(&mut self, client: &BaseConsumer<C>, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            self.find_out(client);
            self.ask();
            let left = deadline.saturating_duration_since(Instant::now());
            for (id, outcome) in self.brokers.wait(left, self.limits.wait)? {
                match outcome {
                    Outcome::Failed(error) => self.lose(id, &error),
                    Outcome::Answer { asked, answer, version } => {
                        self.answers += 1;
                        match FetchResponse::decode(&mut answer.clone(), version) {
                            Ok(response) => self.take(&asked, response),
                            Err(error) => self.lose(id, &io::Error::other(error)),
                        }
                    }
                }
            }
            if !self.ready.is_empty() || !self.troubles.is_empty() || Instant::now() >= deadline {
                // The broker makes the next answer ready while this one is handed out.
                self.ask();
                return Ok(());
            }
        }
    }

    /// Asks who leads what, and where what begins at its beginning begins.
    fn find_out<C: ConsumerContext>(&mut self, client: &BaseConsumer<C>) {
        let now = Instant::now();
        let unclear = |partition: &&Partition| partition.is_unclear(now);
        let topics: BTreeSet<Arc<str>> = self
            .partitions
            .iter()
            .filter(unclear)
            .map(|partition| Arc::clone(&partition.name.topic))
            .collect();
        for topic in topics {
            match client.fetch_metadata(Some(&topic), LOOK) {
                Ok(metadata) => self.learn(&topic, &metadata),
                Err(error) => {
                    tracing::debug!(%topic, %error, "nobody says who leads it");
                    break;
                }
            }
        }
        let mut answers = true;
        for partition in self.partitions.iter_mut().filter(|partition| partition.is_unclear(now)) {
            if answers && partition.leader.is_some() {
                let name = &partition.name;
                let found = client.fetch_watermarks(&name.topic, name.partition, LOOK);
                answers = found.is_ok();
                partition.next = found.ok().map(|(low, _)| low);
            }
            if partition.is_unclear(now) {
                partition.rest(Instant::now());
            }
        }
    }

    fn learn(&mut self, topic: &str, metadata: &rdkafka::metadata::Metadata) {
        for broker in metadata.brokers() {
            if let Ok(port) = u16::try_from(broker.port()) {
                self.brokers.learn(broker.id(), (broker.host().to_owned(), port));
            }
        }
        for described in metadata.topics().iter().filter(|described| described.name() == topic) {
            for found in described.partitions().iter().filter(|found| found.leader() >= 0) {
                let is_it = |partition: &&mut Partition| {
                    partition.name.partition == found.id() && &*partition.name.topic == topic
                };
                if let Some(partition) = self.partitions.iter_mut().find(is_it) {
                    partition.leader = Some(found.leader());
                }
            }
        }
    }

    /// Asks every broker that waits for a question.
    fn ask(&mut self) {
        let now = Instant::now();
        let leaders: BTreeSet<i32> =
            self.partitions.iter().filter_map(|partition| partition.leader).collect();
        for id in leaders {
            let asked = match self.brokers.free(id, now) {
                Ok(None) => Ok(()),
                Ok(Some(version)) => {
                    let wanted = self.wanted(id, now);
                    if wanted.is_empty() {
                        continue;
                    }
                    self.brokers.ask(id, &self.request(&wanted), version, wanted)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = asked {
                self.lose(id, &error);
            }
        }
    }

    /// What a broker is to be asked for: first what brought nothing for longest, for an answer has an end.
    fn wanted(&self, leader: i32, now: Instant) -> Vec<Asked> {
        let mut wanted: Vec<Asked> = Vec::with_capacity(self.partitions.len());
        for (at, partition) in self.partitions.iter().enumerate() {
            if let Some(from) = partition.due(leader, now) {
                wanted.push(Asked { at, run: partition.run, from, name: partition.name.clone() });
            }
        }
        wanted.sort_by_key(|asked| self.partitions[asked.at].served);
        wanted
    }

    fn request(&self, wanted: &[Asked]) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for run in wanted.chunk_by(|one, other| one.name.topic == other.name.topic) {
            let of_one = |asked: &Asked| {
                FetchPartition::default()
                    .with_partition(asked.name.partition)
                    .with_fetch_offset(asked.from)
                    .with_partition_max_bytes(self.limits.partition_bytes)
            };
            let name = StrBytes::from_string(run[0].name.topic.to_string());
            let partitions = run.iter().map(of_one).collect();
            topics.push(FetchTopic::default().with_topic(TopicName(name)).with_partitions(partitions));
        }
        let wait_ms = i32::try_from(self.limits.wait.as_millis()).unwrap_or(i32::MAX);
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(self.limits.min_bytes)
            .with_max_bytes(self.limits.answer_bytes)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(NO_SESSION)
            .with_topics(topics)
    }

    fn take(&mut self, asked: &[Asked], response: FetchResponse) {
        let mut expected = asked.iter().cycle();
        if response.error_code != 0 {
            tracing::debug!(code = response.error_code, "the broker refused to be fetched from");
            asked.iter().for_each(|asked| self.rest(asked));
        }
        for topic in response.responses {
            for data in topic.partitions {
                // Mostly in the order in which they were asked for.
                let is_it = |asked: &&Asked| {
                    asked.name.partition == data.partition_index && *asked.name.topic == **topic.topic
                };
                if let Some(asked) = expected.by_ref().take(asked.len()).find(is_it) {
                    self.take_partition(asked, data);
                }
            }
        }
    }

    fn rest(&mut self, asked: &Asked) {
        if let Some(partition) =
            self.partitions.get_mut(asked.at).filter(|partition| partition.run == asked.run)
        {
            partition.rest(Instant::now());
        }
    }

    fn take_partition(&mut self, asked: &Asked, data: PartitionData) {
        // It may have been given away, repositioned, or been fetched from its next leader meanwhile.
        let is_it =
            |partition: &&mut Partition| partition.run == asked.run && partition.next == Some(asked.from);
        let Some(partition) = self.partitions.get_mut(asked.at).filter(is_it) else { return };
        let (name, offset) = (partition.name.clone(), asked.from);
        match ResponseError::try_from_code(data.error_code) {
            None => {
                let log = data.records.unwrap_or_default();
                if log.is_empty() {
                    return;
                }
                partition.served = self.answers;
                let aborted = data.aborted_transactions.unwrap_or_default();
                let aborted = aborted.iter().map(|one| (one.first_offset, one.producer_id.0)).collect();
                match Chunk::new(name.clone(), asked.run, offset, log, aborted) {
                    Ok((chunk, next)) => {
                        partition.next = Some(next);
                        self.ready.push_back(chunk);
                    }
                    Err(damaged) => {
                        partition.rest(Instant::now());
                        self.troubles.push(Trouble::damaged(name, &damaged));
                    }
                }
            }
            Some(ResponseError::OffsetOutOfRange) => {
                partition.is_lost = true;
                let (code, reason) = (Code::AutoOffsetReset, "offset out of range".to_owned());
                self.troubles.push(Trouble { partition: name, offset, code, reason });
            }
            Some(ResponseError::TopicAuthorizationFailed) => {
                partition.rest(Instant::now());
                let (code, reason) = (Code::TopicAuthorizationFailed, "fetching".to_owned());
                self.troubles.push(Trouble { partition: name, offset, code, reason });
            }
            Some(error) => {
                // The leader moves, or is not ready: librdkafka's own view of the topic tells what is more than that.
                tracing::debug!(partition = %name, %error, "not fetched, its leader is asked for again");
                partition.rest(Instant::now());
            }
        }
    }

    /// A broker does not answer: it may not be the leader any more.
    fn lose(&mut self, id: i32, error: &io::Error) {
        tracing::debug!(broker = id, address = self.brokers.address(id), %error, "lost a broker to fetch from");
        let now = Instant::now();
        for partition in self.partitions.iter_mut().filter(|partition| partition.leader == Some(id)) {
            partition.rest(now);
        }
    }
}

fn polling(error: io::Error) -> KafkaError {
    KafkaError::Failed { action: "waiting for brokers".to_owned(), reason: error.to_string() }
}
