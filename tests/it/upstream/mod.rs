//! What happens to requests when the upstream fails them: which are sent again, which are given up and when, and which are
//! refused before anything is sent. The upstream is scripted, so that each moment is the test's to choose.

mod bounds;
mod deadlines;
mod retries;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nearside::config::Settings;

use crate::support::eventually;
use crate::support::nearside::Nearside;
use crate::support::resp::Value;
use crate::support::scripted::{Scripted, usual};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);

/// A nearside before a scripted upstream, whose handshakes wait at a gate where a test shuts it.
struct Stage {
    // Dropped before the upstream is, which waits for its threads.
    near: Nearside,
    gate: Gate,
    upstream: Scripted,
    /// The lane's connection.
    lane: usize,
}

/// What holds handshakes up.
#[derive(Clone, Default)]
struct Gate {
    shut: Arc<Mutex<Option<Receiver<()>>>>,
    key: Arc<Mutex<Option<Sender<()>>>>,
    waiting: Arc<AtomicBool>,
}

impl Gate {
    /// The next handshake waits.
    fn shut(&self) {
        let (key, shut) = channel();
        *self.shut.lock().expect("unpoisoned") = Some(shut);
        *self.key.lock().expect("unpoisoned") = Some(key);
    }

    fn open(&self) {
        self.key.lock().expect("unpoisoned").take();
    }

    fn pass(&self) {
        let shut = self.shut.lock().expect("unpoisoned").take();
        if let Some(shut) = shut {
            self.waiting.store(true, Ordering::SeqCst);
            // Ends when the key is gone.
            shut.recv().ok();
            self.waiting.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // The copies that threads hold are dropped with them; that of the test opens it for these.
        if Arc::strong_count(&self.key) <= 2 {
            self.open();
        }
    }
}

impl Stage {
    fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        let gate = Gate::default();
        let passing = gate.clone();
        let upstream = Scripted::start(move |_, command| {
            if command[0] == "HELLO" && command.len() > 1 {
                passing.pass();
            }
            Some(match command {
                ["GET", "lost"] => return None,
                ["SET" | "PUBLISH" | "MULTI" | "WATCH", ..] => b"+OK\r\n".to_vec(),
                ["STRLEN", ..] => b":1\r\n".to_vec(),
                _ => usual(command),
            })
        });
        let near = Nearside::start(upstream.addr(), |settings| {
            settings.lane.handshake_timeout = NEVER;
            settings.lane.breaker.failure_threshold = u32::MAX;
            settings.lane.breaker.minimum_calls = u32::MAX;
            adjust(settings);
        });
        near.session().must(&["GET", "first"]);
        let lane = upstream.await_command(&["GET", "first"], 0);
        Self {
            near,
            gate,
            upstream,
            lane,
        }
    }

    /// Has every connection lost, and waits until the lane's next is there, or hangs at the gate.
    fn lose(&self) {
        let before = self.upstream.count(&["HELLO", "3"]);
        self.upstream.cut();
        eventually("the lane's next handshake", || {
            let begun = self.gate.waiting.load(Ordering::SeqCst)
                || self.upstream.count(&["HELLO", "3"]) > before;
            begun.then_some(())
        });
    }

    fn await_lane(&self) {
        eventually("a lane", || self.near.running().lane_is_up().then_some(()));
    }
}

fn is_unavailable(reply: &Value, word: &str) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("UNAVAILABLE ") && text.contains(word))
}
