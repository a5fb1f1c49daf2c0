//! Who a member of a consumer group is, and how the group shares out its partitions.

use std::time::Duration;

/// How partitions move between members of the group. All members of a group use the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Everyone gives up everything, then gets its range: a handover takes about 0.1 s. For stateless readers.
    EagerRange,
    /// Only what moves is given up. For readers with state per partition.
    CooperativeSticky,
}

/// Who a [`GroupReader`](super::GroupReader) is and what it reads.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    pub group: String,
    /// `group.instance.id`: static membership. A restart under the same name within `session_timeout` takes its
    /// partitions back and disturbs nobody; leaving is noticed only after `session_timeout`.
    pub instance: Option<String>,
    pub client_id: String,
    pub topics: Vec<String>,
    pub assignor: Assignor,
    /// Past librdkafka's queues: eager groups only, and where the
    /// [connection](super::Connection) is in plain text with nothing set about fetching.
    pub fetches_directly: bool,
    /// How long the broker may hold back records so that a fetch is worth it; zero: not at all.
    pub gather: Duration,
    /// 10 s by default. The broker's `group.min.session.timeout.ms` (6 s) bounds it from below.
    pub session_timeout: Duration,
}
