//! A MULTI .. EXEC that has arrived complete goes down the lane as one block, where every command in it could go there
//! alone: client libraries' pipelines are such blocks by default, and would each cost an own connection. Nothing comes
//! between its commands, since they leave in one piece. Its writes are in flight until EXEC's reply.

use std::ops::Range;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Replies, Session};
use crate::command::{self, Class, Row};
use crate::resp::downgrade::Shape;
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::{ExecBlock, Keys, Op};

/// A command inside the block: its place in the input, its arguments there, and its row.
struct Queued {
    at: Range<usize>,
    args: Vec<Range<usize>>,
    row: &'static Row,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sends the block at the start of `input`, whose MULTI takes `end` bytes; the bytes taken, if it is one.
    pub(super) fn take_block(&mut self, input: &[u8], end: usize) -> Option<usize> {
        let fit = !self.dedicated
            && self.replies == Replies::On
            && self.partial.is_none()
            && self.on_lane();
        let (queued, exec) = fit.then(|| find_block(input, end)).flatten()?;
        self.silent = false;
        if self.turns_writes_away(queued.len() + 2) {
            return Some(exec.end);
        }
        self.flush_deferred();
        self.silent = false;
        self.begin(command::find(b"MULTI"), &[], &[]);
        self.queue(&input[..end], false, None, Shape::Generic, Op::Relay);
        let mut block = ExecBlock::default();
        let mut hashes = Vec::new();
        let mut elsewhere = false;
        for Queued { at, args, row } in &queued {
            let request = &input[at.clone()];
            if matches!(row.class, Class::LaneWrite) {
                self.note_write(row, request, args);
                // All of them can be told: `find_block` has seen to it.
                hashes.extend(self.begin_write(row, request, args).unwrap_or_default());
                elsewhere |= self.reaches_elsewhere(row, args);
            }
            block.shapes.push(row.shape(args.len()));
            self.begin(Some(row), request, args);
            self.queue(request, false, None, Shape::Generic, Op::Relay);
        }
        block.keys = Keys::of(hashes, elsewhere);
        self.begin(command::find(b"EXEC"), &[], &[]);
        let op = Op::Exec(Arc::new(block));
        self.queue(&input[exec.clone()], false, None, Shape::Generic, op);
        Some(exec.end)
    }
}

/// The commands behind a MULTI that takes `end` bytes, and the place of their EXEC, if all are there and fit for the lane.
fn find_block(input: &[u8], end: usize) -> Option<(Vec<Queued>, Range<usize>)> {
    let mut queued = Vec::new();
    let mut scanner = RequestScanner::default();
    let mut at = end;
    loop {
        let Ok(Scanned::Request { end }) = scanner.scan(&input[at..]) else {
            return None;
        };
        let (request, args) = (&input[at..at + end], scanner.args());
        let row = command::of(request, args)?;
        match row.class {
            Class::Exec if args.len() == 1 => return Some((queued, at..at + end)),
            Class::Get | Class::Mget | Class::LaneRead | Class::LaneWrite
                if row.takes(args.len()) && row.written(request, args).is_some() =>
            {
                queued.push(Queued {
                    at: at..at + end,
                    args: args.to_vec(),
                    row,
                });
            }
            _ => return None,
        }
        at += end;
        scanner.reset();
    }
}
