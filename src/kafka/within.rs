//! Calls that may never come back.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `work` gives, done on a thread called `name`; None when it takes longer than `limit` and is left to itself, or when
/// there is no thread for it.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let answer = move || {
        // Nobody listens any more to one that comes too late.
        let _ = sender.send(work());
    };
    thread::Builder::new().name(name.to_owned()).spawn(answer).ok()?;
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_call_that_hangs() {
        let (hold, held) = mpsc::channel::<()>();
        let hangs = move || held.recv();
        assert!(within(Duration::from_millis(20), "test", hangs).is_none());
        drop(hold);
        assert_eq!(within(Duration::from_secs(10), "test", || 7), Some(7));
    }
}
