//! What waits to be sent: a list that has a bound, and that nobody waits for.
//!
//! The data path pushes: one atomic for the bound and one more for the list, which grows by blocks, so that an idle queue
//! costs nothing. The exporter is woken when a whole batch is there, not for each operation: waking a thread is a system
//! call, which the data path would pay. What is less than a batch it comes for by itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::span::Finished;
use super::tally::Reason;
use crate::telemetry::operation::Operation;

/// What is sent in one request at most: with two spans each and the longest keys about 3 MiB, and receivers take 4.
pub(super) const BATCH: usize = 2048;

/// Where a span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its trace.
    pub(super) trace: u128,
    /// Itself.
    pub(super) span: u64,
    /// The span that it is part of, and whether that is another process's.
    pub(super) parent: Option<(u64, bool)>,
}

/// What is told of.
#[derive(Debug)]
pub(super) enum Work {
    /// An operation of the data path.
    Operation(Operation),
    /// Anything else.
    Span(Finished),
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) place: Place,
    pub(super) work: Work,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    bound: usize,
    /// What wakes the exporter.
    batch: usize,
    waiting: AtomicUsize,
    sender: UnboundedSender<Queued>,
    /// The exporter's alone.
    receiver: Mutex<UnboundedReceiver<Queued>>,
    full: Notify,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            bound,
            batch: BATCH.min(bound.div_ceil(2)),
            waiting: AtomicUsize::new(0),
            sender,
            receiver: Mutex::new(receiver),
            full: Notify::new(),
        }
    }

    /// Puts it in, or says why not.
    pub(super) fn push(&self, queued: Queued) -> Result<(), Reason> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        if before >= self.bound {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::QueueFull);
        }
        // Only the exporter closes it.
        let sent = self.sender.send(queued);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::Shutdown);
        }
        if before + 1 == self.batch {
            self.full.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until a batch is there.
    pub(super) async fn filled(&self) {
        self.full.notified().await;
    }

    /// Takes out what is there, a batch at most.
    pub(super) fn take(&self) -> Vec<Queued> {
        let mut receiver = self.receiver.lock();
        let mut taken = Vec::with_capacity(self.waiting().min(BATCH));
        while taken.len() < BATCH
            && let Ok(queued) = receiver.try_recv()
        {
            taken.push(queued);
        }
        self.waiting.fetch_sub(taken.len(), Ordering::Relaxed);
        taken
    }

    /// Takes nothing in from now on.
    pub(super) fn close(&self) {
        self.receiver.lock().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::traces::span::Kind;

    fn queued(span: u64) -> Queued {
        let place = Place {
            trace: 1,
            span,
            parent: None,
        };
        Queued {
            place,
            work: Work::Span(Finished::new("x", Kind::Internal)),
        }
    }

    #[test]
    fn it_has_a_bound_and_keeps_the_order() {
        let queue = Queue::new(3);
        for span in 1..=3 {
            assert_eq!(queue.push(queued(span)), Ok(()));
        }
        assert_eq!(queue.push(queued(4)), Err(Reason::QueueFull));
        let taken: Vec<u64> = queue.take().iter().map(|one| one.place.span).collect();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!((queue.waiting(), queue.take().len()), (0, 0));
        assert_eq!(queue.push(queued(5)), Ok(()));
        queue.close();
        assert_eq!(queue.push(queued(6)), Err(Reason::Shutdown));
        assert_eq!(queue.take().len(), 1);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let queue = Queue::new(1000);
        let taken = std::thread::scope(|scope| {
            let pushing: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        (0..20_000)
                            .filter(|&n| queue.push(queued(n)).is_ok())
                            .count()
                    })
                })
                .collect();
            let mut taken = 0;
            while pushing.iter().any(|thread| !thread.is_finished()) {
                assert!(queue.waiting() <= 1003);
                taken += queue.take().len();
            }
            loop {
                match queue.take().len() {
                    0 => break,
                    more => taken += more,
                }
            }
            let pushed: usize = pushing.into_iter().map(|one| one.join().unwrap()).sum();
            assert_eq!(pushed, taken);
            taken
        });
        assert!(taken >= 1000);
        assert_eq!(queue.waiting(), 0);
    }
}
