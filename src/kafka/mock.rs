//! librdkafka's mock cluster: a broker inside this process, for the demo.
//!
//! It proves nothing about exactly-once: transactional offsets are not kept, aborted records are seen, and nobody is
//! fenced. So a worker that starts again there begins anew.

use rdkafka::client::Client;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;

use super::connection::LogContext;
use super::error::failed;
use super::{Connection, KafkaError};

/// Lives as long as this value does. Each partition keeps its newest 5 MiB or 100,000 records.
pub struct MockCluster {
    /// The cluster belongs to the client it was configured on, and ends with it.
    owner: BaseProducer<LogContext>,
}

impl MockCluster {
    /// One broker on a free port of 127.0.0.1, with these topics and numbers of partitions.
    pub fn start(topics: &[(&str, u32)]) -> Result<MockCluster, KafkaError> {
        let fixed = [("test.mock.num.brokers", "1"), ("client.id", "plimsoll-mock")];
        let owner: BaseProducer<LogContext> =
            Connection::to_brokers("").client(&[], &fixed, LogContext::default())?;
        join_at_once(owner.client());
        let cluster = MockCluster { owner };
        for (name, partitions) in topics {
            let partitions = i32::try_from(*partitions).unwrap_or(i32::MAX);
            cluster.handle()?.create_topic(name, partitions, 1).map_err(failed("creating a mock topic"))?;
        }
        Ok(cluster)
    }

    /// `host:port`.
    pub fn brokers(&self) -> Result<String, KafkaError> {
        Ok(self.handle()?.bootstrap_servers())
    }

    fn handle(&self) -> Result<rdkafka::mocking::MockCluster<'_, LogContext>, KafkaError> {
        self.owner.client().mock_cluster().ok_or_else(|| KafkaError::Failed {
            action: "starting the mock cluster".to_owned(),
            reason: "the client has none".to_owned(),
        })
    }
}

/// Groups start with their first member instead of waiting 3 s for others.
fn join_at_once(client: &Client<LogContext>) {
    // SAFETY: the client is alive during both calls. The cluster is null or owned by the client, which ends it only
    // when it is destroyed itself; the setter locks it.
    unsafe {
        let cluster = sys::rd_kafka_handle_mock_cluster(client.native_ptr());
        if !cluster.is_null() {
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
    }
}
