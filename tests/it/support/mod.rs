//! The harness: a real server, a relay that can bend time on the lane, nearside in this process, and
//! a client that blocks.

pub mod client;
pub mod logged;
pub mod nearside;
pub mod otlp;
pub mod program;
pub mod redis;
pub mod relay;
pub mod resp;
pub mod rng;
pub mod scripted;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, path::PathBuf, process, thread};

/// What a test waits for at most: long enough for a busy machine, short enough to end a hang.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Polls until `probe` gives a value; fails the test, saying `what` was awaited, when patience ends.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A directory of this process's own, removed on drop.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("nearside-it-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
