//! Who the client is and in which database: AUTH, SELECT, HELLO and RESET move a session to the lane of its new place.
//!
//! What the upstream is known to accept is answered here. Anything else goes to it over an own connection, and only
//! its yes changes the session; its no reaches the client in its own words.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;

use super::Session;
use super::link::Bound;
use crate::command::Class;
use crate::proxy::own::expected::Change;
use crate::resp::encode;
use crate::resp::frame::parse_integer;
use crate::telemetry::clock::now_ms;
use crate::upstream::identity::{Identity, LaneKey};
use crate::upstream::settings::Credentials;

/// What a HELLO asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    resp2: Option<bool>,
    user: Option<Credentials>,
    name: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// SELECT, if there is a lane of that database, and its user has the right to it.
    pub(super) fn select_here(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let Some(db) = database(request, args) else {
            return false;
        };
        let identity = self.place.identity.clone();
        let place = LaneKey { identity, db };
        if !self.lanes.may_select(&place) || !self.move_to(place) {
            return false;
        }
        self.out.extend_from_slice(b"+OK\r\n");
        true
    }

    /// AUTH with what the upstream has accepted lately.
    pub(super) fn auth_here(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let credentials = credentials(request, &args[1..]);
        if !credentials.is_some_and(|credentials| self.become_known(&credentials)) {
            return false;
        }
        self.out.extend_from_slice(b"+OK\r\n");
        true
    }

    /// HELLO, where it authenticates nobody or somebody known; anything unusual is the upstream's to answer.
    pub(super) fn hello_here(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let server = self.lanes.hello();
        let Some(asked) = hello(request, args).filter(|_| !server.version.is_empty()) else {
            return false;
        };
        if let Some(name) = &asked.name
            && !is_name(name)
        {
            return false;
        }
        if let Some(user) = &asked.user
            && !self.become_known(user)
        {
            return false;
        }
        if let Some(name) = asked.name {
            self.name = (!name.is_empty()).then_some(name);
        }
        self.speak(asked.resp2.unwrap_or(self.resp2));
        let (resp2, out) = (self.resp2, &mut self.out);
        encode::header(
            out,
            if resp2 { b'*' } else { b'%' },
            if resp2 { 14 } else { 7 },
        );
        for (field, value) in [("server", &server.server), ("version", &server.version)] {
            encode::bulk(out, field.as_bytes());
            encode::bulk(out, value.as_bytes());
        }
        encode::bulk(out, b"proto");
        encode::header(out, b':', if resp2 { 2 } else { 3 });
        encode::bulk(out, b"id");
        encode::header(out, b':', self.id);
        for (field, value) in [("mode", &server.mode), ("role", &server.role)] {
            encode::bulk(out, field.as_bytes());
            encode::bulk(out, value.as_bytes());
        }
        encode::bulk(out, b"modules");
        out.extend_from_slice(&server.modules(resp2));
        true
    }

    /// RESET: as if the client had just connected.
    pub(super) fn reset_here(&mut self) {
        self.was_reset();
        self.out.extend_from_slice(b"+RESET\r\n");
    }

    fn was_reset(&mut self) {
        self.own = None;
        self.bound = Bound::default();
        self.numbered = false;
        self.name = None;
        self.resp2 = true;
        self.replies = super::Replies::On;
        let base = self.lanes.base();
        if self.place != base {
            self.settle_at(base);
        }
    }

    /// Takes a client name, empty for none; whether it is one that Redis takes.
    pub(super) fn remember_name(&mut self, name: &[u8]) -> bool {
        let valid = is_name(name);
        if valid {
            self.name = (!name.is_empty()).then(|| name.to_vec());
        }
        valid
    }

    /// What a command of this class, sent over the own connection, changes if the upstream says yes; `None` where that
    /// cannot be told.
    pub(super) fn change(
        &self,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Option<Change> {
        match class {
            Class::Select => database(request, args).map(Change::Db),
            Class::Auth => credentials(request, &args[1..]).map(Change::User),
            Class::Hello => {
                // A name that is refused leaves the user of the same command let in.
                let asked = hello(request, args)
                    .filter(|asked| asked.name.as_deref().is_none_or(is_name))?;
                Some(Change::Hello {
                    resp2: asked.resp2.unwrap_or(self.resp2),
                    user: asked.user,
                    name: asked.name,
                })
            }
            _ => None,
        }
    }

    /// The upstream has carried out a change, on the own connection, which is there.
    pub(super) fn changed(&mut self, change: Change) {
        match change {
            Change::Reset => {
                self.was_reset();
                return;
            }
            Change::Db(db) => {
                let identity = self.place.identity.clone();
                self.settle_at(LaneKey { identity, db });
            }
            Change::User(user) => self.authenticated(&user),
            Change::Hello { resp2, user, name } => {
                if let Some(user) = user {
                    self.authenticated(&user);
                }
                self.resp2 = resp2;
                if let Some(name) = name {
                    self.name = (!name.is_empty()).then_some(name);
                    if let Some(own) = &mut self.own {
                        own.name.clone_from(&self.name);
                    }
                }
            }
        }
        if let Some(own) = &mut self.own {
            own.key.place = self.place.clone();
            own.key.resp3 = !self.resp2;
            // It has done its work once the lane of that place is up; where that cannot be, it serves.
            own.moved = true;
        }
    }

    fn authenticated(&mut self, credentials: &Credentials) {
        let identity = self.lanes.accepts.note(credentials, now_ms());
        self.let_in = self.lanes.accepts.times(&identity);
        let db = self.place.db;
        self.settle_at(LaneKey { identity, db });
    }

    /// Becomes somebody whom the upstream has accepted lately; whether it is.
    fn become_known(&mut self, credentials: &Credentials) -> bool {
        let ours = self.lanes.credentials(&Identity::Ours).is_some_and(|ours| {
            ours.user() == credentials.user() && ours.password == credentials.password
        });
        let known = if ours {
            Some(Identity::Ours)
        } else {
            self.lanes.known(credentials)
        };
        let db = self.place.db;
        let let_in = known.as_ref().map(|known| self.lanes.accepts.times(known));
        let moved = known.is_some_and(|identity| self.move_to(LaneKey { identity, db }));
        if moved {
            self.let_in = let_in.unwrap_or_default();
        }
        moved
    }

    /// Moves to a place whose lane is up; whether it is.
    fn move_to(&mut self, place: LaneKey) -> bool {
        if place == self.place {
            return true;
        }
        let Some(seat) = self.lanes.seat_if_up(&place) else {
            return false;
        };
        self.give_back_own();
        self.own = None;
        self.place = place;
        self.sit(seat);
        true
    }

    /// Moves to a place that the upstream has let us into, opening its lane if need be.
    fn settle_at(&mut self, place: LaneKey) {
        let seat = self.lanes.seat(&place, &Handle::current());
        self.place = place;
        self.seat = None;
        if let Some(seat) = seat {
            seat.let_in();
            // Also if the client sends nothing more: what has led it here is then needed no longer.
            seat.call_when_up(&self.mailbox);
            self.sit(seat);
        }
    }

    fn speak(&mut self, resp2: bool) {
        if resp2 != self.resp2 {
            self.give_back_own();
            self.own = None;
        }
        self.resp2 = resp2;
    }
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(|b| (b'!'..=b'~').contains(b))
}

fn database(request: &[u8], args: &[Range<usize>]) -> Option<u32> {
    let [_, db] = args else {
        return None;
    };
    parse_integer(&request[db.clone()]).and_then(|db| u32::try_from(db).ok())
}

/// `[user] password`.
fn credentials(request: &[u8], args: &[Range<usize>]) -> Option<Credentials> {
    let text = |arg: &Range<usize>| std::str::from_utf8(&request[arg.clone()]).ok();
    let (user, password) = match args {
        [password] => (None, password),
        [user, password] => (Some(text(user)?.to_owned()), password),
        _ => return None,
    };
    let password = text(password)?.to_owned();
    Some(Credentials { user, password })
}

/// `[protocol [AUTH user password] [SETNAME name]]`.
fn hello(request: &[u8], args: &[Range<usize>]) -> Option<Asked> {
    let mut asked = Asked {
        resp2: None,
        user: None,
        name: None,
    };
    let (protocol, mut options) = match args {
        [_] => return Some(asked),
        [_, protocol, options @ ..] => (protocol, options),
        [] => return None,
    };
    asked.resp2 = Some(match &request[protocol.clone()] {
        b"2" => true,
        b"3" => false,
        _ => return None,
    });
    while let [option, rest @ ..] = options {
        let option = &request[option.clone()];
        // Two users in one: the first may be let in and the second not.
        if option.eq_ignore_ascii_case(b"AUTH") && rest.len() >= 2 && asked.user.is_none() {
            asked.user = Some(credentials(request, &rest[..2])?);
            options = &rest[2..];
        } else if option.eq_ignore_ascii_case(b"SETNAME") && !rest.is_empty() {
            asked.name = Some(request[rest[0].clone()].to_vec());
            options = &rest[1..];
        } else {
            return None;
        }
    }
    Some(asked)
}
