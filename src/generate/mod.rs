//! A workload that looks like the platform's: prices, predictions and requests with all the blemishes of real feeds.
//!
//! [`Workload`] is a seeded iterator: the same options give the same bytes. It reads no clock and does no I/O;
//! [`file`] writes its records to a file and reads them back. The number of partitions changes where a record
//! stands, never its bytes, so runs over different partition counts can be compared.

mod arrivals;
mod bad;
mod catalog;
mod dice;
pub mod file;
mod json;
mod moment;
mod options;
mod predictions;
mod prices;
mod requests;
mod workload;

pub use bad::Bad;
pub use options::{Incident, OptionsError, PerTopic, Topic, Volume, WorkloadOptions};
pub use workload::{Generated, Kind, Workload};

/// Services that requests go to, each once.
pub fn services() -> Vec<&'static str> {
    let mut services: Vec<&str> = catalog::ROUTES.iter().map(|route| route.service).collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// Models that predict.
pub fn models() -> Vec<&'static str> {
    catalog::MODELS.iter().map(|model| model.name).collect()
}
