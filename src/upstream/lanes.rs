//! The lanes of the process: one for each identity and database, at a time.
//!
//! ```text
//!   seat() --> current lane of (identity, db) --idle for `lane_idle`, no seats--> closed
//!                 | oldest reply older than `lane_overdue`
//!                 v
//!              retired: sessions with nothing outstanding take a seat on a fresh one;
//!                       ends when its replies have come, or their timeout has passed
//! ```
//!
//! A session holds a [`Seat`] on its lane. What concerns all lanes goes through here: the breaker of their node,
//! what its handshake said, the passwords it accepted, and [`Lanes::settle`], which sends a marker down every lane
//! that is up, so that a write's keys stay in flight until each lane has read the pushes for it.
//!
//! A lane that is not up needs no marker: its part of L1 is empty or frozen, without the write's keys, and whatever it
//! reads, it reads after the write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::audit::Auditor;
use super::buffers::Buffers;
use super::connect::{Hello, ping};
use super::identity::{Accepts, Identity, LaneKey};
use super::lane::Lane;
use super::large::LargeKeys;
use super::mailbox::Mailbox;
use super::node::Node;
use super::settings::{Address, Credentials, Endpoint, Settings};
use super::tls::{self, Connector};
use crate::command::Row;
use crate::command::learned::Learned;
use crate::l1::{L1, Rule, Settling};
use crate::telemetry::Telemetry;
use crate::telemetry::clock::{millis, now_ms};

mod commands;
mod seats;

use seats::Registry;
pub use seats::Seat;

/// Which lanes are up beside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// None.
    Nobody,
    /// Of other databases alone.
    OtherDatabases,
    /// Also of its own.
    SameDatabase,
}

/// See the module's header.
#[derive(Debug)]
pub struct Lanes {
    endpoint: Endpoint,
    tls: Mutex<Option<Arc<Connector>>>,
    /// nearside's own credentials, as last read.
    ours: Mutex<Option<Credentials>>,
    settings: Settings,
    l1: Arc<L1>,
    telemetry: Arc<Telemetry>,
    /// Keys to be read over own connections.
    pub large: Arc<LargeKeys>,
    /// What all clients' buffers hold.
    pub buffers: Arc<Buffers>,
    /// What the upstream has accepted.
    pub accepts: Accepts,
    node: Arc<Node>,
    auditor: Arc<Auditor>,
    /// The node is being watched.
    watched: AtomicBool,
    hello: Mutex<Arc<Hello>>,
    learned: Mutex<Arc<Learned>>,
    /// Modules' reads that the operator vouches for and the upstream has.
    module_reads: Mutex<Vec<&'static Row>>,
    /// The upstream has no expiries of hash fields.
    no_field_ttls: AtomicBool,
    registry: Mutex<Registry>,
    up: Mutex<Vec<Arc<Lane>>>,
    up_count: AtomicUsize,
    nobody: Arc<Mailbox>,
}

impl Lanes {
    /// The lanes to `endpoint`; none is opened yet.
    ///
    /// # Errors
    /// One line on what is wrong with the files that the endpoint names.
    pub fn new(
        endpoint: Endpoint,
        settings: Settings,
        l1: Arc<L1>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, String> {
        let node = Arc::new(Node::new(endpoint.address.clone(), &settings));
        let buffers = Arc::new(Buffers::new(settings.max_buffer_bytes));
        let tls = Mutex::new(read_tls(&endpoint)?.map(Arc::new));
        let ours = Mutex::new(read_ours(&endpoint)?);
        Ok(Arc::new(Self {
            auditor: Arc::new(Auditor::new(settings.audit)),
            tls,
            ours,
            endpoint,
            settings,
            l1,
            telemetry,
            large: Arc::default(),
            buffers,
            accepts: Accepts::default(),
            node,
            watched: AtomicBool::new(false),
            hello: Mutex::default(),
            learned: Mutex::default(),
            module_reads: Mutex::default(),
            no_field_ttls: AtomicBool::new(false),
            registry: Mutex::default(),
            up: Mutex::default(),
            up_count: AtomicUsize::new(0),
            nobody: Arc::default(),
        }))
    }

    /// Reads certificates and password again, since they may have been renewed; what cannot be read stays as it was.
    pub(super) fn read_files(&self) {
        let failed = |error: String| tracing::warn!(error, "a file was not read again");
        match read_tls(&self.endpoint) {
            Ok(tls) => *self.tls.lock() = tls.map(Arc::new),
            Err(error) => failed(error),
        }
        match read_ours(&self.endpoint) {
            Ok(ours) => *self.ours.lock() = ours,
            Err(error) => failed(error),
        }
    }

    /// What TLS is spoken with, if it is.
    pub(super) fn tls(&self) -> Option<Arc<Connector>> {
        self.tls.lock().clone()
    }

    /// What is told of the work.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The upstream.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The settings of the way there.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The L1 that they keep.
    #[must_use]
    pub fn l1(&self) -> &Arc<L1> {
        &self.l1
    }

    /// Where replies go that nobody waits for; those are to be silent.
    #[must_use]
    pub fn nobody(&self) -> &Arc<Mailbox> {
        &self.nobody
    }

    /// Their node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What decides on which hits are audited, and counts what came of it.
    #[must_use]
    pub fn auditor(&self) -> &Arc<Auditor> {
        &self.auditor
    }

    /// Has the node watched on that runtime, which has to last as long as they do; once for all.
    pub fn watch(self: &Arc<Self>, on: &Handle) {
        if self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let lanes = Arc::downgrade(self);
        on.spawn(Arc::clone(&self.node).watch(move || {
            let lanes = lanes.upgrade();
            async move {
                match lanes {
                    Some(lanes) => ping(&lanes).await,
                    None => Ok(()),
                }
            }
        }));
    }

    /// What the server said of itself when a lane was last connected; empty before the first.
    #[must_use]
    pub fn hello(&self) -> Arc<Hello> {
        Arc::clone(&self.hello.lock())
    }

    /// The place of clients that send neither AUTH nor SELECT.
    #[must_use]
    pub fn base(&self) -> LaneKey {
        LaneKey {
            identity: Identity::Ours,
            db: self.endpoint.db,
        }
    }

    /// What to authenticate with.
    #[must_use]
    pub fn credentials(&self, identity: &Identity) -> Option<Credentials> {
        match identity {
            Identity::Ours => self.ours.lock().clone(),
            Identity::User(user) => self.accepts.credentials(user),
        }
    }

    /// The identity of a user and password that the upstream has accepted lately, if a lane of it is up.
    #[must_use]
    pub fn known(&self, credentials: &Credentials) -> Option<Identity> {
        let within = millis(self.l1.settings().entry_max_ttl);
        let identity = self.accepts.known(credentials, now_ms(), within)?;
        let registry = self.registry.lock();
        let mut current = registry.current.iter();
        current
            .any(|(key, lane)| key.identity == identity && lane.is_up())
            .then_some(identity)
    }

    /// A lane has ended.
    pub(super) fn ended(&self) {
        self.registry.lock().alive -= 1;
    }

    /// A lane is up: from now on it is sent the markers.
    pub(super) fn went_up(&self, lane: &Arc<Lane>, hello: Hello) {
        self.node.has_role(&hello.role);
        *self.hello.lock() = Arc::new(hello);
        let mut up = self.up.lock();
        up.push(Arc::clone(lane));
        self.up_count.store(up.len(), Ordering::SeqCst);
    }

    /// A lane is up no more; its part of L1 is empty or frozen.
    pub(super) fn went_down(&self, lane: &Arc<Lane>) {
        let mut up = self.up.lock();
        up.retain(|other| !Arc::ptr_eq(other, lane));
        self.up_count.store(up.len(), Ordering::SeqCst);
    }

    /// How many lanes are up.
    #[must_use]
    pub fn up_count(&self) -> usize {
        self.up_count.load(Ordering::SeqCst)
    }

    /// How many lanes are up whose reads the server tracks, so that L1 serves, and how many others.
    #[must_use]
    pub fn tracked(&self) -> (usize, usize) {
        let up = self.up.lock();
        let tracked = up.iter().filter(|lane| lane.space().is_tracked()).count();
        (tracked, up.len() - tracked)
    }

    /// Since when, at `now`, the lane that was heard longest ago was not heard, in milliseconds; `None` where none is up.
    #[must_use]
    pub fn proof_age(&self, now: u64) -> Option<u64> {
        let up = self.up.lock();
        let proofs = up.iter().filter_map(|lane| lane.space().proof());
        proofs.min().map(|proof| now.saturating_sub(proof))
    }

    /// The time up to which what is served stale at `now` was true, both in milliseconds of the boot clock, if something
    /// may be; of several lanes, that of the one that was heard longest ago.
    #[must_use]
    pub fn stale_since(&self, now: u64) -> Option<u64> {
        let (_, longest) = self.l1.keyspaces().stale()?;
        let registry = self.registry.lock();
        let spaces = registry.current.values().filter_map(|lane| lane.stale());
        let since = spaces.filter_map(|space| self.l1.true_until(&space));
        since
            .filter(|since| now.saturating_sub(*since) <= longest)
            .min()
    }

    /// Which lanes are up beside one.
    pub(super) fn beside(&self, lane: &Arc<Lane>) -> Beside {
        if self.up_count() == 1 {
            return Beside::Nobody;
        }
        let up = self.up.lock();
        let db = lane.key().db;
        if up
            .iter()
            .any(|other| !Arc::ptr_eq(other, lane) && other.key().db == db)
        {
            Beside::SameDatabase
        } else {
            Beside::OtherDatabases
        }
    }

    /// Sends a marker that holds `settling`, of writes that were sent down a lane, down every other lane that may hold
    /// a push for them back.
    pub(super) fn settle_beside(&self, settling: &Arc<Settling>, sent: &Arc<Lane>) {
        if self.l1.knocked_out(Rule::OtherLanes) {
            return;
        }
        let reach = settling.reach(sent.key().db);
        let up = self.up.lock();
        for lane in up
            .iter()
            .filter(|lane| !Arc::ptr_eq(lane, sent) && lane.is_in(reach))
        {
            lane.mark(Some(Arc::clone(settling)), None);
        }
    }

    /// Sends a marker down every lane that may hold a push for `settling`, of writes sent to `db`, back; each holds it,
    /// and the one down `fence`'s lane lifts the fence of its session.
    pub fn settle(
        &self,
        settling: &Arc<Settling>,
        db: u32,
        fence: Option<(&Arc<Lane>, &Arc<Mailbox>)>,
    ) {
        let reach = settling.reach(db);
        let up = self.up.lock();
        let mut fenced = fence.is_none();
        for lane in up.iter().filter(|lane| lane.is_in(reach)) {
            let session = fence
                .filter(|(own, _)| Arc::ptr_eq(own, lane))
                .map(|(_, session)| Arc::clone(session));
            fenced |= session.is_some();
            lane.mark(Some(Arc::clone(settling)), session);
        }
        if let Some((lane, session)) = fence
            && !fenced
        {
            lane.mark(None, Some(Arc::clone(session)));
        }
    }

    /// The error for what cannot be sent: that the circuit is open, or else one that gives `reason`. That nobody has given a
    /// password is for the client to mend, and is told in the upstream's own words.
    #[must_use]
    pub fn error(&self, reason: &str) -> String {
        let plain = || match reason {
            // The handshake is told more, which is not the client's concern.
            reason if reason.starts_with("NOAUTH") => "NOAUTH Authentication required.".to_owned(),
            reason => self.node.error(reason),
        };
        self.node.refusal().unwrap_or_else(plain)
    }

    /// A connection of this generation of the node found that it is no longer what it was: all leave it, and the next ones
    /// resolve its name anew.
    pub fn left(&self, generation: u64) {
        if self.node.left(generation) {
            let upstream = &self.endpoint.address;
            tracing::warn!(%upstream, "the upstream is no longer the server that it was: leaving it");
            for lane in self.up.lock().iter() {
                lane.waker.wake();
            }
        }
    }

    /// Lets go of all lanes; their tasks end with their runtimes.
    pub fn shut(&self) {
        self.registry.lock().current.clear();
        self.up.lock().clear();
    }
}

pub(super) fn read_tls(endpoint: &Endpoint) -> Result<Option<Connector>, String> {
    match (&endpoint.tls, &endpoint.address) {
        (Some(tls), Address::Tcp { host, .. }) => tls::connector(tls, host).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn read_ours(endpoint: &Endpoint) -> Result<Option<Credentials>, String> {
    let Some(file) = &endpoint.password_file else {
        return Ok(endpoint.credentials.clone());
    };
    let text = std::fs::read_to_string(&file.path)
        .map_err(|error| format!("cannot read password_file {}: {error}", file.path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    let user = file.user.clone();
    Ok(Some(Credentials { user, password }))
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
