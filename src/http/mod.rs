//! What operators and orchestrators ask over HTTP: `/metrics`, `/healthz` and `/readyz` on one address.

mod health;
mod labels;
mod metrics;
mod process;
mod serve;

pub use health::{Component, Health, State};
pub use labels::{AbortCause, Invariant, Role};
pub use metrics::{LagMetrics, Metrics, SourceMetrics, SourceTally, StoreMetrics};
pub use serve::{HttpError, Served, serve};
