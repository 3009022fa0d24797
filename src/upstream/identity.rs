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
    /// In milliseconds of the boot clock; `None` once it is to be judged again.
    at: Option<u64>,
    /// How many times the upstream has said yes to this user.
    times: u64,
    /// Also in the form that names no user, which a server whose default user needs no password refuses.
    alone: bool,
}

/// What the upstream has accepted.
#[derive(Debug, Default)]
pub struct Accepts {
    users: Mutex<HashMap<Arc<str>, Accepted>>,
}

impl Accepts {
    /// The upstream has accepted these at `now`.
    pub fn note(&self, credentials: &Credentials, now: u64) -> Identity {
        let user: Arc<str> = credentials.user().into();
        let mut users = self.users.lock();
        let before = users.get(&user);
        let accepted = Accepted {
            password: credentials.password.clone(),
            at: Some(now),
            times: before.map_or(0, |before| before.times) + 1,
            alone: credentials.user.is_none()
                || before.is_some_and(|before| {
                    before.alone && before.at.is_some() && before.password == credentials.password
                }),
        };
        users.insert(Arc::clone(&user), accepted);
        Identity::User(user)
    }

    /// Whose these are, if the upstream has accepted them in this form no longer than `within` milliseconds ago.
    #[must_use]
    pub fn known(&self, credentials: &Credentials, now: u64, within: u64) -> Option<Identity> {
        let users = self.users.lock();
        let (user, accepted) = users.get_key_value(credentials.user())?;
        let same = same(
            accepted.password.as_bytes(),
            credentials.password.as_bytes(),
        );
        let fresh = now.saturating_sub(accepted.at?) <= within;
        let in_form = accepted.alone || credentials.user.is_some();
        (same && fresh && in_form).then(|| Identity::User(Arc::clone(user)))
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

    /// How many times the upstream has let this identity in; 0 for nearside's own.
    #[must_use]
    pub fn times(&self, identity: &Identity) -> u64 {
        let Identity::User(user) = identity else {
            return 0;
        };
        let users = self.users.lock();
        users.get(user).map_or(0, |accepted| accepted.times)
    }

    /// Users and passwords may have changed: the next AUTH of each is the upstream's to judge.
    pub fn expire(&self) {
        for accepted in self.users.lock().values_mut() {
            accepted.at = None;
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

    fn of(user: Option<&str>, password: &str) -> Credentials {
        Credentials {
            user: user.map(str::to_owned),
            password: password.to_owned(),
        }
    }

    #[test]
    fn a_password_is_known_for_as_long_as_was_said_and_for_its_user_alone() {
        let accepts = Accepts::default();
        let amy = of(Some("amy"), "secret");
        let identity = accepts.note(&amy, 1000);
        assert_eq!(accepts.known(&amy, 1500, 500), Some(identity));
        assert_eq!(accepts.known(&amy, 1501, 500), None);
        assert_eq!(accepts.known(&of(Some("amy"), "secreT"), 1000, 500), None);
        assert_eq!(accepts.known(&of(Some("bob"), "secret"), 1000, 500), None);
        accepts.expire();
        assert_eq!(accepts.known(&amy, 1001, u64::MAX), None);
        assert!(accepts.credentials(&"amy".into()).is_some());
    }

    #[test]
    fn a_password_without_a_user_is_known_where_it_was_accepted_so() {
        let accepts = Accepts::default();
        let (alone, named) = (of(None, "x"), of(Some("default"), "x"));
        accepts.note(&named, 1000);
        assert_eq!(accepts.known(&alone, 1000, 500), None);
        let identity = accepts.note(&alone, 1000);
        assert_eq!(accepts.known(&named, 1000, 500), Some(identity.clone()));
        accepts.note(&named, 1100);
        assert_eq!(accepts.known(&alone, 1100, 500), Some(identity));
        accepts.expire();
        accepts.note(&named, 1200);
        assert_eq!(accepts.known(&alone, 1200, 500), None);
    }
}
