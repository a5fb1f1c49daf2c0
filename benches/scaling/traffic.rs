//! Requests over as many routes as asked for, always the same ones.

use plimsoll::core::event::Event;
use plimsoll::core::source::{Slot, Source};
use plimsoll::core::time::rfc3339;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Zipf};

/// Friday, 2025-10-31T00:00:00Z, the start of an hour.
pub const START_US: i64 = 1_761_868_800_000_000;
const SECOND_US: u64 = 1_000_000;
const USERS: u64 = 50_000;
/// Coprime to every number of series here: the routes with the most requests do not lie side by side.
const STRIDE: u64 = 7_919;

/// How requests are spread over routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    Uniform,
    /// The route of rank r has a share in proportion to 1 / r.
    Zipf,
}

impl Spread {
    pub const ALL: [Spread; 2] = [Spread::Uniform, Spread::Zipf];

    pub fn name(self) -> &'static str {
        match self {
            Spread::Uniform => "uniform",
            Spread::Zipf => "Zipf",
        }
    }

    pub fn of(name: &str) -> Spread {
        *Spread::ALL.iter().find(|spread| spread.name() == name).unwrap()
    }
}

pub struct Traffic {
    rng: ChaCha8Rng,
    spread: Spread,
    ranks: Zipf<f64>,
    user_ranks: Zipf<f64>,
    durations_us: LogNormal<f64>,
    sizes: LogNormal<f64>,
    routes: Vec<String>,
    users: Vec<String>,
    per_hour: u64,
    drawn: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub at_us: i64,
    route: usize,
    user: usize,
    status: i64,
    duration_us: i64,
    bytes: i64,
}

impl Traffic {
    pub fn new(series: u64, spread: Spread, per_hour: u64) -> Traffic {
        Traffic {
            rng: ChaCha8Rng::seed_from_u64(1),
            spread,
            ranks: Zipf::new(series as f64, 1.0).unwrap(),
            user_ranks: Zipf::new(USERS as f64, 1.0).unwrap(),
            durations_us: LogNormal::new(40_000f64.ln(), 0.8).unwrap(),
            sizes: LogNormal::new(4_000f64.ln(), 1.2).unwrap(),
            routes: (0..series).map(|n| format!("/api/v1/route/{n:06}")).collect(),
            users: (0..USERS).map(|n| format!("u{n:06}")).collect(),
            per_hour,
            drawn: 0,
        }
    }

    pub fn next(&mut self) -> Request {
        self.next_of(1).0
    }

    /// The next request whose route is one of every so many, and how many others came before it.
    pub fn next_of(&mut self, every: u64) -> (Request, u64) {
        let (rng, series) = (&mut self.rng, self.routes.len() as u64);
        let mut skipped = 0;
        let route = loop {
            let route = match self.spread {
                Spread::Uniform => rng.next_u64() % series,
                Spread::Zipf => (self.ranks.sample(rng) as u64 - 1) * STRIDE % series,
            };
            if route % every == 0 {
                break route;
            }
            skipped += 1;
        };
        let status = match rng.next_u64() % 200 {
            0 => 500,
            1..=6 => 404,
            _ => 200,
        };
        self.drawn += skipped;
        let request = Request {
            at_us: START_US + (self.drawn * 3_600 * SECOND_US / self.per_hour) as i64,
            route: route as usize,
            user: self.user_ranks.sample(rng) as usize - 1,
            status,
            duration_us: self.durations_us.sample(rng) as i64,
            bytes: self.sizes.sample(rng) as i64,
        };
        self.drawn += 1;
        (request, skipped)
    }

    /// A record as producers write it.
    pub fn json(&self, request: &Request) -> Vec<u8> {
        let Request { at_us, status, bytes, .. } = request;
        let (ts, route, user) = (rfc3339(*at_us), &self.routes[request.route], &self.users[request.user]);
        let (whole_ms, part_us) = (request.duration_us / 1_000, request.duration_us % 1_000);
        let trace_id = format!("{:032x}", (*at_us as u128) << 64 | request.route as u128);
        let text = format!(
            r#"{{"ts":"{ts}","service":"gateway","route":"{route}","method":"GET","region":"eu-west","status":{status},"duration_ms":{whole_ms}.{part_us:03},"bytes":{bytes},"user_id":"{user}","trace_id":"{trace_id}"}}"#
        );
        text.into_bytes()
    }

    /// The same as it is decoded, for runs too long to read JSON.
    pub fn event(&self, request: &Request, slots: &Slots, event: &mut Event) {
        event.clear(slots.count);
        event.set_number(slots.ts, request.at_us);
        event.set_text(slots.service, "gateway");
        event.set_text(slots.route, &self.routes[request.route]);
        event.set_text(slots.method, "GET");
        event.set_number(slots.status, request.status);
        event.set_number(slots.duration, request.duration_us);
        event.set_number(slots.bytes, request.bytes);
        event.set_text(slots.user_id, &self.users[request.user]);
    }
}

/// Where the fields of a request stand in an event.
pub struct Slots {
    ts: Slot,
    service: Slot,
    route: Slot,
    method: Slot,
    status: Slot,
    duration: Slot,
    bytes: Slot,
    user_id: Slot,
    count: usize,
}

impl Slots {
    pub fn of(source: &Source) -> Slots {
        let slot = |name| source.slot(name).unwrap();
        Slots {
            ts: slot("ts"),
            service: slot("service"),
            route: slot("route"),
            method: slot("method"),
            status: slot("status"),
            duration: slot("duration"),
            bytes: slot("bytes"),
            user_id: slot("user_id"),
            count: source.fields.len(),
        }
    }
}
