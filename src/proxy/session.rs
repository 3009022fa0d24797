//! A session: one client connection, from its first byte to its last. Here are its state and its passes.
//!
//! | a pass, in order | in |
//! |---|---|
//! | follows L1's mode | `mode` |
//! | takes what the lane's reader has left | here, `partial` |
//! | takes what has come over the own connection | `link` |
//! | reads from the client | `client` |
//! | goes through the requests in hand | `requests`, or `streaming` where they are passed on before they are whole |
//! | decides on each: down the lane, over the own connection, or answered here | `route` |
//! | foresees what comes back over the own connection | `foresee` |
//! | looks reads up, now or when their turn comes | `reads`, `ahead`, `partial` for an MGET with some keys missing |
//! | has a few of its hits audited | `audit` |
//! | answers reads while the upstream is lost | `stale` |
//! | sends those that miss, as fills where that pays | `fills` |
//! | sends reads again that were lost with their lane | `again` |
//! | sends transactions that fit the lane | `block` |
//! | answers NEARSIDE | `control`, `explain` |
//! | answers what concerns the connection alone | `here`, `place` for who the client is and in which database |
//! | hands its batch to the lane | `queue` |
//! | writes to the client | `client` |
//! | counts its hits, misses and writes | `tally` |
//! | tells how long commands took, and of some what became of them | `telling`, `attention` for which |
//! | ends, if nothing is left to do | `ending` |

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Sleep;

use self::attention::{Attention, Drawn};
use self::link::Bound;
use self::partial::Partial;
use self::reads::Deferred;
use self::tally::Tally;
use self::telling::Telling;
use super::control::Ordered;
use super::own::Own;
use super::registry::Sessions;
use super::settings::{Causality, Settings, Sharing};
use crate::command::Recent;
use crate::l1::hot::Sampler;
use crate::l1::{L1, Rule};
use crate::resp::frame::FrameWalker;
use crate::resp::request::RequestScanner;
use crate::telemetry::clock::{millis, now_ms, now_us};
use crate::telemetry::durations::Label;
use crate::upstream::buffers::Share;
use crate::upstream::flights::Departures;
use crate::upstream::identity::LaneKey;
use crate::upstream::lanes::{Lanes, Seat};
use crate::upstream::mailbox::Mailbox;
use crate::upstream::{NO_KEYSPACE, Pending};

mod again;
mod ahead;
mod asked;
mod attention;
mod audit;
mod block;
mod client;
mod control;
mod ending;
mod explain;
mod fills;
mod foresee;
mod here;
mod link;
mod mode;
mod partial;
mod place;
mod queue;
mod reads;
mod requests;
mod route;
mod spare;
mod stale;
mod streaming;
mod tally;
pub(super) mod telling;

/// Bytes read at a time, from the client or from an own connection.
const CHUNK: usize = 64 * 1024;
/// Unsent bytes above which nothing more is taken in that way.
const STREAM_WINDOW: usize = 256 * 1024;
/// Unsent replies above which nothing is read from an own connection.
const OUTPUT_WINDOW: usize = 256 * 1024;
/// Passes of one poll, after which the other sessions of the thread get their turn.
const PASSES: usize = 16;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Done,
    /// It has to wait for replies that are outstanding.
    Hold,
}

/// What CLIENT REPLY asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    On,
    Off,
    SkipNext,
}

/// See the module's header. A future that ends when the connection does.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the connection"
)]
pub struct Session<S> {
    stream: S,
    id: u64,
    sessions: Arc<Sessions>,
    /// The client has asked for its number, which is that of its own connection: it keeps it, and what concerns the
    /// connection goes there.
    numbered: bool,
    lanes: Arc<Lanes>,
    /// Who the client is, and its database.
    place: LaneKey,
    /// How often the upstream had let the user in when it let this client in.
    let_in: u64,
    /// On the lane of its place; none where there is no room for another lane.
    seat: Option<Seat>,
    l1: Arc<L1>,
    /// It announces its writes to L1, and may be answered from there.
    l1_on: bool,
    /// L1 waits for it to do so, and for the replies to what it has sent unannounced.
    mute: bool,
    /// So many of its lane commands may have unannounced writes among them.
    unannounced: u64,
    /// Every byte goes through as it is, with neither a cache nor shared connections.
    transparent: bool,
    dedicated: bool,
    scripts_by_lane: bool,
    causality: Causality,
    draining: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    resp2: bool,
    name: Option<Vec<u8>>,
    replies: Replies,
    /// The reply of the command in hand is not for the client.
    silent: bool,
    input: Vec<u8>,
    scanner: RequestScanner,
    /// The row of the newest command.
    recent: Recent,
    /// A large request is being passed on.
    streaming: Option<FrameWalker>,
    out: Vec<u8>,
    written: usize,
    /// Lane commands to be submitted at the end of the pass.
    bytes: Vec<u8>,
    batch: Vec<Pending>,
    /// The read of the batch that others may join once it is submitted.
    departures: Departures,
    /// The newest read that was sent, while it may have to be sent again.
    repeat: Vec<u8>,
    /// Where the same stands in `bytes`, of what is not submitted.
    repeated: Range<usize>,
    /// What is sent now was sent before, and lost.
    again: bool,
    sent: u64,
    /// What `sent` was with the newest write.
    wrote: u64,
    answered: u64,
    fences_raised: u64,
    /// Fenced until so many lane replies have ended.
    fenced_until: u64,
    fences_answered: u64,
    /// The client was shown something of what the upstream holds, by others than the lane.
    shown: bool,
    /// It has sent a script down a lane, of whose writes nothing is known before the reply.
    ran_script: bool,
    /// Until this time, in milliseconds of the boot clock, it may have been told what its lane had not shown.
    told: u64,
    deferred: Vec<Deferred>,
    /// Bytes of their requests.
    deferred_bytes: usize,
    /// An MGET whose missing keys are on their way; everything behind it waits.
    partial: Option<Partial>,
    /// No further request is in hand behind the one being taken.
    last_in_hand: bool,
    own: Option<Own>,
    /// What keeps the session on it.
    bound: Bound,
    blocking: bool,
    /// What it writes can no longer be told.
    unseen: bool,
    /// L1 is closed for as long as it lives, because of that.
    closes_l1: bool,
    client_gone: bool,
    closing: bool,
    /// How long the upstream's end is still waited for.
    parting: Option<Pin<Box<Sleep>>>,
    now: u64,
    /// The same in microseconds.
    now_us: u64,
    /// When what the client sent last was read, in microseconds of the boot clock.
    arrived: u64,
    tally: Tally,
    /// The key of the newest read that went over the own connection because its reply is large, and its command.
    large: Option<(Vec<u8>, Label)>,
    /// Key space of a cacheable read that is about to be sent.
    missed: u8,
    sampler: Sampler,
    attention: Attention,
    /// What the command in hand is singled out for.
    drawn: Drawn,
    telling: Telling,
    /// An invalidation that is carried out elsewhere; what comes behind it waits.
    ordered: Option<Ordered>,
    opened: u64,
    peer: Peer,
    idle_timeout: Option<Duration>,
    /// What its buffers count for among all.
    share: Share,
}

/// Both ends of a client's connection, as CLIENT INFO shows them.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The client's.
    pub remote: String,
    /// Ours.
    pub local: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on `stream`; `id` is what CLIENT ID answers.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        stream: S,
        id: u64,
        lanes: Arc<Lanes>,
        sessions: &Arc<Sessions>,
        settings: &Settings,
        draining: Arc<AtomicBool>,
        peer: Peer,
    ) -> Self {
        let now = now_ms();
        let l1 = Arc::clone(lanes.l1());
        let l1_on = l1.enter();
        let place = lanes.base();
        let telling = Telling::new(lanes.telemetry(), id);
        let shares = telling::shares(&lanes);
        let mailbox: Arc<Mailbox> = Arc::default();
        mailbox.heard(now);
        let mut session = Self {
            stream,
            id,
            sessions: Arc::clone(sessions),
            numbered: false,
            l1_on,
            mute: !l1_on,
            unannounced: 0,
            transparent: settings.is_transparent(l1.settings().mode),
            l1,
            dedicated: settings.sharing == Sharing::Dedicated,
            scripts_by_lane: settings.scripts_by_lane,
            causality: settings.causality(),
            seat: None,
            place,
            let_in: 0,
            lanes,
            draining,
            mailbox,
            resp2: true,
            name: None,
            replies: Replies::On,
            silent: false,
            input: Vec::new(),
            scanner: RequestScanner::default(),
            recent: Recent::default(),
            streaming: None,
            out: Vec::new(),
            written: 0,
            bytes: Vec::new(),
            batch: Vec::new(),
            departures: Departures::default(),
            repeat: Vec::new(),
            repeated: 0..0,
            again: false,
            sent: 0,
            wrote: 0,
            answered: 0,
            fences_raised: 0,
            fenced_until: 0,
            fences_answered: 0,
            shown: false,
            ran_script: false,
            told: 0,
            deferred: Vec::new(),
            deferred_bytes: 0,
            partial: None,
            last_in_hand: false,
            own: None,
            bound: Bound::default(),
            blocking: false,
            unseen: false,
            closes_l1: false,
            client_gone: false,
            closing: false,
            parting: None,
            now,
            now_us: now * 1000,
            arrived: now * 1000,
            tally: Tally::default(),
            large: None,
            missed: NO_KEYSPACE,
            sampler: Sampler::new(id),
            attention: Attention::new(id, shares),
            drawn: Drawn::default(),
            telling,
            ordered: None,
            opened: now,
            peer,
            idle_timeout: settings.idle_timeout,
            share: Share::default(),
        };
        if !session.is_transparent() {
            session.seat = session.lanes.seat(&session.place, &Handle::current());
        }
        session
    }

    /// Where a drain wakes the session.
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    fn lane_idle(&self) -> bool {
        self.sent == self.answered && self.deferred.is_empty()
    }

    fn own_idle(&self) -> bool {
        self.own.as_ref().is_none_or(Own::is_idle)
    }

    fn fenced(&self) -> bool {
        let raised = self.fences_answered < self.fences_raised || self.answered < self.fenced_until;
        raised && !self.l1.knocked_out(Rule::Fence)
    }

    fn is_transparent(&self) -> bool {
        self.transparent
    }

    /// One read of the clock for each read of a socket, and one behind each flush.
    fn look_at_clock(&mut self) {
        self.now_us = now_us();
        self.now = self.now_us / 1000;
    }

    /// Takes what the lane's reader has left; whether there was anything.
    fn take_mail(&mut self) -> io::Result<bool> {
        let Some(mut mail) = self.mailbox.take_news() else {
            self.finish_partial()?;
            return Ok(false);
        };
        if let Some(reason) = mail.cut {
            tracing::warn!(session = self.id, reason, "client cut off");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let news = mail.answered != self.answered || !mail.out.is_empty();
        self.telling
            .take(mail.answered - self.answered, &mut mail.notes);
        self.answered = mail.answered;
        self.fences_answered = mail.fences;
        if let Some(partial) = &mut self.partial {
            partial.arrived.append(&mut mail.out);
        } else if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut mail.out);
        } else {
            self.out.append(&mut mail.out);
        }
        self.lanes.buffers.release(&mut mail.share);
        let too_large = std::mem::take(&mut mail.too_large);
        let again = mail.again.take().map(|since| {
            mail.due = since.saturating_add(millis(self.lanes.settings().request_timeout));
            mail.due
        });
        drop(mail);
        if too_large {
            self.telling.take_back(self.now_us);
            self.repeat_on_own();
        }
        if let Some(due) = again {
            self.look_at_clock();
            self.telling.take_back(self.now_us);
            self.read_again(due);
        }
        self.finish_partial()?;
        if news {
            self.mailbox.room.wake();
        }
        Ok(news)
    }

    /// One pass; `None` when there is nothing more to do for now, `Some(true)` when the session is over.
    fn pass(&mut self, cx: &mut Context<'_>) -> io::Result<Option<bool>> {
        self.follow_mode();
        let mut progress = false;
        // While the client is far behind, its next replies stay in the mailbox, where the lane's reader sees them.
        if self.out.len() - self.written <= OUTPUT_WINDOW {
            progress |= self.take_mail()?;
        }
        // Where nothing is in hand, the read looks at the clock, if anything has come.
        let idle = !progress && self.own.is_none() && self.deferred.is_empty();
        if !idle || !self.input.is_empty() || self.telling.has_news() {
            self.look_at_clock();
            self.tell();
        }
        progress |= self.poll_own(cx);
        self.serve_deferred();
        self.closing |= self.is_locked_out();
        progress |= self.process();
        if self.poll_read(cx)? {
            progress = true;
            self.process();
        }
        self.submit();
        self.count();
        progress |= self.poll_write(cx)?;
        self.weigh();
        if self.mailbox.take_idle_check() {
            self.look_at_clock();
            if self.is_idle_for_too_long() {
                return Ok(Some(true));
            }
        }
        if self.client_gone && self.blocking {
            // The server does as it would with its own client: it answers what it can at once, and gives up what waits.
            match &mut self.own {
                Some(own) if self.input.is_empty() => progress |= own.finish(),
                _ => return Ok(Some(true)),
            }
        }
        let drained = self.draining.load(Ordering::Acquire) && !self.bound.is_in_transaction();
        let leaving = self.closing || self.client_gone || drained;
        if leaving && !progress {
            if self.is_settled() {
                return Ok(Some(true));
            }
            progress = self.finish_raw();
            if !progress && self.is_forsaken(cx) {
                return Ok(Some(true));
            }
        } else {
            self.parting = None;
        }
        Ok(progress.then_some(false))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Session<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.get_mut();
        session.mailbox.register(cx.waker());
        for _ in 0..PASSES {
            match session.pass(cx) {
                Ok(Some(false)) => {}
                Ok(Some(true)) | Err(_) => return Poll::Ready(()),
                Ok(None) => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
