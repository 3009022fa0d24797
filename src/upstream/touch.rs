//! Keeping served keys in the upstream. Where it evicts by last use, it takes what L1 serves for idle and evicts that
//! first; so it is told, by TOUCH in batches, of the keys that were hit since it last heard of them, at most once in
//! `touch_interval` a key. Whether it evicts at all so it is asked each time before.
//!
//! ```text
//!   idle --interval over, hits were served--> asked --it evicts by last use--> sweeping --all of L1 seen--> idle
//!                                               \--it does not--> idle
//! ```

use std::time::Duration;

use crate::command;
use crate::l1::{Cursor, L1, Space};
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};
use crate::telemetry::clock::millis;

/// Entries looked at in one step, and keys told of.
const STEP: usize = 16 * 1024;
const KEYS: usize = 1024;
/// Keys in one command.
const BATCH: usize = 128;

/// The question whose answer is [`evicts_by_use`]'s.
pub const QUESTION: &[u8] = b"*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n";

#[derive(Debug)]
enum Stage {
    Idle,
    Asked,
    Sweeping(Cursor),
}

/// What a lane does about it, step by step.
#[derive(Debug)]
pub struct Touch {
    interval: u64,
    since: u64,
    stage: Stage,
}

/// What is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// [`QUESTION`].
    Question,
    /// So many commands whose replies do not matter.
    Commands(Vec<u8>, usize),
}

impl Touch {
    /// At most once in `interval` a key; never if it is zero.
    pub fn new(interval: Duration, now: u64) -> Self {
        Self {
            interval: millis(interval),
            since: now,
            stage: Stage::Idle,
        }
    }

    /// The next step. Call it every now and then.
    pub fn step(&mut self, l1: &L1, space: &Space, now: u64) -> Due {
        match &mut self.stage {
            Stage::Idle => {
                let due = self.interval > 0 && now.saturating_sub(self.since) >= self.interval;
                if !due || !space.take_served() {
                    return Due::Nothing;
                }
                self.since = now;
                self.stage = Stage::Asked;
                Due::Question
            }
            Stage::Asked => Due::Nothing,
            Stage::Sweeping(cursor) => {
                let requests = l1.take_read(space, cursor, STEP, KEYS);
                if cursor.is_done() {
                    self.stage = Stage::Idle;
                }
                let keys: Vec<Vec<u8>> = requests.iter().flat_map(|one| keys(one)).collect();
                let mut bytes = Vec::new();
                let batches = keys.chunks(BATCH);
                let count = batches.len();
                for batch in batches {
                    let mut words: Vec<&[u8]> = vec![b"TOUCH"];
                    words.extend(batch.iter().map(Vec::as_slice));
                    encode::request(&mut bytes, &words);
                }
                if count == 0 {
                    return Due::Nothing;
                }
                Due::Commands(bytes, count)
            }
        }
    }

    /// The question was answered.
    pub fn answered(&mut self, evicts: bool) {
        self.stage = if evicts {
            Stage::Sweeping(Cursor::default())
        } else {
            Stage::Idle
        };
    }
}

/// The keys of a request.
fn keys(request: &[u8]) -> Vec<Vec<u8>> {
    let mut scanner = RequestScanner::default();
    let Ok(Scanned::Request { .. }) = scanner.scan(request) else {
        return Vec::new();
    };
    let args = scanner.args();
    let positions = command::of(request, args).and_then(|row| row.keys(request, args));
    let positions = positions.into_iter().flatten();
    positions
        .map(|at| request[args[at].clone()].to_vec())
        .collect()
}

/// Whether a server that says this of its memory evicts what was not used for long, or rarely. One that says nothing
/// of it is taken for one that does not.
pub fn evicts_by_use(info: &[u8]) -> bool {
    let text = String::from_utf8_lossy(info);
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let bounded = field("maxmemory").is_some_and(|most| most.trim() != "0");
    bounded
        && field("maxmemory_policy")
            .is_some_and(|policy| policy.contains("lru") || policy.contains("lfu"))
}

#[cfg(test)]
mod tests {
    use super::evicts_by_use;

    #[test]
    fn only_a_bounded_server_evicts() {
        let info = |most: &str, policy: &str| {
            format!("# Memory\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n").into_bytes()
        };
        assert!(evicts_by_use(&info("1048576", "allkeys-lru")));
        assert!(evicts_by_use(&info("1048576", "volatile-lfu")));
        assert!(!evicts_by_use(&info("1048576", "noeviction")));
        assert!(!evicts_by_use(&info("1048576", "allkeys-random")));
        assert!(!evicts_by_use(&info("0", "allkeys-lru")));
        assert!(!evicts_by_use(b"# Memory\r\n"));
    }
}
