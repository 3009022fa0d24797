//! Spans of what is not an operation of the data path: a request to the side port, a lease.

use std::borrow::Cow;
use std::sync::Arc;

use super::queue::{Place, Queued, Work};
use super::{Traces, ids};
use crate::telemetry::operation::Context;

/// Which side of a request a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Within nearside.
    Internal,
    /// What answers a request.
    Server,
    /// What asks another.
    Client,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Truth(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Whole(number.into())
    }
}

/// What does not fit is told as the most that does.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

/// A span that has ended; times in microseconds of the boot clock.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// What `error.type` is.
    pub(super) error: Option<Cow<'static, str>>,
}

impl Finished {
    pub(super) fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            began: 0,
            ended: 0,
            attributes: Vec::new(),
            error: None,
        }
    }
}

/// A span that goes on. Whether it is sent is decided at its [`end`](Self::end), as for an operation: where it was drawn, or
/// its parent is sampled, or it failed or took long. One that is given up without an end is not told of.
///
/// ```
/// # use nearside::telemetry::{traces::{Traces, span::Kind}, clock::now_us};
/// # fn lease(traces: &std::sync::Arc<Traces>, granted: Result<u64, &'static str>) {
/// let mut span = traces.span("resource.allocate", Kind::Internal, None, now_us());
/// span.set("resource.type", "gpu.memory");
/// span.set("resource.amount", 512_i64);
/// match granted {
///     Ok(lease) => span.set("resource.allocation_id", lease.to_string()),
///     Err(reason) => span.fail(reason),
/// }
/// span.end(now_us());
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a span is told of at its end"]
pub struct Span {
    traces: Arc<Traces>,
    place: Place,
    sampled: bool,
    told: Finished,
}

impl Span {
    /// Begins one.
    pub(super) fn begin(
        traces: &Arc<Traces>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        parent: Option<Context>,
        began: u64,
    ) -> Self {
        Self {
            traces: Arc::clone(traces),
            place: Place {
                trace: parent.map_or_else(ids::trace, |parent| parent.trace),
                span: ids::span(),
                parent: parent.map(|parent| (parent.parent, kind == Kind::Server)),
            },
            sampled: parent.map_or_else(|| ids::drawn(traces.ratio), |parent| parent.sampled),
            told: Finished {
                began,
                ..Finished::new(name, kind)
            },
        }
    }

    /// What a part of it has for its parent, here or in another process.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            trace: self.place.trace,
            parent: self.place.span,
            sampled: self.sampled,
        }
    }

    /// Gives it an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.told.attributes.push((name, value.into()));
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.told.name = name.into();
    }

    /// It failed, in a way that has this name; a name of few, as `error.type` wants it.
    pub fn fail(&mut self, error: impl Into<Cow<'static, str>>) {
        self.told.error = Some(error.into());
    }

    /// Ends it.
    pub fn end(mut self, ended: u64) {
        self.told.ended = ended;
        let took = ended.saturating_sub(self.told.began);
        if self.sampled || self.told.error.is_some() || took >= self.traces.slow {
            let work = Work::Span(self.told);
            self.traces.queue(Queued {
                place: self.place,
                work,
            });
        }
    }
}
