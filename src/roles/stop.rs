//! The word that the process is to end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Raised once, when the process is to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Raised>);

#[derive(Debug, Default)]
struct Raised {
    at: OnceLock<Instant>,
    waiting: Mutex<()>,
    told: Condvar,
    /// The same for who awaits it.
    word: watch::Sender<bool>,
}

impl Stop {
    pub fn raise(&self) {
        // Raised before: the first time counts.
        let _ = self.0.at.set(Instant::now());
        // Nobody is between looking and waiting while the lock is held.
        drop(self.lock());
        self.0.told.notify_all();
        self.0.word.send_replace(true);
    }

    pub fn is_raised(&self) -> bool {
        self.0.at.get().is_some()
    }

    /// How long ago it was raised.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.at.get().map(Instant::elapsed)
    }

    /// Waits up to `limit`; true when the process is to end.
    pub fn wait(&self, limit: Duration) -> bool {
        // Whichever way the waiting ends, the flag tells.
        drop(self.0.told.wait_timeout_while(self.lock(), limit, |()| !self.is_raised()));
        self.is_raised()
    }

    /// Comes back when the process is to end.
    pub async fn raised(&self) {
        // It cannot fail, for the sender is here.
        let _ = self.0.word.subscribe().wait_for(|raised| *raised).await;
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_at_once_and_waits_no_longer_than_asked() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| stop.wait(Duration::from_secs(60)));
            stop.raise();
            assert!(waits.join().unwrap());
        });
        assert!(stop.elapsed().unwrap() < Duration::from_secs(30));
        assert!(stop.wait(Duration::from_secs(60)));
    }

    #[test]
    fn who_awaits_it_is_told_too_before_and_after() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stop = Stop::default();
        let raised =
            |limit| runtime.block_on(async { tokio::time::timeout(limit, stop.raised()).await.is_ok() });
        assert!(!raised(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            // Whichever comes first.
            scope.spawn(|| stop.raise());
            assert!(raised(Duration::from_secs(10)));
        });
        assert!(raised(Duration::from_secs(10)));
    }
}
