//! The rules of every run: one source, one table, a ratio and a count.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use plimsoll::config::settings::Settings;
use plimsoll::config::{Document, Overrides, Surroundings, embedded, embedded_files, parse_rules};
use plimsoll::core::plan::Plan;
use plimsoll::core::shard::ShardOptions;

/// Partitions of the partials.
pub const SHARDS: i32 = 2;
pub const OUT_OF_ORDER_US: i64 = 2_000_000;
pub const LATENESS_US: i64 = 600_000_000;
pub const WINDOW_S: i64 = 10;
pub const HOLD_S: i64 = 5;
pub const NO_DATA_AFTER_S: i64 = 60;
/// The ratio: above 40 % of at least two.
pub const ABOVE_BILLIONTHS: i128 = 400_000_000;
pub const MIN_EVENTS: usize = 2;
/// The count: more than two.
pub const ABOVE_COUNT: i128 = 2;
pub const SERVICES: [&str; 3] = ["auth", "prices", "web"];

pub const OPTIONS: ShardOptions =
    ShardOptions { provisional_every_s: 20, heartbeat_every_s: 10, rows_per_record: 2 };

const SOURCE: &str = "
apiVersion: openslo/v1
kind: DataSource
metadata: {name: requests}
spec:
  type: KafkaStream
  description: Requests.
  connectionDetails:
    topic: requests
    format: json
    event_time: {field: ts, out_of_order: 2s, lateness: 10m, idle_after: 3s, max_ahead: 60s}
    fields:
      ts:      {type: timestamp}
      service: {type: string}
      status:  {type: integer}
      bytes:   {type: integer, unit: B}
    rollups:
      - table: requests_hourly
        by: [service]
        limit: 10
        columns:
          error_count: {count: \"status >= 500\"}
          bytes_sum:   {sum: bytes}
";

const ALERTS: &str = "
apiVersion: plimsoll.dev/v1
kind: AlertRules
metadata: {name: simulated}
spec:
  defaults: {source: requests, window: 10s, hold: 5s, no_data_after: 60s}
  rules:
    - name: ratio
      kind: RATIO
      bad: \"status >= 500\"
      min_events: 2
      group_by: [service]
      group_limit: 10
      critical: {above: 40%}
    - name: count
      kind: COUNT
      where: \"status >= 500\"
      group_by: [service]
      group_limit: 10
      critical: {above: 2}
";

pub static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let mut documents = embedded_files().rules;
    documents.retain(|document| document.path == "alerts/severities.yaml");
    let more = [("sources/requests.yaml", SOURCE), ("alerts/simulated.yaml", ALERTS)];
    documents.extend(more.map(|(path, text)| Document { path: path.into(), text: text.into() }));
    let rules = parse_rules(&documents).unwrap_or_else(|wrong| panic!("{wrong}"));
    Arc::new(Plan::compile(0, Arc::new(rules)).expect("rules that compile"))
});

pub static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let surroundings = Surroundings { host_name: "simulated".into(), cores: 1 };
    let embedded = embedded(&BTreeMap::new(), &surroundings, &Overrides::default());
    let mut settings = embedded.expect("what ships is right").settings;
    settings.topics.breaches = "breaches".into();
    settings.topics.breach_state = "breach-state".into();
    settings
});
