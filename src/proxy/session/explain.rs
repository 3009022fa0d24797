//! NEARSIDE EXPLAIN: where a command would go and whether its reply would be cached, asked of what decides on both.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::{Asked, Wanted};
use super::route::Way;
use crate::command::{self, Cache, Class, Flags, Row};
use crate::l1::Bar;
use crate::l1::settings::{Admit, Mode};
use crate::proxy::control::tree::Tree;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers with what would become of a command that was sent now.
    pub(super) fn explain(&mut self, request: &[u8], args: &[Range<usize>]) {
        let row = command::of(request, args).or_else(|| self.module_read(request, args));
        let class = row.map_or(Class::OwnUnknown, |row| row.class);
        let way = row.filter(|_| self.on_lane() || class == Class::Nearside);
        let way = way.and_then(|row| self.way(class, row, request, args));
        let keys = row.and_then(|row| row.keys(request, args));
        let keys: Vec<&[u8]> = keys.map_or_else(Vec::new, |keys| {
            keys.map(|at| &request[args[at].clone()]).collect()
        });
        let keyspaces = self.l1.keyspaces();
        let keyspace = keys
            .first()
            .map(|key| keyspaces.policy(keyspaces.of(key)).name.clone());
        let (mut cached, mut held) = (false, false);
        let why = match way {
            Some(Way::Read(wanted)) => {
                let asked = Asked::new(wanted, request, args);
                held = self.l1_on && self.has_all(asked).is_ok();
                let bar = self.keeps_out(asked, &keys);
                cached = bar.is_none();
                bar.unwrap_or_else(|| self.comes_in(&keys))
            }
            _ => match row {
                Some(row) => self.not_read(row, class),
                None => self.not_known(&request[args[0].clone()]),
            },
        };
        let name = row.map_or_else(
            || Tree::Bytes(request[args[0].clone()].to_ascii_uppercase()),
            |row| Tree::text(row.name),
        );
        let yes = |yes| Tree::text(if yes { "yes" } else { "no" });
        Tree::map([
            ("command", name),
            ("route", Tree::text(self.route(way, class))),
            (
                "keys",
                Tree::List(keys.iter().map(|key| Tree::Bytes(key.to_vec())).collect()),
            ),
            ("keyspace", Tree::Text(keyspace.unwrap_or_default())),
            ("cached", yes(cached)),
            ("why", Tree::text(why)),
            ("held", yes(held)),
        ])
        .write(&mut self.out, self.resp2);
    }

    fn route(&self, way: Option<Way>, class: Class) -> &'static str {
        match (way, class) {
            (Some(_), _) => "lane",
            (None, Class::Nearside) => "here",
            (None, Class::Client | Class::Select | Class::Auth | Class::Hello | Class::Reset)
                if !self.dedicated =>
            {
                "here, or an own connection where it is not known here"
            }
            (None, _) => "own connection",
        }
    }

    /// Why a command is no read that L1 may answer.
    fn not_read(&self, row: &Row, class: Class) -> &'static str {
        let readable = matches!(class, Class::Get | Class::Mget) || row.cache == Cache::Keyed;
        if !self.l1_on {
            "l1.mode is off"
        } else if row.flags.has(Flags::WRITE) {
            "it writes"
        } else if readable && !self.on_lane() {
            "the session is bound to its own connection, or there is no lane for it"
        } else if readable {
            "it has a wrong number of arguments"
        } else if row.specs.is_empty() {
            "it names no key"
        } else {
            "its reply is not one that hangs on the keys it names alone"
        }
    }

    /// Why a command that is not in the table is no read that L1 may answer.
    fn not_known(&self, name: &[u8]) -> &'static str {
        let names = &self.l1.settings().module_reads;
        if !names
            .iter()
            .any(|one| one.as_bytes().eq_ignore_ascii_case(name))
        {
            "nearside does not know the command"
        } else if !self.l1_on {
            "l1.mode is off"
        } else if self.lanes.module_read(name).is_some() {
            "it has a wrong number of arguments"
        } else {
            "l1.module_reads names it, and the upstream does not say that it is a read, or where its keys are"
        }
    }

    /// What keeps a read from being cached.
    fn keeps_out(&self, asked: Asked<'_>, keys: &[&[u8]]) -> Option<&'static str> {
        let Some(seat) = self.seat.as_ref().filter(|_| self.l1_on) else {
            return Some("l1.mode is off");
        };
        let keyspaces = self.l1.keyspaces();
        let Some(first) = keys.first() else {
            return Some("its keys cannot be told");
        };
        if !matches!(asked.wanted, Wanted::Values) && self.lanes.large.contains(self.l1.hash(first))
        {
            return Some("its key was seen to have a reply larger than large_reply");
        }
        let bar = |key: &&[u8]| {
            let policy = keyspaces.policy(keyspaces.of(key));
            self.l1.bar(seat.space(), self.l1.hash(key), policy)
        };
        let bar = match asked.wanted {
            // Those of its keys that may be are.
            Wanted::Values => {
                let bars: Option<Vec<Bar>> = keys.iter().map(bar).collect();
                bars.and_then(|bars| bars.first().copied())
            }
            Wanted::Value | Wanted::Reply(_) => bar(first),
        };
        if let Some(bar) = bar {
            return Some(why(bar));
        }
        match asked.wanted {
            Wanted::Reply(row) if !self.keeps_all(row, asked.args.len(), keys) => Some(
                "one of its key spaces is not cached, or has hash_field_ttls = \"possible\" and the upstream has such",
            ),
            _ => None,
        }
    }

    /// When a read that may be cached is.
    fn comes_in(&self, keys: &[&[u8]]) -> &'static str {
        let keyspaces = self.l1.keyspaces();
        let admit = keys
            .first()
            .map(|key| keyspaces.policy(keyspaces.of(key)).admit);
        match admit {
            _ if self.l1.mode() == Mode::Shadow => {
                "l1.mode is shadow: it is kept, and the upstream answers"
            }
            Some(Admit::Always) => "on its first read",
            _ => "on its second read within the admission window",
        }
    }
}

fn why(bar: Bar) -> &'static str {
    match bar {
        Bar::Off => "l1.mode is off",
        Bar::Untracked => "the upstream does not track what is read",
        Bar::Policy => "its key space has cache = false",
        Bar::Sample => "its key is not in the share that l1.sample caches",
        Bar::Written => "a write of its key is under way",
        Bar::Poor => "its key changes too often for its fills to pay",
    }
}
