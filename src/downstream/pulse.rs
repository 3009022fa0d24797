//! Whether the threads that serve clients still take what they are given.
//!
//! Each is handed an empty task when somebody asks, and at no other time: a thread that is stuck in one poll, or has ended,
//! does not carry it out. Nothing is counted on the data path for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::Downstream;
use super::drain::{Ending, Stage};

/// See the module's header.
#[derive(Debug)]
pub struct Pulse {
    threads: Vec<(String, Handle)>,
    ending: Arc<Ending>,
}

impl Pulse {
    /// Asks every thread for a sign of life.
    ///
    /// # Errors
    /// Which thread gave none, and why not; those that have ended are missed only where no end was asked for.
    pub async fn check(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let asked = self.threads.iter();
        let asked: Vec<_> = asked
            .map(|(name, thread)| (name, thread.spawn(async {})))
            .collect();
        for (name, answer) in asked {
            match timeout_at(deadline, answer).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if self.ending.stage() >= Stage::AtOnce => {}
                Ok(Err(_)) => return Err(format!("the thread {name} has ended")),
                Err(_) => {
                    return Err(format!("the thread {name} did not answer for {within:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Downstream {
    /// What tells whether its threads are alive.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let threads = self.workers.iter().chain(&self.acceptor);
        Pulse {
            threads: threads
                .map(|worker| (worker.name.clone(), worker.handle.clone()))
                .collect(),
            ending: self.ending(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::downstream::Worker;
    use crate::downstream::settings::Drain;

    fn check(pulse: &Pulse, within: Duration) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(pulse.check(within))
    }

    #[test]
    fn a_thread_that_is_stuck_or_gone_is_named() {
        let worker = Worker::start("worker-7".into()).expect("a thread");
        let pulse = Pulse {
            threads: vec![(worker.name.clone(), worker.handle.clone())],
            ending: Arc::default(),
        };
        let (generous, short) = (Duration::from_secs(15), Duration::from_millis(20));
        assert_eq!(check(&pulse, generous), Ok(()));
        let (release, stuck) = mpsc::channel::<()>();
        worker.handle.spawn(async move { stuck.recv() });
        let said = check(&pulse, short);
        assert_eq!(
            said,
            Err("the thread worker-7 did not answer for 20ms".into())
        );
        drop(release);
        assert_eq!(check(&pulse, generous), Ok(()));
        drop(worker);
        let said = check(&pulse, generous);
        assert_eq!(said, Err("the thread worker-7 has ended".into()));
        pulse.ending.ask(Drain::AtOnce);
        assert_eq!(check(&pulse, generous), Ok(()));
    }
}
