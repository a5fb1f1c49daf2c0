//! A TCP proxy that stalls, slows and cuts what goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Bytes passed on at a time; while slowed each of them waits.
const CHUNK: usize = 4 << 10;
const STALL_STEP: Duration = Duration::from_millis(10);
const ACCEPT_STEP: Duration = Duration::from_millis(20);

/// Forwards connections from a port of 127.0.0.1 to another one until it is dropped.
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    stalled: AtomicBool,
    /// Waited before each chunk, in microseconds.
    delay_us: AtomicU64,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        let of_listener = Arc::clone(&faults);
        thread::spawn(move || accept(&listener, target, &of_listener));
        Proxy { port, faults }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections stay open, no byte passes.
    pub fn stall(&self, on: bool) {
        self.faults.stalled.store(on, Ordering::Release);
    }

    /// Each 4 KB of each direction wait so long.
    pub fn slow(&self, delay: Duration) {
        self.faults.delay_us.store(delay.as_micros() as u64, Ordering::Release);
    }

    /// Ends every connection there is, in the middle of whatever it says; new ones are taken.
    pub fn cut(&self) {
        for stream in self.faults.open.lock().unwrap().drain(..) {
            // An error means that it was closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.closed.store(true, Ordering::Release);
        self.cut();
    }
}

fn accept(listener: &TcpListener, target: u16, faults: &Arc<Faults>) {
    while !faults.closed.load(Ordering::Acquire) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(ACCEPT_STEP);
            continue;
        };
        // A target that is away closes the client, as its own port would refuse it.
        let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))) else { continue };
        client.set_nonblocking(false).unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let mut open = faults.open.lock().unwrap();
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let faults = Arc::clone(faults);
            thread::spawn(move || pass(from, to, &faults));
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, faults: &Faults) {
    let mut chunk = [0; CHUNK];
    while let Ok(bytes @ 1..) = from.read(&mut chunk) {
        while faults.stalled.load(Ordering::Acquire) && !faults.closed.load(Ordering::Acquire) {
            thread::sleep(STALL_STEP);
        }
        thread::sleep(Duration::from_micros(faults.delay_us.load(Ordering::Acquire)));
        if to.write_all(&chunk[..bytes]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
