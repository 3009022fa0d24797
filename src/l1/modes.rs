//! Which mode holds, and how it is changed while sessions are at work.
//!
//! While L1 is off sessions announce no writes, so when it is switched on, some that were sent unannounced may still be
//! under way. L1 then *warms up*: it fills and serves nothing until every session has begun to announce its writes, and
//! has the replies to those it had sent down the lane before. What it had sent over a connection of its own, and may take
//! as long as it likes (BLPOP), is from then on of unknown effect: it closes L1 from its reply to its marker, as scripts
//! do. The moment the last session is there L1 is emptied, and fills sent before are refused; whatever is read after it
//! has seen every unannounced write.
//!
//! ```text
//!            on, shadow                          no session is mute any more
//!   Off ------------------> warming up --------------------------------------> On, Shadow
//!    ^                          |                                                  |
//!    +--------------------------+-------------------- off -------------------------+
//! ```
//!
//! A session that begins while L1 is off is *mute*; one that begins later announces from the start. Sessions follow in
//! their next pass, each for itself, so that for a time some announce and others do not: what holds for all is
//! [`L1::mode`], which is `Off` unless none is mute.

use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::sync::Mutex;

use super::L1;
use super::settings::Mode;

/// What was asked for last, and how far it is.
#[derive(Debug)]
struct Asked {
    mode: Mode,
    /// Sessions that announce no writes, or may have some under way that they have not announced.
    mute: usize,
}

#[derive(Debug)]
pub(super) struct Modes {
    asked: Mutex<Asked>,
    /// Sessions are to announce their writes.
    announced: AtomicBool,
    /// The mode that holds.
    holds: AtomicU8,
}

impl Modes {
    pub fn new(mode: Mode) -> Self {
        Self {
            asked: Mutex::new(Asked { mode, mute: 0 }),
            announced: AtomicBool::new(mode != Mode::Off),
            holds: AtomicU8::new(mode as u8),
        }
    }

    #[inline]
    pub fn holds(&self) -> Mode {
        match self.holds.load(Ordering::Acquire) {
            on if on == Mode::On as u8 => Mode::On,
            shadow if shadow == Mode::Shadow as u8 => Mode::Shadow,
            _ => Mode::Off,
        }
    }
}

impl L1 {
    /// The mode that holds: `Off` while L1 warms up.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.modes.holds()
    }

    /// The mode that was asked for last, and whether L1 is still warming up for it.
    #[must_use]
    pub fn asked_mode(&self) -> (Mode, bool) {
        let asked = self.modes.asked.lock();
        (asked.mode, asked.mode != self.modes.holds())
    }

    /// Changes the mode. Sessions are to be woken behind this.
    pub fn switch(&self, mode: Mode) {
        let mut asked = self.modes.asked.lock();
        let before = std::mem::replace(&mut asked.mode, mode);
        if before == mode {
            return;
        }
        self.modes
            .announced
            .store(mode != Mode::Off, Ordering::Release);
        match mode {
            Mode::On | Mode::Shadow if before == Mode::Off => self.open_if_heard(&asked),
            // Nobody has fallen silent; if L1 is still warming up it goes on with that.
            Mode::On | Mode::Shadow if self.modes.holds() == Mode::Off => {}
            Mode::On => self.modes.holds.store(mode as u8, Ordering::Release),
            Mode::Off | Mode::Shadow => {
                self.modes.holds.store(mode as u8, Ordering::Release);
                self.clear_and_refuse_sent();
            }
        }
    }

    /// Whether sessions are to announce their writes.
    #[inline]
    #[must_use]
    pub fn is_announced_to(&self) -> bool {
        self.modes.announced.load(Ordering::Relaxed)
    }

    /// A session begins; whether it announces its writes from the start. One that does not is mute.
    #[must_use]
    pub fn enter(&self) -> bool {
        let mut asked = self.modes.asked.lock();
        let announces = asked.mode != Mode::Off;
        asked.mute += usize::from(!announces);
        announces
    }

    /// A session would announce no more; whether it may, and is mute now.
    #[must_use]
    pub fn fall_mute(&self) -> bool {
        let mut asked = self.modes.asked.lock();
        let off = asked.mode == Mode::Off;
        asked.mute += usize::from(off);
        off
    }

    /// A mute session announces its writes and has none under way that it has not, or it ends.
    pub fn speak_up(&self) {
        let mut asked = self.modes.asked.lock();
        asked.mute -= 1;
        self.open_if_heard(&asked);
    }

    fn open_if_heard(&self, asked: &Asked) {
        if asked.mute == 0 && asked.mode != self.modes.holds() {
            // First, since what was sent before the last one spoke up may not have seen its writes.
            self.clear_and_refuse_sent();
            self.modes.holds.store(asked.mode as u8, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::settings::Settings;

    fn l1(mode: Mode) -> L1 {
        let settings = Settings {
            mode,
            ..Settings::default()
        };
        L1::new(settings, 1)
    }

    #[test]
    fn it_is_on_when_the_last_session_speaks_up() {
        let l1 = l1(Mode::Off);
        assert!(!l1.enter() && !l1.enter());
        let epoch = l1.epoch();
        l1.switch(Mode::Shadow);
        assert_eq!(
            (l1.mode(), l1.asked_mode()),
            (Mode::Off, (Mode::Shadow, true))
        );
        assert!(l1.enter(), "the new one announces from the start");
        l1.speak_up();
        assert_eq!(l1.mode(), Mode::Off);
        l1.switch(Mode::On);
        assert_eq!(l1.mode(), Mode::Off, "still warming up");
        l1.speak_up();
        assert_eq!((l1.mode(), l1.asked_mode()), (Mode::On, (Mode::On, false)));
        assert_ne!(l1.epoch(), epoch, "fills sent before are refused");
    }

    #[test]
    fn without_sessions_it_is_on_at_once_and_off_at_once() {
        let l1 = l1(Mode::Off);
        l1.switch(Mode::On);
        assert_eq!(l1.mode(), Mode::On);
        assert!(l1.enter());
        l1.switch(Mode::Off);
        assert_eq!(l1.mode(), Mode::Off);
        l1.switch(Mode::On);
        assert_eq!(l1.mode(), Mode::On, "it has never stopped to announce");
        assert!(!l1.fall_mute(), "it is too late to");
    }

    #[test]
    fn one_that_ends_mute_is_waited_for_no_longer() {
        let l1 = l1(Mode::Off);
        assert!(!l1.enter());
        l1.switch(Mode::On);
        assert_eq!(l1.mode(), Mode::Off);
        l1.speak_up();
        assert_eq!(l1.mode(), Mode::On);
    }
}
