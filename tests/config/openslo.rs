//! Documents in the forms the OpenSLO v1 specification shows: what Plimsoll can count parses, the rest says why.

use plimsoll::config::{Diagnostics, parse_rules};
use plimsoll::core::objective::{CalendarUnit, Method, Period};
use plimsoll::core::rules::Rules;

use super::{document, messages, source_text};

fn parse(text: &str) -> Result<Rules, Diagnostics> {
    let service =
        "apiVersion: openslo/v1\nkind: Service\nmetadata:\n  name: web-shop\nspec:\n  description: A shop.\n";
    let source = source_text("", "      []");
    parse_rules(&[
        document("orders.yaml", &source),
        document("shop.yaml", service),
        document("spec.yaml", text),
    ])
}

#[test]
fn metadata_may_hold_all_that_openslo_allows() {
    let rules = parse(
        "apiVersion: openslo/v1
kind: Service
metadata:
  name: search
  displayName: Searching
  labels:
    organization: acme
    team:
      - identity
      - rbac
  annotations:
    openslo.com/service-folder: ./my/directory
    fooimplementation.com/key2: value2
spec:
  description: Everything that searches.
",
    );
    let rules = rules.unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(rules.services[0].labels["team"], "identity,rbac");
}

/// The three methods of the specification's examples, over a source of ours.
#[test]
fn every_method_and_window_parses() {
    let text = "apiVersion: openslo/v1
kind: SLO
metadata:
  name: search-slo
  displayName: Searching time
spec:
  description: However many search at once, it never takes longer than this.
  service: web-shop
  indicator:
    metadata:
      name: search-latency
      displayName: Latency of searches
    spec:
      thresholdMetric:
        metricSource:
          type: KafkaStream
          metricSourceRef: orders
          spec:
            of: price
  timeWindow:
    - duration: 2w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: Good experience
      op: lt
      value: 500
      target: 0.99
  alertPolicies:
";
    let objective = |text: &str| {
        let rules = parse(text).unwrap_or_else(|wrong| panic!("{wrong}"));
        rules.alerts[0].objective.clone().unwrap()
    };
    assert_eq!(objective(text).period, Period::Rolling { length_s: 14 * 86_400 });
    assert_eq!(objective(text).name, "Good experience");
    let sliced = text.replace("budgetingMethod: Occurrences", "budgetingMethod: RatioTimeslices");
    let sliced = sliced.replace("target: 0.99", "timeSliceWindow: 1m\n      target: 0.99");
    assert!(matches!(objective(&sliced).method, Method::RatioTimeslices { slice_s: 60, .. }));
    let judged = sliced.replace("RatioTimeslices", "Timeslices");
    let judged = judged.replace("target: 0.99", "timeSliceTarget: 0.95\n      target: 0.9995");
    let calendar = "duration: 1w
      isRolling: false
      calendar:
        startTime: 2022-01-01 12:00:00
        timeZone: America/New_York";
    let judged = judged.replace("duration: 2w\n      isRolling: true", calendar);
    assert!(matches!(objective(&judged).method, Method::Timeslices { target_billionths: 950_000_000, .. }));
    let Period::Calendar { start_us, unit, count, .. } = objective(&judged).period else { panic!() };
    assert_eq!((start_us, unit, count), (1_641_056_400_000_000, CalendarUnit::Week, 1));
    // OpenSLO's tools read a list of documents too.
    let listed: String = text.lines().map(|line| format!("  {line}\n")).collect();
    assert_eq!(objective(&listed.replacen("  apiVersion", "- apiVersion", 1)), objective(text));
}

#[test]
fn what_cannot_be_counted_says_why() {
    let slo = "apiVersion: openslo/v1
kind: SLO
metadata: {name: foo-slo, displayName: Foo SLO}
spec:
  service: foo
  indicator:
    metadata: {name: foo-error}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {metricSourceRef: foo-datadog, type: Datadog, spec: {query: \"sum:hits{code:200}\"}}}
        total: {metricSource: {metricSourceRef: foo-datadog, type: Datadog, spec: {query: \"sum:hits{*}\"}}}
  objectives: [{displayName: Foo Total Errors, target: 0.98}]
";
    let counter =
        "`counter`: events are counted one by one; there is no growing counter to take differences of";
    let no_alerts = "is not supported: its one condition cannot hold a long and a short window";
    let policy = "apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: cpu, displayName: CPU}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: cpu-usage-breach}]
  notificationTargets: [{targetRef: on-call-devops-mail-notification}]
";
    let condition = "apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: cpu-usage-breach}
spec:
  severity: page
  condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
";
    let target = "apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: on-call-devops-mail-notification}
spec: {target: email}
";
    let raw = "apiVersion: openslo/v1
kind: SLI
metadata: {name: satisfaction}
spec:
  ratioMetric:
    rawType: success
    raw: {metricSource: {metricSourceRef: prometheus, type: Prometheus, spec: {query: up}}}
";
    let composite = "apiVersion: openslo/v1
kind: SLO
metadata: {name: journey}
spec:
  service: web-shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1d, isRolling: true}]
  objectives: [{displayName: search, target: 0.9, indicatorRef: search, compositeWeight: 2}]
";
    let foreign = "apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec: {type: CloudWatch, connectionDetails: {accessKeyID: a}}
";
    let table: [(&str, &[&str]); 7] = [
        (
            slo,
            &[
                "`budgetingMethod` is missing",
                "`service`: no Service is called `foo`",
                "`timeWindow` is missing",
                counter,
                "`type`: `Datadog` is not supported",
                "`type`: `Datadog` is not supported",
            ],
        ),
        (policy, &[&format!("`kind`: AlertPolicy {no_alerts}")]),
        (condition, &[&format!("`kind`: AlertCondition {no_alerts}")]),
        (target, &["`kind`: AlertNotificationTarget is not supported: Plimsoll notifies nobody itself"]),
        (
            raw,
            &[
                "`rawType`: a ratio that was computed elsewhere cannot be counted exactly",
                "`raw`: a ratio that was computed elsewhere cannot be counted exactly",
            ],
        ),
        (
            composite,
            &[
                "`compositeWeight`: SLOs composed of several indicators are not supported",
                "`indicatorRef`: SLOs composed of several indicators are not supported",
            ],
        ),
        (
            foreign,
            &[
                "`accessKeyID` is not a key here",
                "`event_time` is missing",
                "`fields` is missing",
                "`format` is missing",
                "`topic` is missing",
                "`type`: `CloudWatch` is not supported",
            ],
        ),
    ];
    for (text, expected) in table {
        let wrong = parse(text).expect_err(text);
        assert_eq!(messages(&wrong), expected, "{text}");
        assert!(wrong.list.iter().all(|d| d.line > 0 && !d.help.is_empty()), "{wrong}");
    }
}
