//! What is asked once: the question, and its answer for people.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::said::Said;
use super::table;
use super::wire::{Answer, Question, segment};
use crate::allocation::request::{Resource, Scope};
use crate::telemetry::clock::millis;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Take a lease.
    Acquire {
        /// Which.
        ask: Ask,
        /// The idempotency key.
        key: Option<String>,
        /// What has to be waited for is answered with its id.
        asynchronous: bool,
    },
    /// List the leases.
    List,
    /// Show one.
    Show {
        /// Its id.
        id: String,
        /// How long its outcome is waited for.
        wait: Option<Duration>,
    },
    /// Renew one.
    Renew {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
    },
    /// Resize one.
    Resize {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
        /// All that it is to hold.
        resources: Vec<Resource>,
    },
    /// Release one.
    Release {
        /// Its id.
        id: String,
        /// Its fence; `None` for whichever it is.
        fence: Option<u64>,
    },
    /// List the pools.
    Pools,
    /// Make or change one.
    SetPool {
        /// Its name.
        name: String,
        /// How much there is in it.
        capacity: u64,
        /// For whom there is so much.
        scope: Scope,
    },
    /// Take one away.
    DeletePool {
        /// Its name.
        name: String,
    },
}

/// What a lease is to be. What is `None` is left to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// All or nothing.
    pub resources: Vec<Resource>,
    /// How long it lives without being renewed.
    pub ttl: Option<Duration>,
    /// When it ends in any case.
    pub max_lifetime: Option<Duration>,
    /// How long it is waited for.
    pub wait: Option<Duration>,
    /// The greater goes first.
    pub priority: Option<u64>,
    /// It may be asked back.
    pub preemptible: bool,
    /// Who asks.
    pub component: Option<String>,
}

impl Ask {
    /// The body of the request. What was not said is not in it: a server that does not know of it has nothing to refuse then.
    pub(super) fn body(&self) -> Value {
        let mut members = Map::new();
        members.insert("resources".to_owned(), listed(&self.resources));
        let durations = [
            ("ttl_ms", self.ttl),
            ("max_lifetime_ms", self.max_lifetime),
            ("wait_ms", self.wait),
        ];
        let durations = durations
            .into_iter()
            .map(|(name, duration)| (name, duration.map(|duration| Value::from(millis(duration)))));
        let rest = [
            ("priority", self.priority.map(Value::from)),
            ("preemptible", self.preemptible.then_some(Value::Bool(true))),
            ("component", self.component.clone().map(Value::from)),
        ];
        for (name, value) in durations.chain(rest) {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
        Value::Object(members)
    }
}

fn listed(resources: &[Resource]) -> Value {
    let each = resources.iter().map(|one| {
        let unit = one.kind.unit();
        json!({ "type": one.kind.name(), unit: one.amount })
    });
    each.collect()
}

impl Call {
    /// What is asked, and how long the server may wait before it answers.
    pub(super) fn question(&self) -> (Question, Duration) {
        let lease = |id: &str, rest: &str| format!("/v1/allocations/{}{rest}", segment(id));
        let pool = |name: &str| format!("/v1/pools/{}", segment(name));
        let mut patience = Duration::ZERO;
        let question = match self {
            Self::Acquire {
                ask,
                key,
                asynchronous,
            } => {
                if !asynchronous {
                    patience = ask.wait.unwrap_or_default();
                }
                let question =
                    Question::new(Method::POST, "/v1/allocations").with_body(&ask.body());
                let key = key
                    .as_deref()
                    .map(|key| ("idempotency-key", key.to_owned()));
                let prefer = asynchronous.then(|| ("prefer", "respond-async".to_owned()));
                question.with_headers(key.into_iter().chain(prefer))
            }
            Self::List => Question::new(Method::GET, "/v1/allocations"),
            Self::Show { id, wait } => {
                patience = wait.unwrap_or_default();
                let wait = wait.map(|wait| format!("?wait={}ms", millis(wait)));
                Question::new(Method::GET, lease(id, &wait.unwrap_or_default()))
            }
            Self::Renew { id, fence } => {
                Question::new(Method::POST, lease(id, "/renew")).if_match(*fence)
            }
            Self::Resize {
                id,
                fence,
                resources,
            } => Question::new(Method::PATCH, lease(id, ""))
                .if_match(*fence)
                .with_body(&json!({ "resources": listed(resources) })),
            Self::Release { id, fence } => {
                Question::new(Method::DELETE, lease(id, "")).if_match(*fence)
            }
            Self::Pools => Question::new(Method::GET, "/v1/pools"),
            Self::SetPool {
                name,
                capacity,
                scope,
            } => Question::new(Method::PUT, pool(name))
                .with_body(&json!({ "capacity": capacity, "scope": scope.as_str() })),
            Self::DeletePool { name } => Question::new(Method::DELETE, pool(name)),
        };
        (question, patience)
    }

    /// An answer for people.
    pub(super) fn shown(&self, answer: &Answer) -> Result<String, Said> {
        let body = || {
            answer.json().ok_or_else(|| {
                Said::failed("the answer is not JSON; is it a nearside that was asked?")
            })
        };
        Ok(match self {
            Self::List => table::leases(&body()?),
            Self::Pools => table::pools(&body()?),
            Self::SetPool { .. } => table::pool(&body()?),
            Self::Release { id, .. } => format!("{id} is released\n"),
            Self::DeletePool { name } => format!("{name} is deleted\n"),
            Self::Acquire { .. } | Self::Show { .. } | Self::Renew { .. } | Self::Resize { .. } => {
                table::lease(&body()?)
            }
        })
    }
}
