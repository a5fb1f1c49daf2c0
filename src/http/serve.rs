//! The HTTP server: a single-threaded runtime on a thread of its own, so that a busy worker never delays an answer.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::health::{Health, Verdict};
use super::metrics::Metrics;

/// How long a shutdown waits for answers under way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot listen on {address}: {source}; set `http.address` to a free address of this machine")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the HTTP thread: {0}")]
    Start(#[source] io::Error),
}

/// A server that runs until its shutdown resolves.
#[derive(Debug)]
pub struct Served {
    /// The address with its port, also when port 0 asked for any.
    pub local_addr: SocketAddr,
    /// Ends within a second or two of the shutdown.
    pub handle: JoinHandle<()>,
}

#[derive(Clone)]
struct Pages {
    metrics: Metrics,
    health: Health,
}

/// Answers `/metrics`, `/healthz` and `/readyz` on `address` until `shutdown` resolves. Returns once it listens.
///
/// # Errors
/// When the address is taken or not of this machine, or the system has no thread left.
pub fn serve(
    address: SocketAddr,
    metrics: Metrics,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, HttpError> {
    let listen = |source| HttpError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let local_addr = listener.local_addr().map_err(listen)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Start)?;
    let listener = {
        let _guard = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(HttpError::Start)?
    };
    let answer = move || runtime.block_on(until(shutdown, listener, router(Pages { metrics, health })));
    let handle = thread::Builder::new().name("http".into()).spawn(answer).map_err(HttpError::Start)?;
    Ok(Served { local_addr, handle })
}

/// Serves, and after `shutdown` gives answers under way [`LAST_ANSWERS`]; a client that holds its connection open
/// cannot keep the process alive.
async fn until(shutdown: impl Future<Output = ()>, listener: tokio::net::TcpListener, router: Router) {
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // An error means that `stop` is gone, which is a reason to stop too.
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    shutdown.await;
    drop(stop);
    if timeout(LAST_ANSWERS, server).await.is_err() {
        tracing::debug!("http connections cut off at shutdown");
    }
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(async || "/metrics\n/healthz\n/readyz\n"))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_alive))
        .route("/readyz", get(show_ready))
        .with_state(pages)
}

async fn show_metrics(State(pages): State<Pages>) -> Response {
    match pages.metrics.text() {
        Ok(page) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn show_alive(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    verdict(&pages.health.alive(), &headers)
}

async fn show_ready(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    verdict(&pages.health.ready(), &headers)
}

fn verdict(verdict: &Verdict, headers: &HeaderMap) -> Response {
    let status = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !accept.contains("application/json") {
        return (status, verdict.to_string()).into_response();
    }
    match serde_json::to_string(verdict) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
