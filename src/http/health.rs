//! Whether the parts of this process are alive, and whether they do their work.
//!
//! *Alive* is for whoever restarts the process: false only when a thread has said nothing for [`STUCK_AFTER`].
//! *Ready* is for whoever waits for it: false while any part is starting, has failed or is stuck. A part that fails
//! for a reason outside (no database, say) is not mended by a restart, so it does not end the process's life.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A part that has not been heard of for longer is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// A part of the process with a thread of its own; workers are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Rules,
    Ingest(u32),
    Lag,
    Evaluate(u32),
    Store,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Rules => f.write_str("rules"),
            Component::Ingest(worker) => write!(f, "ingest/{worker}"),
            Component::Lag => f.write_str("lag"),
            Component::Evaluate(worker) => write!(f, "evaluate/{worker}"),
            Component::Store => f.write_str("store"),
        }
    }
}

/// What a part says of itself; the text says why, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting(String),
    Ready,
    /// Does its work, but something needs a look.
    Degraded(String),
    Failed(String),
}

/// Shared by all threads. Name every part that will run as `Starting` before the first thread begins, or the process
/// is ready as soon as its quickest part is.
#[derive(Clone, Debug)]
pub struct Health {
    began: Instant,
    board: Arc<Mutex<Board>>,
}

impl Health {
    pub fn new() -> Health {
        Health { began: Instant::now(), board: Arc::default() }
    }

    /// Sets the state of a part and counts as a heartbeat.
    pub fn set(&self, component: Component, state: State) {
        let now = self.began.elapsed();
        self.lock().set(component, state, now);
    }

    /// Says that the thread of `component` still goes round; at least every few seconds, restores included.
    pub fn beat(&self, component: Component) {
        let now = self.began.elapsed();
        self.lock().beat(component, now);
    }

    /// The part has ended as it should and is asked no more.
    pub fn remove(&self, component: Component) {
        self.lock().parts.remove(&component);
    }

    /// What `/readyz` says, in one word.
    pub fn is_ready(&self) -> bool {
        self.ready().ok
    }

    pub(super) fn alive(&self) -> Verdict {
        let now = self.began.elapsed();
        self.lock().alive(now)
    }

    pub(super) fn ready(&self) -> Verdict {
        let now = self.began.elapsed();
        self.lock().ready(now)
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        // Every change of the board is one insert, so a thread that died holding the lock left it whole.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Health {
        Health::new()
    }
}

/// The states and heartbeats; all times are since the start of the process.
#[derive(Debug, Default)]
struct Board {
    parts: BTreeMap<Component, Part>,
}

#[derive(Debug)]
struct Part {
    state: State,
    last_beat: Duration,
}

/// The answer to `/healthz` or `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub ok: bool,
    pub components: Vec<Report>,
}

/// One part in a verdict.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub component: String,
    pub ok: bool,
    /// `starting`, `ready`, `degraded`, `failed` or `stuck`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Board {
    fn set(&mut self, component: Component, state: State, now: Duration) {
        self.parts.insert(component, Part { state, last_beat: now });
    }

    fn beat(&mut self, component: Component, now: Duration) {
        if let Some(part) = self.parts.get_mut(&component) {
            part.last_beat = now;
        }
    }

    fn alive(&self, now: Duration) -> Verdict {
        self.verdict(|part| part.silence(now).is_none(), now)
    }

    fn ready(&self, now: Duration) -> Verdict {
        let is_ready = |part: &Part| match part.state {
            State::Ready | State::Degraded(_) => part.silence(now).is_none(),
            State::Starting(_) | State::Failed(_) => false,
        };
        let mut verdict = self.verdict(is_ready, now);
        if verdict.components.is_empty() {
            verdict.ok = false;
            let why = "no part of the process has begun yet".to_owned();
            verdict.components.push(Report {
                component: "process".into(),
                ok: false,
                state: "starting",
                why,
            });
        }
        verdict
    }

    fn verdict(&self, is_ok: impl Fn(&Part) -> bool, now: Duration) -> Verdict {
        let report = |(component, part): (&Component, &Part)| {
            let (state, why) = part.words(now);
            Report { component: component.to_string(), ok: is_ok(part), state, why }
        };
        let components: Vec<Report> = self.parts.iter().map(report).collect();
        Verdict { ok: components.iter().all(|report| report.ok), components }
    }
}

impl Part {
    /// How long nothing was heard, when that is too long.
    fn silence(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.last_beat)).filter(|silence| *silence > STUCK_AFTER)
    }

    fn words(&self, now: Duration) -> (&'static str, String) {
        let (state, why) = match &self.state {
            State::Starting(why) => ("starting", why.as_str()),
            State::Ready => ("ready", ""),
            State::Degraded(why) => ("degraded", why.as_str()),
            State::Failed(why) => ("failed", why.as_str()),
        };
        match self.silence(now) {
            Some(silence) => {
                let before = if why.is_empty() { state.to_owned() } else { format!("{state}: {why}") };
                (
                    "stuck",
                    format!("its thread has been silent for {} s; before that {before}", silence.as_secs()),
                )
            }
            None => (state, why.to_owned()),
        }
    }
}

impl fmt::Display for Verdict {
    /// One line for each part; those that are not well alone when there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in self.components.iter().filter(|report| self.ok || !report.ok) {
            write!(f, "{}: {}", report.component, report.state)?;
            if !report.why.is_empty() {
                write!(f, ": {}", report.why.replace(char::is_control, " "))?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn ready_when_every_part_is() {
        let mut board = Board::default();
        assert_eq!(
            board.ready(second(0)).to_string(),
            "process: starting: no part of the process has begun yet\n"
        );
        board.set(Component::Store, State::Starting("migrating".into()), second(0));
        board.set(Component::Ingest(0), State::Ready, second(0));
        let verdict = board.ready(second(1));
        assert_eq!((verdict.ok, verdict.to_string().as_str()), (false, "store: starting: migrating\n"));
        board.set(Component::Store, State::Degraded("no\nPostgres".into()), second(1));
        let verdict = board.ready(second(1));
        let all = "ingest/0: ready\nstore: degraded: no Postgres\n";
        assert_eq!((verdict.ok, verdict.to_string().as_str()), (true, all));
        board.set(Component::Store, State::Failed("gone".into()), second(1));
        assert_eq!(board.ready(second(1)).to_string(), "store: failed: gone\n");
        assert!(board.alive(second(1)).ok, "a restart would not bring the database back");
    }

    #[test]
    fn alive_while_every_thread_is_heard() {
        let mut board = Board::default();
        assert!(board.alive(second(1_000)).ok, "nothing has begun, so nothing can be stuck");
        board.set(Component::Ingest(0), State::Ready, second(0));
        board.set(Component::Evaluate(1), State::Starting("restoring".into()), second(0));
        assert!(board.alive(second(30)).ok);
        board.beat(Component::Ingest(0), second(30));
        let verdict = board.alive(second(31));
        let stuck =
            "evaluate/1: stuck: its thread has been silent for 31 s; before that starting: restoring\n";
        assert_eq!((verdict.ok, verdict.to_string().as_str()), (false, stuck));
        board.set(Component::Evaluate(1), State::Ready, second(31));
        assert!(board.alive(second(31)).ok && board.ready(second(31)).ok);
        assert!(!board.ready(second(62)).ok, "a stuck part is not ready");
    }

    #[test]
    fn a_part_that_ended_is_asked_no_more() {
        let health = Health::new();
        health.set(Component::Rules, State::Ready);
        health.set(Component::Store, State::Failed("x".into()));
        assert!(!health.ready().ok);
        health.remove(Component::Store);
        health.beat(Component::Store);
        assert_eq!(health.ready().to_string(), "rules: ready\n");
    }
}
