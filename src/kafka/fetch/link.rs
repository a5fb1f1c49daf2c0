//! One connection to a broker: requests out, answers in, one under way at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::low_water::wake_from;

/// A broker that is silent for so long is not waited for any more.
const SILENCE: Duration = Duration::from_secs(30);
/// librdkafka's limit too, for what a broker may send in one answer.
const ANSWER_LIMIT_BYTES: usize = 100_000_000;
const LENGTH_BYTES: usize = 4;
/// So much of an answer is read at once at least, or its end: the rest comes meanwhile.
const STRIDE_BYTES: usize = 256 << 10;
/// The versions of Fetch that are spoken: from the first that tells of aborted transactions, to the last that names
/// topics by name.
const FETCH_VERSIONS: (i16, i16) = (4, 12);

pub(super) struct Link {
    stream: TcpStream,
    client_id: StrBytes,
    /// Requests not written yet.
    out: BytesMut,
    /// The answer read so far, behind its length: the first `read` bytes. The next one comes in the same memory once all
    /// of the last is handed out, for what is new would be faulted in and made zero first.
    answer: Arc<Vec<u8>>,
    read: usize,
    /// What has to be there to be woken up.
    wakes_from: usize,
    correlation: i32,
    waits_for: Option<WaitsFor>,
    /// Of Fetch, once the broker has said what it speaks.
    version: Option<i16>,
}

/// Shared by all that is handed out of it.
struct Whole(Arc<Vec<u8>>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The request under way.
struct WaitsFor {
    key: ApiKey,
    version: i16,
    since: Instant,
}

impl Link {
    /// Begins to connect; with each `attempt` to the next of the addresses that the name has.
    pub fn open(
        address: &(String, u16),
        attempt: usize,
        client_id: &str,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Link> {
        let mut stream = TcpStream::connect(resolved(address, attempt)?)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut link = Link {
            stream,
            client_id: StrBytes::from_string(client_id.to_owned()),
            out: BytesMut::new(),
            answer: Arc::default(),
            read: 0,
            wakes_from: 0,
            correlation: 0,
            waits_for: None,
            version: None,
        };
        // Version 0: every broker answers that one.
        link.ask(ApiKey::ApiVersions, &ApiVersionsRequest::default(), 0)?;
        Ok(link)
    }

    /// Of Fetch, where a request can be made now.
    pub fn is_free(&self) -> Option<i16> {
        self.version.filter(|_| self.waits_for.is_none())
    }

    /// Sends a request. There must be none under way.
    pub fn ask(&mut self, key: ApiKey, request: &impl Encodable, version: i16) -> io::Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::zeroed(LENGTH_BYTES);
        header.encode(&mut frame, key.request_header_version(version)).map_err(io::Error::other)?;
        request.encode(&mut frame, version).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - LENGTH_BYTES).map_err(io::Error::other)?;
        frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&frame);
        self.waits_for = Some(WaitsFor { key, version, since: Instant::now() });
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on as far as the network lets it; gives the answer to a Fetch once it is whole, and its version.
    pub fn advance(&mut self) -> io::Result<Option<(Bytes, i16)>> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.write()?;
        loop {
            let Some((mut answer, key, version)) = self.read()? else { return Ok(None) };
            let header = ResponseHeader::decode(&mut answer, key.response_header_version(version));
            let header = header.map_err(io::Error::other)?;
            if header.correlation_id != self.correlation {
                return Err(io::Error::other("the broker answers another question"));
            }
            if key == ApiKey::Fetch {
                return Ok(Some((answer, version)));
            }
            self.version = Some(fetch_version(&mut answer)?);
        }
    }

    /// The answer to the request under way, once it is whole.
    fn read(&mut self) -> io::Result<Option<(Bytes, ApiKey, i16)>> {
        if !self.fill(LENGTH_BYTES)? {
            return Ok(None);
        }
        let length = self.answer.first_chunk().map_or(0, |four| u32::from_be_bytes(*four) as usize);
        if length > ANSWER_LIMIT_BYTES {
            return Err(io::Error::other(format!("an answer of {length} bytes is too large")));
        }
        if !self.fill(LENGTH_BYTES + length)? {
            return Ok(None);
        }
        self.wake_from(LENGTH_BYTES)?;
        let asked = self.waits_for.take().ok_or_else(|| io::Error::other("an answer nobody asked for"))?;
        let answer = Bytes::from_owner(Whole(Arc::clone(&self.answer))).slice(LENGTH_BYTES..self.read);
        self.read = 0;
        Ok(Some((answer, asked.key, asked.version)))
    }

    /// Reads until there are so many bytes of the answer. False: they have not come yet.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        if self.read == 0 && Arc::get_mut(&mut self.answer).is_none() {
            // The last answer is still being handed out.
            self.answer = Arc::default();
        }
        let answer = Arc::make_mut(&mut self.answer);
        if answer.len() < bytes {
            answer.reserve_exact(bytes - answer.len());
            answer.resize(bytes, 0);
        }
        while self.read < bytes {
            match self.stream.read(&mut answer[self.read..bytes]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => self.read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(&error) => {
                    self.wake_from((bytes - self.read).min(STRIDE_BYTES))?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn wake_from(&mut self, bytes: usize) -> io::Result<()> {
        if self.wakes_from != bytes {
            wake_from(&self.stream, bytes)?;
            self.wakes_from = bytes;
        }
        Ok(())
    }

    /// Whether the broker owes an answer for too long; `held_back`: as long as it may hold one back.
    pub fn is_silent(&self, held_back: Duration, now: Instant) -> bool {
        self.waits_for.as_ref().is_some_and(|asked| now.duration_since(asked.since) > held_back + SILENCE)
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

fn resolved((host, port): &(String, u16), attempt: usize) -> io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs()?.collect();
    let chosen = attempt.checked_rem(found.len()).map(|at| found[at]);
    chosen.ok_or_else(|| io::Error::other(format!("{host} has no address")))
}

/// The newest version of Fetch that both sides speak.
fn fetch_version(answer: &mut Bytes) -> io::Result<i16> {
    let spoken = ApiVersionsResponse::decode(answer, 0).map_err(io::Error::other)?;
    let fetch = spoken.api_keys.iter().find(|api| api.api_key == ApiKey::Fetch as i16);
    let (min, max) = fetch.map_or((0, 0), |api| (api.min_version, api.max_version));
    let version = max.min(FETCH_VERSIONS.1);
    if version < FETCH_VERSIONS.0.max(min) {
        let reason = format!("the broker speaks Fetch {min} to {max}, plimsoll {FETCH_VERSIONS:?}");
        return Err(io::Error::other(reason));
    }
    Ok(version)
}
