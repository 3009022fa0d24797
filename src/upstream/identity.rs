//! Whose commands a lane carries, and which passwords the upstream has accepted.
//!
//! A client's AUTH is answered here only where the upstream itself has accepted the same user and password within
//! `entry_max_ttl`, which is also how long rights that were revoked elsewhere may live on. Any other password is the
//! upstream's to judge. Passwords are kept, since every new connection of that user has to send them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::settings::Credentials;

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Clients that have sent no AUTH: nearside's own credentials, or none.
    Ours,
    /// Clients that have authenticated as this user.
    User(Arc<str>),
}

/// One lane's place: whose, and in which database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// Whose.
    pub identity: Identity,
    /// Database index.
    pub db: u32,
}

/// A password that the upstream has accepted.
#[derive(Debug)]
struct Accepted {
    password: String,
    /// In milliseconds of the boot clock.
    at: u64,
}

/// What the upstream has accepted.
#[derive(Debug, Default)]
pub struct Accepts {
    users: Mutex<HashMap<Arc<str>, Accepted>>,
}

impl Accepts {
    /// The upstream has accepted `password` for `user` at `now`.
    pub fn note(&self, user: &str, password: &str, now: u64) -> Identity {
        let user: Arc<str> = user.into();
        let accepted = Accepted {
            password: password.to_owned(),
            at: now,
        };
        self.users.lock().insert(Arc::clone(&user), accepted);
        Identity::User(user)
    }

    /// The identity of `user`, if the upstream has accepted this password no longer than `within` milliseconds ago.
    #[must_use]
    pub fn known(&self, user: &str, password: &str, now: u64, within: u64) -> Option<Identity> {
        let users = self.users.lock();
        let (user, accepted) = users.get_key_value(user)?;
        let same = same(accepted.password.as_bytes(), password.as_bytes());
        let fresh = now.saturating_sub(accepted.at) <= within;
        (same && fresh).then(|| Identity::User(Arc::clone(user)))
    }

    /// What to authenticate with as `user`.
    #[must_use]
    pub fn credentials(&self, user: &Arc<str>) -> Option<Credentials> {
        let users = self.users.lock();
        users.get(user).map(|accepted| Credentials {
            user: Some(user.to_string()),
            password: accepted.password.clone(),
        })
    }

    /// Users and passwords may have changed: the next AUTH of each is the upstream's to judge.
    pub fn expire(&self) {
        for accepted in self.users.lock().values_mut() {
            accepted.at = 0;
        }
    }
}

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_for_as_long_as_was_said_and_for_its_user_alone() {
        let accepts = Accepts::default();
        let amy = accepts.note("amy", "secret", 1000);
        assert_eq!(accepts.known("amy", "secret", 1500, 500), Some(amy));
        assert_eq!(accepts.known("amy", "secret", 1501, 500), None);
        assert_eq!(accepts.known("amy", "secreT", 1000, 500), None);
        assert_eq!(accepts.known("bob", "secret", 1000, 500), None);
        accepts.expire();
        assert_eq!(accepts.known("amy", "secret", 1001, 500), None);
        assert!(accepts.credentials(&"amy".into()).is_some());
    }
}
