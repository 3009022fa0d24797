//! What an operator can set about sessions.

use std::time::Duration;

use crate::l1::settings::Mode;

/// What clients share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Whatever needs no connection state goes by the lane.
    Lane,
    /// Cacheable reads go by the lane, all else verbatim over a connection of the client's own.
    Dedicated,
}

/// Whom it concerns that something newer was relayed to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Causality {
    /// That session.
    Session,
    /// All sessions.
    Process,
}

/// Sessions' settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What clients share.
    pub sharing: Sharing,
    /// A client that has sent nothing for this long and waits for nothing is closed.
    pub idle_timeout: Option<Duration>,
    /// Scripts and functions go by the lane too.
    pub scripts_by_lane: bool,
    /// How far causality goes; `None` is by session, or by process where connections are dedicated.
    pub causality: Option<Causality>,
    /// What the nearsides are called, together, that tell each other what is dropped by hand.
    pub fleet: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sharing: Sharing::Lane,
            idle_timeout: None,
            scripts_by_lane: false,
            causality: None,
            fleet: None,
        }
    }
}

impl Settings {
    /// With neither a cache nor shared connections every byte goes through as it is, and no lane is needed.
    #[must_use]
    pub fn is_transparent(&self, mode: Mode) -> bool {
        self.sharing == Sharing::Dedicated && mode == Mode::Off
    }

    /// How far causality goes.
    #[must_use]
    pub fn causality(&self) -> Causality {
        self.causality.unwrap_or(match self.sharing {
            Sharing::Lane => Causality::Session,
            Sharing::Dedicated => Causality::Process,
        })
    }
}
