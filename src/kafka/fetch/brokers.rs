//! The brokers that lead something, and a connection to each.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchRequest};
use mio::{Events, Poll, Token};

use super::REST;
use super::link::Link;
use super::partition::Asked;

const EVENTS: usize = 64;

pub(super) struct Brokers {
    poll: Poll,
    events: Events,
    client_id: String,
    known: BTreeMap<i32, Broker>,
}

#[derive(Default)]
struct Broker {
    address: (String, u16),
    link: Option<Link>,
    /// What the request under way asked for.
    asked: Vec<Asked>,
    attempts: usize,
    rests_until: Option<Instant>,
}

/// What became of a request.
pub(super) enum Outcome {
    Answer {
        asked: Vec<Asked>,
        answer: Bytes,
        version: i16,
    },
    /// The connection is gone.
    Failed(io::Error),
}

impl Brokers {
    pub fn new(client_id: &str) -> io::Result<Brokers> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(EVENTS));
        Ok(Brokers { poll, events, client_id: client_id.to_owned(), known: BTreeMap::new() })
    }

    /// Where a broker is. It may have moved.
    pub fn learn(&mut self, id: i32, address: (String, u16)) {
        let broker = self.known.entry(id).or_default();
        if broker.address != address {
            *broker = Broker { address, ..Broker::default() };
        }
    }

    pub fn address(&self, id: i32) -> String {
        self.known
            .get(&id)
            .map_or_else(String::new, |broker| format!("{}:{}", broker.address.0, broker.address.1))
    }

    /// The version of Fetch a broker can be asked in now. None: it is busy or not connected yet; it is being connected
    /// to, unless that failed a moment ago.
    pub fn free(&mut self, id: i32, now: Instant) -> Result<Option<i16>, io::Error> {
        let Some(broker) = self.known.get_mut(&id) else { return Ok(None) };
        if broker.link.is_none() && broker.rests_until.is_none_or(|until| until <= now) {
            let token = Token(usize::try_from(id).unwrap_or(usize::MAX));
            let opened =
                Link::open(&broker.address, broker.attempts, &self.client_id, self.poll.registry(), token);
            broker.attempts = broker.attempts.wrapping_add(1);
            match opened {
                Ok(link) => broker.link = Some(link),
                Err(error) => {
                    broker.rests_until = Some(now + REST);
                    return Err(error);
                }
            }
        }
        Ok(broker.link.as_ref().and_then(Link::is_free))
    }

    pub fn ask(
        &mut self,
        id: i32,
        request: &FetchRequest,
        version: i16,
        asked: Vec<Asked>,
    ) -> io::Result<()> {
        let Some(broker) = self.known.get_mut(&id) else { return Ok(()) };
        let Some(link) = &mut broker.link else { return Ok(()) };
        broker.asked = asked;
        link.ask(ApiKey::Fetch, request, version).inspect_err(|_| broker.fail())
    }

    /// Waits until something happened, at most for `timeout`, and says what, of each broker.
    pub fn wait(&mut self, timeout: Duration, held_back: Duration) -> io::Result<Vec<(i32, Outcome)>> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            polled => polled?,
        }
        let mut outcomes = Vec::new();
        for event in &self.events {
            let Ok(id) = i32::try_from(event.token().0) else { continue };
            let Some(broker) = self.known.get_mut(&id) else { continue };
            let Some(link) = &mut broker.link else { continue };
            match link.advance() {
                Ok(None) => {}
                Ok(Some((answer, version))) => {
                    let asked = std::mem::take(&mut broker.asked);
                    outcomes.push((id, Outcome::Answer { asked, answer, version }));
                }
                Err(error) => {
                    broker.fail();
                    outcomes.push((id, Outcome::Failed(error)));
                }
            }
        }
        let now = Instant::now();
        for (id, broker) in &mut self.known {
            if broker.link.as_ref().is_some_and(|link| link.is_silent(held_back, now)) {
                broker.fail();
                outcomes.push((*id, Outcome::Failed(io::ErrorKind::TimedOut.into())));
            }
        }
        Ok(outcomes)
    }
}

impl Broker {
    fn fail(&mut self) {
        self.link = None;
        self.asked.clear();
        self.rests_until = Some(Instant::now() + REST);
    }
}
