//! Reads that were lost with their lane and are sent again, once.
//!
//! Only the session's newest command is, and only where it is a read: a later one may have been carried out already, and
//! the read would then tell of it. It goes before anything that the session has queued since. Many that shared one read
//! share the second too, for the lane is not up yet when they ask again.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::asked::Asked;
use super::reads::UnderWay;
use super::route::Way;
use crate::command;
use crate::l1::keyspace::Missed;
use crate::l1::settings::Mode;
use crate::resp::downgrade::Shape;
use crate::resp::encode;
use crate::resp::request::RequestScanner;
use crate::upstream::Op;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether the session would be served by a lane that has brought nothing yet.
    pub(super) fn is_before_lane(&self) -> bool {
        self.l1_on
            && !self.fenced()
            && self.l1.mode() == Mode::On
            && (self.seat.as_ref()).is_some_and(|seat| seat.space().proof().is_none())
    }

    /// Sends the newest read again, if it may still be in time, and if not too much is sent again as it is.
    pub(super) fn read_again(&mut self, due: u64) {
        let request = std::mem::take(&mut self.repeat);
        let queued = (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.batch),
        );
        let alone = queued.1.is_empty() && self.deferred.is_empty() && self.partial.is_none();
        let silent = std::mem::take(&mut self.silent);
        self.again = true;
        self.ask_again(&request, alone, due);
        self.telling.finish();
        self.again = false;
        self.silent = silent;
        let behind = self.bytes.len();
        self.repeated.start += behind;
        self.repeated.end += behind;
        self.bytes.extend(queued.0);
        self.batch.extend(queued.1);
    }

    fn ask_again(&mut self, request: &[u8], alone: bool, due: u64) {
        let mut scanner = RequestScanner::default();
        // It was sent before, so it is whole.
        let whole = scanner.scan(request);
        debug_assert!(whole.is_ok());
        let args = scanner.args();
        let row = command::of(request, args).or_else(|| self.module_read(request, args));
        let asked = match row.and_then(|row| self.way(row.class, row, request, args)) {
            Some(Way::Read(wanted)) if alone => Some(Asked::new(wanted, request, args)),
            _ => None,
        };
        // While the upstream is lost, what was held is as good as what it would say; and nothing is sent.
        if let Some(asked) = asked
            && self.l1.serves_stale()
            && self.lane_idle()
            && self.answer_stale(asked)
        {
            return;
        }
        let in_time = self.now < due;
        if in_time
            && self.is_before_lane()
            && let Some(asked) = asked
            && self.join(
                asked,
                asked.first_read(&self.l1),
                UnderWay::Unsent,
                Missed::NotServing,
            )
        {
            return;
        }
        if !in_time || !self.lanes.node().retries.grant(self.now) {
            let error = self.lanes.error("connection lost before the reply");
            encode::error(&mut self.out, &error);
            self.telling.refuse(&error);
        } else if let Some(asked) = asked {
            self.look_up(asked);
        } else {
            let shape = row.map_or(Shape::Generic, |row| row.shape(args.len()));
            self.queue(request, false, None, shape, Op::Relay);
        }
    }
}
