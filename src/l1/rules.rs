//! The coherence rules that a test may knock out, to see that the promise each one keeps then breaks.
//! Without the cargo feature `test-switches` every rule holds and asking costs nothing.

/// A rule of the coherence protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rule {
    /// Fills are put in by the lane's reader, in the order of the stream.
    FillInReader,
    /// What an own connection relayed fences its session.
    Fence,
    /// A key with a write in flight is not filled.
    InFlight,
    /// A write through an own connection is released at its marker, not at its reply.
    Marker,
    /// A write of unknown keys closes L1 until its marker.
    Closure,
    /// An entry ends when its key does.
    Pttl,
    /// A push between a fill's read and its last PTTL refuses the fill.
    PushInFill,
    /// A hit that waited is looked up when its turn comes.
    WaitingHit,
    /// Hits wait only at the tail of a pipeline.
    WaitAtTail,
    /// A null push drops everything.
    NullPush,
    /// No proof of life within `max_staleness`, no hits.
    MaxStaleness,
    /// L1 is dropped when its lane is lost.
    LaneLoss,
    /// A write stays in flight until every other lane of its database has brought its pushes.
    OtherLanes,
    /// Also those of other databases, where the write may change a key there.
    Elsewhere,
    /// What L1 had of an MGET is used only if it was still true when the rest came.
    PartialMget,
    /// A session shares another's read only with nothing outstanding of its own.
    JoinIdle,
    /// No read is shared once its key was dropped or written.
    JoinDropped,
    /// A plain read of a key that was held is put in only if nothing dropped the key since.
    Held,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 18] = [
        Self::FillInReader,
        Self::Fence,
        Self::InFlight,
        Self::Marker,
        Self::Closure,
        Self::Pttl,
        Self::PushInFill,
        Self::WaitingHit,
        Self::WaitAtTail,
        Self::NullPush,
        Self::MaxStaleness,
        Self::LaneLoss,
        Self::OtherLanes,
        Self::Elsewhere,
        Self::PartialMget,
        Self::JoinIdle,
        Self::JoinDropped,
        Self::Held,
    ];
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleSet(u32);

impl RuleSet {
    /// No rule.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// One rule.
    #[must_use]
    pub const fn only(rule: Rule) -> Self {
        Self(1 << rule as u8)
    }

    /// Whether `rule` is in the set; never, outside builds with `test-switches`.
    #[inline]
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        cfg!(feature = "test-switches") && self.0 & (1 << rule as u8) != 0
    }
}
