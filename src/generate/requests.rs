//! `request-log`: Zipf routes and users, mostly 200, log-normal durations.

use rand_distr::Zipf;

use super::bad::Fault;
use super::catalog::{REGIONS, ROUTES, Route};
use super::dice::{Dice, Weighted};
use super::json::{self, Object};
use super::moment::Moment;
use super::options::Incident;

const STATUSES: &[(i64, f64)] = &[
    (200, 0.93),
    (201, 0.02),
    (204, 0.01),
    (304, 0.015),
    (400, 0.006),
    (401, 0.005),
    (404, 0.01),
    (429, 0.002),
    (499, 0.000_3),
    (408, 0.000_2),
    (500, 0.000_4),
    (502, 0.000_2),
    (503, 0.000_2),
    (504, 0.000_1),
    (0, 0.000_1),
];
/// What requests answer in an error spike.
const FAILURES: &[i64] = &[503, 500, 502, 504, 503, 500, 503, 408, 499, 0];
const ANONYMOUS_SHARE: f64 = 0.1;
const NO_REGION_SHARE: f64 = 0.06;
/// Share of numbers written `200.0`.
const POINTED_SHARE: f64 = 0.01;
const DURATION_MAX_US: f64 = 60_000_000.0;

pub struct Requests {
    routes: Weighted,
    regions: Weighted,
    statuses: Weighted,
    users: Zipf<f64>,
}

impl Requests {
    /// `users` is at least 1.
    #[expect(clippy::expect_used, reason = "options are checked: at least one user, and the exponent is 1")]
    pub fn new(users: u64) -> Requests {
        Requests {
            routes: Weighted::zipf(ROUTES.len(), 1.0),
            regions: Weighted::zipf(REGIONS.len(), 0.7),
            statuses: Weighted::new(STATUSES.iter().map(|(_, weight)| *weight)),
            users: Zipf::new(users as f64, 1.0).expect("at least one user, and an exponent of 1"),
        }
    }

    /// Writes one request; its user, if it has one, becomes the record's key.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        dice: &mut Dice,
        moment: &Moment,
        fault: Option<Fault>,
        incidents: &[Incident],
    ) -> Option<Vec<u8>> {
        let route = &ROUTES[self.routes.pick(dice)];
        let method = match dice.chance(0.8) {
            true => route.methods[0],
            false => dice.pick(route.methods),
        };
        let status = self.status(dice, route, moment.event_us, incidents);
        let duration_us = (dice.log_normal(route.median_ms, route.sigma) * 1e3).clamp(1.0, DURATION_MAX_US);
        let user = self.user(dice);
        let spaced = dice.chance(0.03);
        let mut object = Object::begin(out, fault, spaced);
        object.field("ts", |out| moment.write(out));
        object.text("service", route.service);
        object.field("route", |out| write_route(out, route.path, dice.chance(0.01)));
        match dice.chance(0.02) {
            true => object.text("method", &method.to_ascii_lowercase()),
            false => object.text("method", method),
        }
        match dice.chance(NO_REGION_SHARE) {
            false => object.text("region", REGIONS[self.regions.pick(dice)]),
            true if dice.chance(0.3) => object.raw("region", "null"),
            true => {}
        }
        object.integer("status", status, dice.chance(POINTED_SHARE));
        object.decimal("duration_ms", duration_us as i64, 3);
        if dice.chance(0.85) {
            let bytes = dice.log_normal(4_000.0, 1.2).min(1e9) as i64;
            object.integer("bytes", bytes, dice.chance(POINTED_SHARE));
        }
        if let Some(user) = &user {
            object.field("user_id", |out| {
                out.push(b'"');
                out.extend_from_slice(user);
                out.push(b'"');
            });
        }
        if dice.chance(0.95) {
            object.trace_id("trace_id", [dice.bits(), dice.bits()]);
        }
        if dice.chance(0.05) {
            object.text("host", "edge-7");
        }
        object.end();
        user
    }

    fn user(&self, dice: &mut Dice) -> Option<Vec<u8>> {
        let anonymous = dice.chance(ANONYMOUS_SHARE);
        let rank = dice.zipf(&self.users);
        if anonymous {
            return None;
        }
        let mut user = Vec::with_capacity(12);
        user.push(b'u');
        json::whole(&mut user, rank, 6);
        Some(user)
    }

    fn status(&self, dice: &mut Dice, route: &Route, event_us: i64, incidents: &[Incident]) -> i64 {
        let usual = STATUSES[self.statuses.pick(dice)].0;
        let (fails, failure) = (dice.unit(), dice.pick(FAILURES));
        let hit = incidents.iter().any(|incident| match incident {
            Incident::ErrorSpike { from_us, to_us, share, service } => {
                (*from_us..*to_us).contains(&event_us)
                    && service.as_deref().is_none_or(|service| service == route.service)
                    && fails < *share
            }
            Incident::SlowModel { .. } | Incident::SilentFeed { .. } => false,
        });
        if hit { failure } else { usual }
    }
}

/// The path as a JSON string; some producers escape its slashes.
fn write_route(out: &mut Vec<u8>, path: &str, escaped: bool) {
    out.push(b'"');
    for byte in path.bytes() {
        if byte == b'/' && escaped {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
