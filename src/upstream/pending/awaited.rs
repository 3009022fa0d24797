//! Commands whose replies are to come, in order. Those of one session that stand right behind each other and differ in
//! their keys alone are kept as one: a pipeline costs one record, and not one for each.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use super::{Attempt, Extra, Keys, Op, Pending, Terms};

/// Keys of alike commands for which room is made at once.
const PIPELINE: usize = 15;

/// Commands that stand right behind a [`Pending`] and are alike but for their keys.
#[derive(Debug, Default)]
pub struct Further {
    count: usize,
    /// The hashes of their keys, where the first command's is known; before those, of commands that are gone.
    keys: Vec<u64>,
}

impl Further {
    /// The hashes of their keys, or nothing.
    #[inline]
    pub(super) fn keys(&self) -> &[u64] {
        &self.keys[self.keys.len().saturating_sub(self.count)..]
    }

    pub(super) fn forget_keys(&mut self) {
        self.keys = Vec::new();
    }
}

impl Pending {
    /// How many commands it stands for.
    #[inline]
    #[must_use]
    pub fn commands(&self) -> usize {
        1 + self.further.count
    }

    /// Takes in a command that its session sends right behind it, if they are alike; whether they were. `reads` and `op` are
    /// as they would stand in its own record, which needs nothing else.
    #[inline]
    #[must_use]
    pub fn takes_in(&mut self, terms: &Terms, reads: Option<u64>, op: &Op) -> bool {
        let key = match (&self.op, op) {
            (Op::Relay, Op::Relay) if self.reads.is_some() == reads.is_some() => reads,
            (Op::Write(Keys::One(_)), Op::Write(Keys::One(hash))) => Some(*hash),
            (Op::Write(keys), Op::Write(further)) if keys.is_none() && further.is_none() => None,
            _ => return false,
        };
        if self.terms != *terms
            || terms.told
            || terms.attempt == Attempt::Second
            || !self.extra.is_empty()
        {
            return false;
        }
        self.further.count += 1;
        if let Some(key) = key {
            if self.further.keys.capacity() == 0 {
                self.further.keys.reserve(PIPELINE);
            }
            self.further.keys.push(key);
        }
        true
    }

    /// The hashes of the keys of the first so many of the commands behind the first, or nothing.
    #[inline]
    pub(in crate::upstream) fn further_keys(&self, commands: usize) -> &[u64] {
        let keys = self.further.keys();
        &keys[..keys.len().min(commands)]
    }

    /// The commands that it stands for, each by itself.
    pub(in crate::upstream) fn each(self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        iter::from_fn(move || {
            let first = rest.as_mut()?.part();
            first.or_else(|| rest.take())
        })
    }

    /// Takes out the first of its commands, if others are left then.
    fn part(&mut self) -> Option<Self> {
        if self.further.count == 0 {
            return None;
        }
        let op = match &self.op {
            Op::Write(Keys::One(hash)) => Op::Write(Keys::One(*hash)),
            Op::Write(_) => Op::Write(Keys::Many(Box::default())),
            Op::Refused(error) => Op::Refused(Arc::clone(error)),
            // The others take nothing in.
            _ => Op::Relay,
        };
        let session = self.session.clone();
        let first = Self {
            given_up: self.given_up,
            ..Self::new(session, self.terms, self.reads, op, Extra::default())
        };
        self.advance(1);
        Some(first)
    }

    /// Goes on to the command behind its first so many, which are fewer than it stands for.
    #[inline]
    fn advance(&mut self, commands: usize) {
        let key = self.further.keys().get(commands - 1).copied();
        self.further.count -= commands;
        if let Some(key) = key {
            match &mut self.op {
                Op::Write(Keys::One(hash)) => *hash = key,
                _ => self.reads = Some(key),
            }
        }
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Awaited {
    queue: VecDeque<Pending>,
    commands: usize,
}

impl Awaited {
    /// How many commands there are.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The first command; those that it has taken in are not looked at.
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<&Pending> {
        self.queue.front()
    }

    /// The same, to be changed: not where it has taken others in.
    pub fn front_mut(&mut self) -> Option<&mut Pending> {
        self.queue.front_mut()
    }

    /// The first command, taken out by itself.
    pub fn pop(&mut self) -> Option<Pending> {
        let first = self.queue.front_mut()?.part();
        self.commands -= 1;
        first.or_else(|| self.queue.pop_front())
    }

    /// Takes out the first so many of those that the front stands for.
    #[inline]
    pub fn pass(&mut self, commands: usize) {
        if let Some(front) = self.queue.front_mut() {
            self.commands -= commands;
            if commands < front.commands() {
                front.advance(commands);
            } else {
                self.queue.pop_front();
            }
        }
    }

    /// What is alike stands together.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.queue.iter_mut()
    }

    /// Each command by itself.
    pub fn into_each(self) -> impl Iterator<Item = Pending> {
        self.queue.into_iter().flat_map(Pending::each)
    }

    /// Puts one behind the others.
    pub fn push(&mut self, pending: Pending) {
        self.commands += pending.commands();
        self.queue.push_back(pending);
    }

    /// Puts others behind those that there are.
    pub fn append(&mut self, others: &mut Self) {
        self.commands += std::mem::take(&mut others.commands);
        self.queue.append(&mut others.queue);
    }
}

impl Extend<Pending> for Awaited {
    fn extend<I: IntoIterator<Item = Pending>>(&mut self, others: I) {
        for pending in others {
            self.push(pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::downgrade::Shape;
    use crate::upstream::NO_KEYSPACE;

    /// What a command is known by: its kind, its key, when it was sent, and whether it may be sent again or is told of.
    type Known = (u8, Option<u64>, u64, Attempt, bool);

    fn command((kind, key, sent_us, attempt, told): Known) -> (Terms, Option<u64>, Op) {
        let terms = Terms {
            sent_us,
            keyspace: NO_KEYSPACE,
            shape: Shape::Generic,
            attempt,
            resp2: true,
            silent: false,
            told,
        };
        match (kind, key) {
            (0, key) => (terms, key, Op::Relay),
            (1, Some(hash)) => (terms, None, Op::Write(Keys::One(hash))),
            (1, None) => (terms, None, Op::Write(Keys::Many(Box::default()))),
            (2, _) => (terms, None, Op::Write(Keys::Any)),
            _ => (terms, None, Op::Probe),
        }
    }

    fn alone(one: Known) -> Pending {
        let (terms, reads, op) = command(one);
        Pending::new(None, terms, reads, op, Extra::default())
    }

    fn known(pending: &Pending) -> Known {
        let kind = match &pending.op {
            Op::Relay => 0,
            Op::Write(Keys::Any) => 2,
            Op::Write(_) => 1,
            _ => 3,
        };
        let key = match &pending.op {
            Op::Write(Keys::One(hash)) => Some(*hash),
            _ => pending.reads,
        };
        let terms = pending.terms;
        (kind, key, terms.sent_us, terms.attempt, terms.told)
    }

    fn commands() -> impl Strategy<Value = Vec<Known>> {
        let attempt = prop_oneof![
            8 => Just(Attempt::First),
            4 => Just(Attempt::Only),
            1 => Just(Attempt::Second),
        ];
        let kind = prop_oneof![8 => Just(0_u8), 8 => Just(1), 1 => Just(2), 1 => Just(3)];
        let key = prop_oneof![9 => (1..1000_u64).prop_map(Some), 1 => Just(None)];
        let told = prop_oneof![15 => Just(false), 1 => Just(true)];
        let one = (kind, key, 1..3_u64, attempt, told);
        let alike = (one, 1..20_usize, 1..1000_u64);
        let alike = alike.prop_map(|(one, count, from)| {
            let nth = |n| (one.0, one.1.map(|_| from + n as u64), one.2, one.3, one.4);
            (0..count).map(nth).collect::<Vec<_>>()
        });
        proptest::collection::vec(alike, 0..8).prop_map(|parts| parts.concat())
    }

    /// As a session queues them.
    fn batch(commands: &[Known]) -> Vec<Pending> {
        let mut batch: Vec<Pending> = Vec::new();
        for &one in commands {
            let (terms, reads, op) = command(one);
            let last = batch.last_mut();
            if !last.is_some_and(|last| last.takes_in(&terms, reads, &op)) {
                batch.push(alone(one));
            }
        }
        batch
    }

    proptest! {
        /// However they are taken out, they are the commands that were put in, in their order.
        #[test]
        fn nothing_is_lost_by_being_kept_together(
            commands in commands(),
            steps in proptest::collection::vec(0..12_usize, 0..100),
        ) {
            let each: Vec<Known> = commands.iter().map(|&one| known(&alone(one))).collect();
            let mut expected = VecDeque::from(each.clone());
            let mut awaited = Awaited::default();
            awaited.extend(batch(&commands));
            for step in steps {
                prop_assert_eq!(awaited.commands(), expected.len());
                prop_assert_eq!(awaited.front().map(known), expected.front().copied());
                let Some(front) = awaited.front() else {
                    break;
                };
                if step == 0 {
                    let popped = awaited.pop();
                    prop_assert_eq!(popped.as_ref().map(Pending::commands), Some(1));
                    prop_assert_eq!(popped.as_ref().map(known), expected.pop_front());
                    continue;
                }
                let some = step.min(front.commands());
                let keys: Vec<u64> = expected.range(1..some).filter_map(|one| one.1).collect();
                prop_assert_eq!(front.further_keys(some - 1), keys);
                awaited.pass(some);
                expected.drain(..some);
            }
            let mut others = Awaited::default();
            others.extend(batch(&commands));
            expected.extend(each);
            awaited.append(&mut others);
            prop_assert_eq!((awaited.commands(), others.commands()), (expected.len(), 0));
            let rest: Vec<Known> = awaited.into_each().map(|one| known(&one)).collect();
            prop_assert_eq!(rest, Vec::from(expected));
        }
    }

    #[test]
    fn a_pipeline_of_one_command_is_one_record() {
        let reads: Vec<Known> = (1..=16)
            .map(|key| (0, Some(key), 1, Attempt::First, false))
            .collect();
        let batch = batch(&reads);
        assert_eq!(
            batch.iter().map(Pending::commands).collect::<Vec<_>>(),
            [16]
        );
    }
}
