//! Settings while they are being put together: every source's values, parsed, with their origins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{admin, allocation, downstream, l1, proxy, telemetry, upstream};

use super::Settings;
use super::cgroup::Limits;
use super::failure::{Failure, Origin};
use super::schema::{Row, Set, Wrong};
use super::{file, keyspaces};

/// One value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// What it says.
    pub(super) text: String,
    /// How to show it in a message: in quotes where it stood in quotes.
    pub(super) shown: String,
}

impl Written {
    /// A string, shown in quotes.
    pub(super) fn quoted(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            shown: format!("{text:?}"),
        }
    }
}

/// What one source says about one key.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Which key.
    pub(super) row: &'static Row,
    /// Where it was set.
    pub(super) origin: Origin,
    /// What it was set to; one value, unless the key takes several.
    pub(super) values: Vec<Written>,
}

/// Settings without an upstream yet. The fields are those of [`Settings`].
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// What `auto` stands for here.
    pub(super) limits: Limits,
    pub(super) upstream: Option<upstream::settings::Choice>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) tls: upstream::settings::Tls,
    pub(super) downstream: downstream::settings::Settings,
    pub(super) proxy: proxy::settings::Settings,
    pub(super) lane: upstream::settings::Settings,
    pub(super) l1: l1::settings::Settings,
    pub(super) admin: admin::settings::Settings,
    pub(super) allocation: allocation::settings::Settings,
    pub(super) telemetry: telemetry::settings::Settings,
    pub(super) keyspaces: Vec<keyspaces::Given>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Draft {
    /// The defaults within these limits.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            upstream: None,
            username: None,
            password_file: None,
            tls: upstream::settings::Tls::default(),
            downstream: downstream::settings::Settings {
                workers: limits.workers(),
                ..Default::default()
            },
            proxy: proxy::settings::Settings::default(),
            lane: upstream::settings::Settings {
                max_buffer_bytes: limits.max_buffer_bytes(),
                ..Default::default()
            },
            l1: l1::settings::Settings {
                max_bytes: limits.l1_max_bytes(),
                ..Default::default()
            },
            admin: admin::settings::Settings::default(),
            allocation: allocation::settings::Settings {
                cpu_millicores: limits.millicores,
                memory_mib: limits.memory_mib(),
                ..Default::default()
            },
            telemetry: telemetry::settings::Settings::default(),
            keyspaces: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    /// Takes a file.
    ///
    /// # Errors
    /// The first value, in the file's order, that is wrong; those of key spaces are judged when all is known.
    pub(super) fn take_file(&mut self, file: file::Contents) -> Result<(), Failure> {
        self.keyspaces = file.keyspaces;
        self.take(file.given)
    }

    /// Takes one source's values; they win over those taken before.
    ///
    /// # Errors
    /// The first value, in the source's order, that is wrong.
    pub(super) fn take(&mut self, source: Vec<Given>) -> Result<(), Failure> {
        for given in source {
            self.take_one(&given)?;
            self.origins.insert(given.row.key, given.origin);
        }
        Ok(())
    }

    fn take_one(&mut self, given: &Given) -> Result<(), Failure> {
        let row = given.row;
        let refuse = |shown: &str, wrong| row.refuse(&given.origin, shown, wrong);
        match (&row.set, given.values.as_slice()) {
            (_, []) => Err(refuse("an empty list", Wrong::Shape)),
            (Set::One(set), [one]) => {
                set(self, &one.text).map_err(|wrong| refuse(&one.shown, wrong))
            }
            (Set::One(_), _) => Err(refuse("a list", Wrong::Shape)),
            (Set::Many { clear, add }, values) => {
                clear(self);
                values.iter().try_for_each(|value| {
                    add(self, &value.text).map_err(|wrong| refuse(&value.shown, wrong))
                })
            }
        }
    }

    /// Where a key was set.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The settings.
    ///
    /// # Errors
    /// No upstream was given, or a key space is wrong.
    pub(super) fn finish(self) -> Result<Settings, Failure> {
        let keyspaces = keyspaces::resolve(&self.keyspaces, &self.l1)?;
        let Some(mut upstream) = self.upstream else {
            return Err(Failure::new(
                "no upstream given: use --upstream, NEARSIDE_UPSTREAM or the key upstream in the \
                 --config file, with redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:/path, or private \
                 for a redis-server of nearside's own",
            ));
        };
        if let upstream::settings::Choice::Endpoint(endpoint) = &mut upstream {
            let user = self.username;
            endpoint.tls = endpoint.tls.take().map(|_| self.tls.clone());
            endpoint.password_file = self
                .password_file
                .map(|path| upstream::settings::PasswordFile { user, path });
        }
        let mut allocation = self.allocation;
        if let Some(ledger) = &mut allocation.ledger.endpoint {
            // The name that is to be proved is the upstream's.
            ledger.tls = ledger.tls.take().map(|_| upstream::settings::Tls {
                server_name: None,
                ..self.tls
            });
        }
        Ok(Settings {
            upstream,
            downstream: self.downstream,
            proxy: self.proxy,
            lane: self.lane,
            l1: l1::settings::Settings {
                keyspaces,
                ..self.l1
            },
            admin: self.admin,
            allocation,
            telemetry: self.telemetry,
        })
    }
}
