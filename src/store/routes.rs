//! Which topic's records go into which tables.

use std::collections::HashMap;

use crate::config::settings::{Limits, TopicSettings};
use crate::core::rules::Rules;
use crate::core::source::{Rollup, Source};

use super::hourly_table::HourlyTable;
use super::versioned_table::{RULE_HOURLY, SLO_HOURLY, SLO_STATUS, VersionedTable};

/// Made anew whenever the rules change.
#[derive(Clone, Debug)]
pub struct Routes {
    by_topic: HashMap<String, Route>,
    pub(super) dead_letter_samples: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Route {
    Hourly(Box<HourlyTable>),
    Versioned(&'static VersionedTable),
    Breaches,
    DeadLetters,
}

impl Routes {
    pub fn new(rules: &Rules, topics: &TopicSettings, limits: &Limits) -> Routes {
        let mut by_topic = HashMap::new();
        by_topic.insert(topics.full_name(&topics.breaches), Route::Breaches);
        by_topic.insert(topics.full_name(&topics.dead_letters), Route::DeadLetters);
        by_topic.insert(topics.full_name(&topics.slo_hourly), Route::Versioned(&SLO_HOURLY));
        by_topic.insert(topics.full_name(&topics.rule_hourly), Route::Versioned(&RULE_HOURLY));
        by_topic.insert(topics.full_name(&topics.slo_status), Route::Versioned(&SLO_STATUS));
        for source in &rules.sources {
            for rollup in &source.rollups {
                let (topic, route) = hourly_route(source, rollup, topics);
                by_topic.insert(topic, route);
            }
        }
        Routes { by_topic, dead_letter_samples: limits.dead_letter_samples }
    }

    /// Every topic that leads somewhere, as it is called on the broker; sorted.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.by_topic.keys().map(String::as_str).collect();
        topics.sort_unstable();
        topics
    }

    pub(super) fn of(&self, topic: &str) -> Option<&Route> {
        self.by_topic.get(topic)
    }
}

fn hourly_route(source: &Source, rollup: &Rollup, topics: &TopicSettings) -> (String, Route) {
    let table = Box::new(HourlyTable::new(source, rollup));
    (topics.full_name(&rollup.topic()), Route::Hourly(table))
}
