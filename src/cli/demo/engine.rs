//! A whole replica in this process: all roles, on the mock broker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plimsoll::config::settings::{Secret, Settings};
use plimsoll::config::{Loaded, Overrides, embedded};
use plimsoll::core::rules::Rules;
use plimsoll::generate::Topic;
use plimsoll::http::{Health, Metrics};
use plimsoll::kafka::Connection;
use plimsoll::local::broker::MockBroker;
use plimsoll::local::cache::free_port;
use plimsoll::roles::board::RulesBoard;
use plimsoll::roles::lag::LagBoard;
use plimsoll::roles::run::{Roles, RunError, run};
use plimsoll::roles::{Context, Stop, topics};

use crate::cli::{Failure, surroundings};

/// Of the inputs and of the topics between the stages.
pub const PARTITIONS: u32 = 4;
const START_LIMIT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

pub struct Engine {
    pub context: Context,
    pub rules: Rules,
    pub connection: Connection,
    thread: Option<JoinHandle<Result<(), RunError>>>,
    /// Last, so that the clients are gone before it is.
    _broker: MockBroker,
}

impl Engine {
    /// Starts and waits until every worker has its partitions. Nothing may be sent earlier: the mock broker keeps no
    /// transactional offsets, so a worker that gets a partition later would count its records again.
    pub fn start(database_url: &str, schema: &str, http: Option<SocketAddr>) -> Result<Engine, Failure> {
        let Loaded { settings, rules, .. } =
            embedded(&BTreeMap::new(), &surroundings(), &Overrides::default())?;
        let address = match http {
            Some(address) => address,
            None => SocketAddr::from(([127, 0, 0, 1], free_port().map_err(Failure::unreachable)?)),
        };
        let settings = adjust(settings, database_url, schema, address);
        let broker = broker(&settings, &rules)?;
        let connection = broker.connection();
        let context = Context {
            settings: Arc::new(settings),
            connection: connection.clone(),
            metrics: Metrics::new(),
            health: Health::new(),
            board: RulesBoard::new(0, rules.clone()),
            lags: LagBoard::default(),
            stop: Stop::default(),
        };
        let inner = context.clone();
        let thread = thread::Builder::new()
            .name("engine".into())
            .spawn(move || run(&inner, Roles::ALL, None))
            .map_err(Failure::broken)?;
        let mut engine = Engine { context, rules, connection, thread: Some(thread), _broker: broker };
        engine.wait_until_ready()?;
        Ok(engine)
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.context.health.is_ready() {
            self.check()?;
            if Instant::now() >= deadline {
                return Err(Failure::failed(format!(
                    "the workers were not ready after {} s; see why with RUST_LOG=plimsoll=info",
                    START_LIMIT.as_secs()
                )));
            }
            thread::sleep(STEP);
        }
        Ok(())
    }

    /// Fails when the replica has ended by itself.
    pub fn check(&mut self) -> Result<(), Failure> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
            return Err(Failure::broken("the replica ended by itself"));
        }
        Ok(())
    }

    pub fn stop(mut self) -> Result<(), Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Failure> {
        self.context.stop.raise();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err(Failure::broken("the replica panicked: this is a bug")),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // On the way out of an error, which is told already.
        let _ = self.join();
    }
}

/// Small and quick, so that much is seen in a minute.
fn adjust(settings: Settings, database_url: &str, schema: &str, http: SocketAddr) -> Settings {
    let mut settings = Settings { cluster: "demo".into(), instance: "demo".into(), workers: 1, ..settings };
    settings.kafka.application = "demo".into();
    settings.kafka.static_membership = false;
    settings.topics.internal_partitions = PARTITIONS;
    settings.topics.output_partitions = 1;
    settings.topics.replication_factor = 1;
    settings.postgres.url = Some(Secret::new(database_url));
    settings.postgres.schema = schema.to_owned();
    settings.http.address = http;
    settings.intervals.provisional = Duration::from_secs(2);
    settings.intervals.heartbeat = Duration::from_secs(1);
    settings
}

/// With every topic, inputs too.
fn broker(settings: &Settings, rules: &Rules) -> Result<MockBroker, Failure> {
    let wanted = topics::wanted(settings, rules);
    let own = wanted.iter().map(|wanted| (wanted.spec.name.as_str(), wanted.spec.partitions));
    let inputs = Topic::ALL.map(|topic| (topic.name(), PARTITIONS));
    MockBroker::start(&own.chain(inputs).collect::<Vec<_>>()).map_err(Failure::broken)
}
