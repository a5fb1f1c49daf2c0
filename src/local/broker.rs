//! A broker inside this process: nothing to install, up in a moment, gone with the process.

use super::LocalError;
use crate::kafka::{Connection, KafkaError, MockCluster};

/// For looking and trying out; see [`MockCluster`] for what it does not do.
pub struct MockBroker {
    brokers: String,
    _cluster: MockCluster,
}

impl MockBroker {
    /// With these topics and numbers of partitions; others cannot be created later.
    pub fn start(topics: &[(&str, u32)]) -> Result<MockBroker, LocalError> {
        let failed = |error: KafkaError| LocalError::Failed {
            what: "the broker in this process",
            detail: error.to_string(),
        };
        let cluster = MockCluster::start(topics).map_err(failed)?;
        Ok(MockBroker { brokers: cluster.brokers().map_err(failed)?, _cluster: cluster })
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// For clients of this broker: it answers no fetch before its wait is over, so the wait is short.
    pub fn connection(&self) -> Connection {
        FETCH
            .iter()
            .fold(Connection::to_brokers(&self.brokers), |c, (name, value)| c.with_property(name, value))
    }
}

const FETCH: [(&str, &str); 1] = [("fetch.wait.max.ms", "5")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Admin, EndOf, PlainProducer, TopicPartition, read_whole};
    use std::time::{Duration, Instant};

    const WAIT: Duration = Duration::from_secs(10);

    #[test]
    fn records_come_back_from_a_broker_in_this_process() {
        let broker = MockBroker::start(&[("fruits", 3), ("stones", 1)]).unwrap();
        let connection = broker.connection();
        let described = Admin::open(&connection).unwrap().describe(&["fruits", "none"], WAIT).unwrap();
        assert_eq!((described[0].partitions, described[1].exists), (3, false));
        let producer = PlainProducer::open(&connection, "test").unwrap();
        for n in 0..100_u8 {
            producer.send("fruits", 2, Some(b"pear"), &[n], 1_761_876_000_000).unwrap();
        }
        producer.flush(WAIT).unwrap();
        assert_eq!((producer.failed(), producer.first_failure()), (0, None));
        let mut seen = Vec::new();
        read_whole(&connection, "fruits", 2, WAIT, |_, _, value| seen.extend_from_slice(value.unwrap()))
            .unwrap();
        assert_eq!(seen, Vec::from_iter(0..100));
    }

    #[test]
    fn what_cannot_be_delivered_is_counted() {
        let broker = MockBroker::start(&[("fruits", 1)]).unwrap();
        let connection = broker.connection().with_property("message.timeout.ms", "3000");
        let producer = PlainProducer::open(&connection, "test").unwrap();
        let one = [TopicPartition::new("fruits", 0)];
        producer.send("fruits", 0, None, b"pear", 0).unwrap();
        producer.flush(WAIT).unwrap();
        let ends = Admin::open(&connection).unwrap().offsets(&one, EndOf::LatestCommitted, WAIT).unwrap();
        assert_eq!(ends[0].1, 1, "{:?}", producer.first_failure());
        drop(broker);
        let began = Instant::now();
        producer.send("fruits", 0, None, b"plum", 0).unwrap();
        producer.flush(WAIT).unwrap();
        assert!(began.elapsed() < WAIT);
        assert_eq!(producer.failed(), 1);
        assert!(producer.first_failure().unwrap().starts_with("fruits[0]: "));
    }
}
