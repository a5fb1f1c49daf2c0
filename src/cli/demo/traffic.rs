//! What is sent: the past first, faster than it went by, then what happens now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use plimsoll::generate::{Workload, WorkloadOptions};
use plimsoll::kafka::{Connection, PlainProducer};
use plimsoll::roles::{Stop, wall_clock_us};

use super::engine::PARTITIONS;
use super::script::Script;
use crate::cli::Failure;
use crate::cli::pace::{Pacer, Speed};

const FLUSH: Duration = Duration::from_secs(20);

/// Runs on a thread of its own until it is done or stopped.
pub struct Traffic {
    sent: Arc<Sent>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

#[derive(Debug, Default)]
struct Sent {
    records: AtomicU64,
    /// Arrival of the last one, in microseconds since 1970; 0 before the first.
    event_us: AtomicI64,
    history_told: AtomicBool,
}

impl Traffic {
    pub fn start(connection: &Connection, script: &Script) -> Result<Traffic, Failure> {
        let producer = PlainProducer::open(connection, "demo-traffic")?;
        let (sent, stop) = (Arc::new(Sent::default()), Stop::default());
        let sender = Sender { producer, sent: Arc::clone(&sent), stop: stop.clone() };
        let script = script.clone();
        let thread = thread::Builder::new()
            .name("traffic".into())
            .spawn(move || sender.run(&script))
            .map_err(Failure::broken)?;
        Ok(Traffic { sent, stop, thread: Some(thread) })
    }

    pub fn records(&self) -> u64 {
        self.sent.records.load(Ordering::Relaxed)
    }

    /// Where event time stands, in microseconds since 1970.
    pub fn event_us(&self) -> Option<i64> {
        Some(self.sent.event_us.load(Ordering::Relaxed)).filter(|us| *us > 0)
    }

    pub fn history_told(&self) -> bool {
        self.sent.history_told.load(Ordering::Acquire)
    }

    /// Fails when the traffic could not be sent.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            None => Ok(()),
            Some(thread) => joined(thread),
        }
    }

    pub fn stop(mut self) -> Result<(), Failure> {
        self.stop.raise();
        self.thread.take().map_or(Ok(()), joined)
    }
}

fn joined(thread: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure::broken("the traffic panicked: this is a bug")))
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.raise();
        // On the way out of an error, which is told already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Sender {
    producer: PlainProducer,
    sent: Arc<Sent>,
    stop: Stop,
}

impl Sender {
    fn run(&self, script: &Script) -> Result<(), Failure> {
        let result = self.send(script.history(wall_clock_us(), PARTITIONS), script.pace());
        self.sent.history_told.store(true, Ordering::Release);
        result?;
        if !script.ends && !self.stop.is_raised() {
            self.send(script.live(wall_clock_us(), PARTITIONS), Speed::Times(1.0))?;
        }
        Ok(())
    }

    fn send(&self, options: WorkloadOptions, speed: Speed) -> Result<(), Failure> {
        let mut pacer = Pacer::new(options.start_us, speed);
        for record in Workload::new(options).map_err(Failure::usage)? {
            if !pacer.wait(record.arrival_us, &self.stop) {
                break;
            }
            let key = record.key.as_deref();
            let partition = record.partition as i32; // one of `PARTITIONS`
            self.producer.send(record.topic, partition, key, &record.payload, record.timestamp_ms)?;
            self.sent.records.fetch_add(1, Ordering::Relaxed);
            self.sent.event_us.store(record.arrival_us, Ordering::Relaxed);
        }
        self.producer.flush(FLUSH)?;
        match self.producer.first_failure() {
            None => Ok(()),
            Some(reason) => Err(Failure::failed(format!(
                "{} events were not delivered: {reason}",
                self.producer.failed()
            ))),
        }
    }
}
