//! Starts the workers of a process, watches over them, and stops them within the time an orchestrator gives.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Context, RoleError, Stop, board, evaluate, ingest, lag, store};
use crate::http::{Component, HttpError, Served, State, serve};

/// A worker that panics says nothing, and so is looked for this often; and this often when the grace runs.
const LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Which roles a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub ingest: bool,
    pub evaluate: bool,
    pub store: bool,
}

impl Roles {
    pub const ALL: Roles = Roles { ingest: true, evaluate: true, store: true };
}

/// Why a process could not run on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A thread that ended, and how.
struct Ended {
    component: Component,
    result: Result<(), RoleError>,
}

struct Worker {
    component: Component,
    handle: JoinHandle<()>,
}

/// Runs until stopped or until a worker fails. `rules_end` is where to follow the rules topic from; None: the rules
/// stay as they are on the board.
pub fn run(context: &Context, roles: Roles, rules_end: Option<i64>) -> Result<(), RunError> {
    let components = components(context, roles, rules_end);
    for &component in &components {
        context.health.set(component, State::Starting("not in its group yet".into()));
    }
    let served = serve_http(context)?;
    let (tell, ended) = channel();
    let mut workers = Vec::new();
    for component in components {
        let handle = spawn(context, component, rules_end, tell.clone())?;
        workers.push(Worker { component, handle });
    }
    drop(tell);
    let result = supervise(context, &ended, workers);
    context.stop.raise();
    leave(context, served);
    result
}

/// Waits for the last answers over HTTP, within the grace.
fn leave(context: &Context, served: Served) {
    while !served.handle.is_finished() && !grace_is_over(context) {
        thread::sleep(Duration::from_millis(10));
    }
    if served.handle.is_finished() && served.handle.join().is_err() {
        tracing::warn!("the http thread panicked");
    }
    let millis = context.stop.elapsed().unwrap_or_default().as_millis() as u64;
    tracing::info!(millis, "stopped");
}

fn grace_is_over(context: &Context) -> bool {
    context.stop.elapsed().is_some_and(|elapsed| elapsed >= context.settings.intervals.shutdown)
}

fn components(context: &Context, roles: Roles, rules_end: Option<i64>) -> Vec<Component> {
    // Workers are numbered far below 2^32.
    let workers = context.settings.workers as u32;
    let mut components = Vec::new();
    components.extend(rules_end.map(|_| Component::Rules));
    if roles.ingest {
        components.extend((0..workers).map(Component::Ingest));
        components.push(Component::Lag);
    }
    if roles.evaluate {
        components.extend((0..workers).map(Component::Evaluate));
    }
    if roles.store {
        components.push(Component::Store);
    }
    components
}

fn serve_http(context: &Context) -> Result<Served, HttpError> {
    let stop = context.stop.clone();
    let stopped = async move { stop.raised().await };
    let served =
        serve(context.settings.http.address, context.metrics.clone(), context.health.clone(), stopped)?;
    tracing::info!(address = %served.local_addr, "serving metrics, healthz and readyz");
    Ok(served)
}

fn spawn(
    context: &Context,
    component: Component,
    rules_end: Option<i64>,
    tell: Sender<Ended>,
) -> Result<JoinHandle<()>, io::Error> {
    let context = context.clone();
    thread::Builder::new().name(component.to_string()).spawn(move || {
        let result = work(&context, component, rules_end);
        // Nobody listens only when the process is ending anyway.
        let _ = tell.send(Ended { component, result });
    })
}

fn work(context: &Context, component: Component, rules_end: Option<i64>) -> Result<(), RoleError> {
    match component {
        Component::Rules => {
            let topic = context.settings.topics.full_name(&context.settings.topics.rules);
            let from = rules_end.unwrap_or(0);
            board::follow(&context.board, &context.connection, &topic, from, &context.health, &context.stop)
        }
        Component::Ingest(worker) => ingest::run(context, worker),
        Component::Lag => lag::run(context),
        Component::Evaluate(worker) => evaluate::run(context, worker),
        Component::Store => match &context.settings.postgres.url {
            Some(url) => store::run(context, url),
            None => Ok(()),
        },
    }
}

/// Waits for the first failure or the end; then for all workers, as long as the grace lasts.
fn supervise(context: &Context, ended: &Receiver<Ended>, mut workers: Vec<Worker>) -> Result<(), RunError> {
    let mut failure = None;
    while !workers.is_empty() {
        let look = if context.stop.is_raised() { LAST_LOOK } else { LOOK };
        if let Ok(Ended { component, result }) = ended.recv_timeout(look) {
            note(context, component, result, &mut failure);
        }
        // A worker that is gone without a word panicked.
        let (gone, running): (Vec<_>, Vec<_>) = workers.into_iter().partition(|w| w.handle.is_finished());
        workers = running;
        for Worker { component, handle } in gone {
            while let Ok(Ended { component, result }) = ended.try_recv() {
                note(context, component, result, &mut failure);
            }
            if handle.join().is_err() {
                note(context, component, Err(panicked(component)), &mut failure);
            }
        }
        if !workers.is_empty() && grace_is_over(context) {
            let left: Vec<String> = workers.iter().map(|worker| worker.component.to_string()).collect();
            tracing::warn!(left = left.join(", "), "grace is over, stopping without them; nothing is lost");
            break;
        }
    }
    failure.map_or(Ok(()), |error: RoleError| Err(error.into()))
}

fn note(
    context: &Context,
    component: Component,
    result: Result<(), RoleError>,
    failure: &mut Option<RoleError>,
) {
    match result {
        Ok(()) => context.health.remove(component),
        Err(error) => {
            tracing::error!(%component, %error, "worker failed");
            context.health.set(component, State::Failed(error.to_string()));
            context.stop.raise();
            failure.get_or_insert(error);
        }
    }
}

fn panicked(component: Component) -> RoleError {
    let (role, worker) = match component {
        Component::Rules => ("rules", 0),
        Component::Ingest(worker) => ("ingest", worker),
        Component::Lag => ("lag", 0),
        Component::Evaluate(worker) => ("evaluate", worker),
        Component::Store => ("store", 0),
    };
    RoleError::Panicked { role, worker }
}

/// Raises `stop` on SIGTERM and on Ctrl-C.
pub fn stop_on_signals(stop: Stop) -> Result<(), io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let signalled = runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => Ok("SIGTERM"),
                _ = interrupt.recv() => Ok::<_, io::Error>("SIGINT"),
            }
        });
        match signalled {
            Ok(name) => tracing::info!(signal = name, "stopping"),
            Err(error) => tracing::error!(%error, "signals cannot be received"),
        }
        stop.raise();
    })?;
    Ok(())
}
