//! The topics a deployment needs: what they must be like, which are wrong, and the making of those that lack.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::settings::Settings;
use crate::core::rules::Rules;
use crate::kafka::{Admin, KafkaError, TopicSpec};

const ASK: Duration = Duration::from_secs(15);
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The client fills batches up to so many bytes.
const BATCH_BYTES: usize = 1_000_000;
/// Around the records of a batch.
const ENVELOPE_BYTES: usize = 1_024;

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub spec: TopicSpec,
    /// Keys are spread by it, so another count would break the state.
    pub exact_partitions: bool,
}

/// One thing that is wrong, and the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    pub problem: String,
    pub mend: String,
}

/// Plimsoll's own topics.
pub fn wanted(settings: &Settings, rules: &Rules) -> Vec<Wanted> {
    let topics = &settings.topics;
    let topic = |name: &str, partitions: u32, exact: bool, config: &[(&str, String)]| Wanted {
        spec: TopicSpec {
            name: topics.full_name(name),
            partitions,
            replication_factor: topics.replication_factor,
            config: config.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        },
        exact_partitions: exact,
    };
    let keep = |ms: u64| [("cleanup.policy", "delete".to_owned()), ("retention.ms", ms.to_string())];
    let compact = [("cleanup.policy", "compact".to_owned())];
    let (inner, outer) = (topics.internal_partitions, topics.output_partitions);
    let mut wanted = vec![
        topic(&topics.rules, 1, true, &compact),
        topic(&topics.partials, inner, true, &keep(24 * HOUR_MS)),
        topic(&topics.changelog, inner, true, &compact),
        topic(&topics.dead_letters, outer, false, &keep(14 * DAY_MS)),
        topic(&topics.breaches, outer, false, &keep(90 * DAY_MS)),
        topic(&topics.breach_state, outer, false, &compact),
        topic(&topics.slo_hourly, outer, false, &compacted_for(400 * DAY_MS)),
        topic(&topics.rule_hourly, outer, false, &compacted_for(400 * DAY_MS)),
        topic(&topics.slo_status, outer, false, &compact),
    ];
    for rollup in rules.sources.iter().flat_map(|source| &source.rollups) {
        wanted.push(topic(&rollup.topic(), outer, false, &compacted_for(400 * DAY_MS)));
    }
    wanted
}

fn compacted_for(ms: u64) -> [(&'static str, String); 2] {
    [("cleanup.policy", "compact,delete".to_owned()), ("retention.ms", ms.to_string())]
}

/// Creates what lacks; gives the names created.
pub fn create(admin: &Admin, wanted: &[Wanted]) -> Result<Vec<String>, KafkaError> {
    let specs: Vec<TopicSpec> = wanted.iter().map(|wanted| wanted.spec.clone()).collect();
    admin.create(&specs, ASK)
}

/// What is wrong with the inputs and with Plimsoll's own topics.
pub fn check(admin: &Admin, settings: &Settings, rules: &Rules) -> Result<Vec<Finding>, KafkaError> {
    let mut findings = inputs(admin, rules)?;
    let wanted = wanted(settings, rules);
    let partials = settings.topics.full_name(&settings.topics.partials);
    let names: Vec<&str> = wanted.iter().map(|wanted| wanted.spec.name.as_str()).collect();
    let infos = admin.describe(&names, ASK)?;
    let existing: Vec<&str> =
        infos.iter().filter(|info| info.exists).map(|info| info.name.as_str()).collect();
    let configs: BTreeMap<&str, BTreeMap<String, String>> =
        existing.iter().copied().zip(admin.config(&existing, ASK)?).collect();
    for (wanted, info) in wanted.iter().zip(&infos) {
        let name = &wanted.spec.name;
        if !info.exists {
            findings.push(Finding {
                topic: name.clone(),
                problem: "does not exist".into(),
                mend: "plimsoll topics create".into(),
            });
            continue;
        }
        if wanted.exact_partitions && info.partitions != wanted.spec.partitions {
            findings.push(Finding {
                topic: name.clone(),
                problem: format!(
                    "has {} partitions, the settings say {}",
                    info.partitions, wanted.spec.partitions
                ),
                mend: format!(
                    "set topics.internal_partitions to {} again; for another number, {}",
                    info.partitions,
                    super::START_OVER
                ),
            });
        }
        if let Some(config) = configs.get(name.as_str()) {
            findings.extend(cleanup(wanted, config));
            findings.extend(retention(wanted, config).filter(|_| *name == partials));
            let largest = if *name == partials { settings.limits.partial_bytes } else { 0 };
            findings.extend(size(wanted, config, largest));
        }
    }
    Ok(findings)
}

fn inputs(admin: &Admin, rules: &Rules) -> Result<Vec<Finding>, KafkaError> {
    let sources: Vec<_> = rules.sources.iter().filter(|source| !source.optional).collect();
    let names: Vec<&str> = sources.iter().map(|source| source.topic.as_str()).collect();
    let infos = admin.describe(&names, ASK)?;
    let missing = sources.iter().zip(infos).filter(|(_, info)| !info.exists);
    Ok(missing
        .map(|(source, info)| Finding {
            topic: info.name.clone(),
            problem: format!("does not exist, and source {} reads it", source.name),
            mend: format!(
                "plimsoll topics create --inputs 12 (or let its producer create it; `optional: true` in source {} \
                 makes its absence no error)",
                source.name
            ),
        })
        .collect())
}

/// Compaction where records must stay, deletion where the latest must stay: either loses data.
fn cleanup(wanted: &Wanted, config: &BTreeMap<String, String>) -> Option<Finding> {
    let policy = |text: &str| {
        let mut words: Vec<&str> = text.split(',').map(str::trim).collect();
        words.sort_unstable();
        words.join(",")
    };
    let want = wanted.spec.config.get("cleanup.policy")?;
    let found = config.get("cleanup.policy")?;
    (policy(want) != policy(found)).then(|| Finding {
        topic: wanted.spec.name.clone(),
        problem: format!("has cleanup.policy={found}, needs {want}"),
        mend: alter(&wanted.spec.name, &format!("cleanup.policy=[{want}]")),
    })
}

/// Partials must outlast the longest time that no evaluate worker runs; how long others keep theirs is their choice.
fn retention(wanted: &Wanted, config: &BTreeMap<String, String>) -> Option<Finding> {
    let ms = |config: &BTreeMap<String, String>| config.get("retention.ms")?.parse::<i64>().ok();
    let (want, found) = (ms(&wanted.spec.config)?, ms(config)?);
    // -1 keeps for ever.
    (0..want).contains(&found).then(|| Finding {
        topic: wanted.spec.name.clone(),
        problem: format!("has retention.ms={found}, needs {want} or more"),
        mend: alter(&wanted.spec.name, &format!("retention.ms={want}")),
    })
}

/// A batch that the topic does not take would be refused for ever. `largest`: of its records, in bytes.
fn size(wanted: &Wanted, config: &BTreeMap<String, String>, largest: usize) -> Option<Finding> {
    let want = BATCH_BYTES.max(largest + ENVELOPE_BYTES);
    let found: usize = config.get("max.message.bytes")?.parse().ok()?;
    (found < want).then(|| Finding {
        topic: wanted.spec.name.clone(),
        problem: format!("has max.message.bytes={found}, needs {want} or more"),
        mend: alter(&wanted.spec.name, &format!("max.message.bytes={want}")),
    })
}

fn alter(topic: &str, config: &str) -> String {
    format!("kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {config}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, default_settings};
    use crate::core::alert::Severities;

    #[test]
    fn what_others_read_is_kept_as_long_as_promised() {
        let surroundings = Surroundings { host_name: "host".into(), cores: 1 };
        let mut settings = default_settings(&surroundings);
        settings.topics.prefix = "staging.".into();
        let rules = Rules {
            sources: vec![],
            alerts: vec![],
            severities: Severities { levels: vec![] },
            services: vec![],
            maintenance: vec![],
        };
        let wanted = wanted(&settings, &rules);
        let hourly = Some("34560000000");
        let kept = [
            ("staging.slo-breaches", "delete", Some("7776000000")),
            ("staging.slo-breach-state", "compact", None),
            ("staging.slo-hourly", "compact,delete", hourly),
            ("staging.rule-hourly", "compact,delete", hourly),
            ("staging.slo-status", "compact", None),
        ];
        for (name, policy, retention_ms) in kept {
            let topic = wanted.iter().find(|wanted| wanted.spec.name == name).unwrap();
            let config = |key: &str| topic.spec.config.get(key).map(String::as_str);
            assert_eq!((config("cleanup.policy"), config("retention.ms")), (Some(policy), retention_ms));
            assert_eq!(topic.spec.partitions, settings.topics.output_partitions);
        }
    }
}
