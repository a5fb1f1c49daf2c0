//! Calls that may never come back.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that makes such calls for another one. One that hangs is left to itself, and the next call gets a new thread.
pub(super) struct Aside {
    name: &'static str,
    /// None: there is no thread yet, or the last one hangs.
    work: Option<Sender<Work>>,
}

impl Aside {
    pub fn new(name: &'static str) -> Aside {
        Aside { name, work: None }
    }

    /// What `call` gives; None when it takes longer than `limit`, or when there is no thread for it.
    pub fn within<T: Send + 'static>(
        &mut self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody listens any more to one that comes too late.
            let _ = answer.send(call());
        };
        let thread = match self.work.take() {
            Some(thread) => thread,
            None => self.start()?,
        };
        // It listens as long as this sender is there.
        thread.send(Box::new(work)).ok()?;
        let answer = answered.recv_timeout(limit).ok()?;
        self.work = Some(thread);
        Some(answer)
    }

    fn start(&self) -> Option<Sender<Work>> {
        let (work, waiting) = mpsc::channel::<Work>();
        let run = move || waiting.into_iter().for_each(|work| work());
        thread::Builder::new().name(self.name.to_owned()).spawn(run).ok()?;
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn nobody_waits_for_a_call_that_hangs() {
        let mut aside = Aside::new("test");
        let thread = |aside: &mut Aside| aside.within(LONG, || thread::current().id());
        let first = thread(&mut aside).unwrap();
        assert_eq!(thread(&mut aside), Some(first), "the thread stays");
        let (hold, held) = mpsc::channel::<()>();
        assert!(aside.within(Duration::from_millis(20), move || held.recv()).is_none());
        assert_ne!(thread(&mut aside).unwrap(), first);
        drop(hold);
    }

    #[test]
    fn a_call_that_panics_gives_nothing_and_the_next_one_goes_on() {
        let mut aside = Aside::new("test");
        assert_eq!(aside.within(LONG, || -> u8 { panic!("on purpose") }), None);
        assert_eq!(aside.within(LONG, || 7), Some(7));
    }
}
