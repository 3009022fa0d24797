//! Large buffers that the sessions of a thread hand on, so that long pipelines take no memory anew, and clients that
//! are idle hold none.

use std::cell::RefCell;

/// Buffers larger than this are not kept by a session when they are empty.
const KEPT: usize = 16 * 1024;
/// Larger ones are not handed on.
const LARGEST: usize = 256 * 1024;
/// So many are at hand.
const MOST: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Gives a session that holds no buffer one that is at hand.
#[inline]
pub(super) fn take(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        *buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    }
}

/// Takes a large buffer that is empty away from its session.
#[inline]
pub(super) fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() <= KEPT {
        return;
    }
    let buffer = std::mem::take(buffer);
    SPARE.with_borrow_mut(|spare| {
        if buffer.capacity() <= LARGEST && spare.len() < MOST {
            spare.push(buffer);
        }
    });
}
