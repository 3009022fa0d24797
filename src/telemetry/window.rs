//! What counters have gained within a time: snapshots of them, the oldest just beyond it.

use std::collections::VecDeque;

/// See the module's header. A value is whatever the counters show together.
#[derive(Debug)]
pub struct Window<T> {
    length: u64,
    /// In order of time, in milliseconds.
    snapshots: VecDeque<(u64, T)>,
}

impl<T> Window<T> {
    /// Of so many milliseconds, from a beginning with these values.
    #[must_use]
    pub fn new(length: u64, now: u64, values: T) -> Self {
        Self {
            length,
            snapshots: VecDeque::from([(now, values)]),
        }
    }

    /// Takes a snapshot in.
    pub fn push(&mut self, now: u64, values: T) {
        self.snapshots.push_back((now, values));
        self.forget(now);
    }

    /// The newest snapshot that is as old as the window is long; of a younger window the first.
    pub fn base(&mut self, now: u64) -> Option<&T> {
        self.forget(now);
        self.snapshots.front().map(|(_, values)| values)
    }

    fn forget(&mut self, now: u64) {
        let old = |at: u64| now.saturating_sub(at) >= self.length;
        while self.snapshots.get(1).is_some_and(|(at, _)| old(*at)) {
            self.snapshots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_as_old_as_the_window_is_long() {
        let mut window = Window::new(60, 100, 0);
        assert_eq!(window.base(100), Some(&0));
        for step in 1..=20 {
            window.push(100 + step * 10, step);
        }
        assert_eq!(window.base(300), Some(&14), "of 240");
        assert_eq!(
            window.base(305),
            Some(&14),
            "240 is the newest of 245 or older"
        );
        assert_eq!(window.base(310), Some(&15));
        assert!(window.snapshots.len() <= 7);
        assert_eq!(window.base(10_000), Some(&20), "nobody has looked since");
    }
}
