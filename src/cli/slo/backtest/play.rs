//! The threads of a backtest: several read, decode and fold their partitions, this one judges.

use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread;

use plimsoll::core::time::{SECOND_US, second_of};
use plimsoll::slo::backtest::{Backtest, Starts};
use plimsoll::slo::evaluate::{Flushed, StageError};
use plimsoll::slo::ingest::{Ingest, Refused};

use super::records::Opened;
use super::share::Share;
use crate::cli::Failure;
use crate::cli::generate::progress::Progress;

/// Seconds of log time that a worker may be ahead of judging.
const AHEAD: usize = 60;

/// What was seen on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub records: u64,
    /// Arrival of the first record, in seconds since 1970.
    pub first_s: Option<i64>,
}

/// What one worker made of a second, for each backtest.
struct Second {
    flushed: Vec<Flushed>,
    refused: Vec<Refused>,
    records: u64,
    /// There are records to come.
    more: bool,
}

/// One thread's work.
struct Worker {
    share: Share,
    ingests: Vec<Ingest>,
    to: SyncSender<Second>,
}

/// Lets every backtest see every record that arrived before `until_s`.
pub fn play(backtests: &mut [Backtest], opened: Opened, until_s: i64) -> Result<Seen, Failure> {
    let Opened { mut shares, starts, expected } = opened;
    let mut first_us: Option<i64> = None;
    for share in &mut shares {
        first_us = [first_us, share.first_us()?].into_iter().flatten().min();
    }
    let Some(first_s) = first_us.map(second_of) else { return Ok(Seen::default()) };
    let seconds = first_s + 1..until_s + 1;
    let (mut workers, mut from) = (Vec::new(), Vec::new());
    for share in shares {
        let (to, receiver) = sync_channel(AHEAD);
        let ingests = backtests.iter().map(|backtest| begun(backtest, &share, &starts, first_s)).collect();
        workers.push(Worker { share, ingests, to });
        from.push(receiver);
    }
    let mut progress = Progress::start(Some(expected));
    let records = thread::scope(|scope| {
        let start = |worker: Worker| scope.spawn(|| worker.run(seconds.clone()));
        let running: Vec<_> = workers.into_iter().map(start).collect();
        let judged = judge(backtests, from, seconds.clone(), &mut progress);
        // Whoever still waits for room in a channel finds it closed by now.
        for worker in running {
            worker.join().map_err(|_| Failure::broken("a thread that reads records broke"))??;
        }
        judged
    });
    progress.end();
    Ok(Seen { records: records?, first_s: Some(first_s) })
}

fn begun(backtest: &Backtest, share: &Share, starts: &Starts, first_s: i64) -> Ingest {
    let mut ingest = backtest.ingest();
    for partition in share.partitions() {
        ingest.assign(&partition.topic, partition.partition, starts, first_s);
    }
    ingest
}

impl Worker {
    /// Ends early when nobody judges any more.
    fn run(mut self, seconds: std::ops::Range<i64>) -> Result<(), Failure> {
        for now_s in seconds {
            let (mut records, ingests) = (0, &mut self.ingests);
            let more = self.share.before(now_s * SECOND_US, |record, arrival_us| {
                records += 1;
                ingests.iter_mut().for_each(|ingest| ingest.record(record, arrival_us));
            })?;
            let flushed = self.ingests.iter_mut().map(|ingest| ingest.flush(now_s)).collect();
            let refused = self.ingests.iter_mut().map(Ingest::take_refused).collect();
            if self.to.send(Second { flushed, refused, records, more }).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Judges second by second what the workers send; gives how many records they read.
fn judge(
    backtests: &mut [Backtest],
    from: Vec<Receiver<Second>>,
    seconds: std::ops::Range<i64>,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    let final_s = backtests.iter().map(Backtest::final_s).max().unwrap_or(0);
    let mut records = 0;
    for now_s in seconds {
        let mut flushed: Vec<Vec<Flushed>> = backtests.iter().map(|_| Vec::new()).collect();
        let mut more = false;
        for worker in &from {
            // A worker that fails says why when it is joined.
            let second: Second =
                worker.recv().map_err(|RecvError| Failure::broken("records end too early"))?;
            records += second.records;
            more |= second.more;
            for (at, (part, refused)) in second.flushed.into_iter().zip(second.refused).enumerate() {
                flushed[at].push(part);
                backtests[at].refuse(refused);
            }
        }
        for (backtest, flushed) in backtests.iter_mut().zip(flushed) {
            backtest.second(now_s, flushed).map_err(broken)?;
        }
        progress.show(records, now_s * SECOND_US);
        // Nothing is left that could come late.
        if !more && now_s >= final_s {
            break;
        }
    }
    Ok(records)
}

pub fn broken(error: StageError) -> Failure {
    match error {
        StageError::Plan(error) => Failure::usage(error),
        StageError::Shard(error) => Failure::broken(error),
    }
}
