//! Cache control: invalidation by hand, statistics and hot keys, for the side port and for NEARSIDE alike.
//!
//! L1 knows a reply's keys by their hashes alone; here the command table is asked for them. What takes long, a pattern
//! over everything that is held, or a word to the whole fleet, is carried out on the side port's runtime, a step at a
//! time: a session orders it, and is woken when it is done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::command;
use crate::l1::{Cursor, Known, L1, glob};
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::lanes::Lanes;
use crate::upstream::mailbox::Mailbox;

pub mod slow_log;
pub mod statistics;
pub mod tree;
pub mod upstreams;

/// Orders that may wait.
const WAITING: usize = 1024;

/// What is to be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// What hangs on these keys.
    Keys(Vec<Vec<u8>>),
    /// What hangs on keys that one of these patterns fits.
    Patterns(Vec<Vec<u8>>),
    /// Everything.
    All,
}

/// Where it is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In this nearside.
    Local,
    /// In every nearside of the fleet.
    Fleet,
}

/// What an invalidation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Entries that were dropped here.
    pub dropped: u64,
    /// How many nearsides were told, this one included; only of the fleet.
    pub nearsides: Option<u64>,
}

/// What reaches the other nearsides of the fleet.
pub trait Fleet: Send + Sync {
    /// Tells all of them, this one included, and says how many were listening. It ends within a bounded time.
    ///
    /// # Errors
    /// One line on why they could not be told; some may have been.
    fn tell<'a>(
        &'a self,
        target: &'a Target,
    ) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + 'a>>;
}

/// Why what is meant for the fleet is refused where there is none.
pub const NO_FLEET: &str =
    "this nearside is in no fleet; set name in [fleet], the same for all that belong together";

/// See the module's header.
pub struct Control {
    lanes: Arc<Lanes>,
    fleet: Option<Box<dyn Fleet>>,
    orders: mpsc::Sender<Order>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// What a session wants to have carried out.
struct Order {
    target: Target,
    scope: Scope,
    done: oneshot::Sender<Result<Done, String>>,
    session: Arc<Mailbox>,
}

/// What sessions have ordered, to be carried out by [`Orders::serve`].
pub struct Orders(mpsc::Receiver<Order>);

/// What will come of an order.
pub type Ordered = oneshot::Receiver<Result<Done, String>>;

impl Control {
    /// Of the L1 of these lanes, with the way to the fleet, if there is one.
    #[must_use]
    pub fn new(lanes: &Arc<Lanes>, fleet: Option<Box<dyn Fleet>>) -> (Arc<Self>, Orders) {
        let (orders, waiting) = mpsc::channel(WAITING);
        let lanes = Arc::clone(lanes);
        let control = Arc::new(Self {
            lanes,
            fleet,
            orders,
        });
        (control, Orders(waiting))
    }

    /// The L1 that it controls.
    #[must_use]
    pub fn l1(&self) -> &Arc<L1> {
        self.lanes.l1()
    }

    /// The lanes that fill it.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Whether there is a fleet.
    #[must_use]
    pub fn has_fleet(&self) -> bool {
        self.fleet.is_some()
    }

    /// Drops here at once what a session may drop in its own thread; `None` for a pattern.
    #[must_use]
    pub fn drop_now(&self, target: &Target) -> Option<u64> {
        match target {
            Target::Keys(keys) => Some(keys.iter().map(|key| self.l1().drop_by_hand(key)).sum()),
            Target::All => Some(self.l1().clear_by_hand()),
            Target::Patterns(_) => None,
        }
    }

    /// Drops here.
    pub async fn drop_here(&self, target: &Target) -> u64 {
        if let Some(dropped) = self.drop_now(target) {
            return dropped;
        }
        let Target::Patterns(patterns) = target else {
            return 0;
        };
        let fits = |key: &[u8]| patterns.iter().any(|pattern| glob::matches(pattern, key));
        self.l1().begin_drop_by_pattern();
        let (mut walk, mut dropped) = (Cursor::default(), 0);
        while let Some(known) = self.l1().walk(&mut walk) {
            for known in known {
                dropped += self.drop_fitting(&known, &fits);
            }
            tokio::task::yield_now().await;
        }
        dropped
    }

    /// Drops those keys of an entry that fit; the entries that went. One that hangs on several keys is void with any
    /// of them, and is cleared away when it is next looked up.
    fn drop_fitting(&self, known: &Known, fits: &impl Fn(&[u8]) -> bool) -> u64 {
        match known {
            Known::Value(key) if fits(key) => self.l1().drop_named(key),
            Known::Value(_) => 0,
            Known::Reply(request) => keys_of(request)
                .into_iter()
                .filter(|key| fits(key))
                .map(|key| self.l1().drop_named(key))
                .sum(),
        }
    }

    /// Drops here, and has the rest of the fleet do so, as the scope says.
    ///
    /// # Errors
    /// One line on why the fleet could not be told. What is here has been dropped all the same, where there is a fleet.
    pub async fn invalidate(&self, target: &Target, scope: Scope) -> Result<Done, String> {
        let fleet = match (scope, &self.fleet) {
            (Scope::Local, _) => None,
            (Scope::Fleet, Some(fleet)) => Some(fleet),
            (Scope::Fleet, None) => return Err(NO_FLEET.to_owned()),
        };
        let dropped = self.drop_here(target).await;
        let nearsides = match fleet {
            Some(fleet) => {
                let told = fleet.tell(target).await;
                Some(told.map_err(|error| format!("{error}; only here it was dropped"))?)
            }
            None => None,
        };
        Ok(Done { dropped, nearsides })
    }

    /// The same, for a session, which is woken when it is done. `None` where too many wait.
    #[must_use]
    pub fn order(&self, target: Target, scope: Scope, session: &Arc<Mailbox>) -> Option<Ordered> {
        let (done, ordered) = oneshot::channel();
        let session = Arc::clone(session);
        let order = Order {
            target,
            scope,
            done,
            session,
        };
        self.orders.try_send(order).ok()?;
        Some(ordered)
    }
}

impl Orders {
    /// Carries out what is ordered, for as long as there are sessions.
    pub async fn serve(mut self, control: Arc<Control>) {
        while let Some(order) = self.0.recv().await {
            let control = Arc::clone(&control);
            tokio::spawn(async move {
                let done = control.invalidate(&order.target, order.scope).await;
                // A session that has ended wants to know nothing.
                let _ = order.done.send(done);
                order.session.wake();
            });
        }
    }
}

/// The keys that a whole request names.
fn keys_of(request: &[u8]) -> Vec<&[u8]> {
    let mut scanner = RequestScanner::default();
    if !matches!(scanner.scan(request), Ok(Scanned::Request { .. })) {
        return Vec::new();
    }
    let args = scanner.args();
    let keys = command::of(request, args).and_then(|row| row.keys(request, args));
    keys.map_or_else(Vec::new, |keys| {
        keys.map(|at| &request[args[at].clone()]).collect()
    })
}
