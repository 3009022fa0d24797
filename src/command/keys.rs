//! Where a command's keys are: Redis's own key specifications, as data, and the walk over a request that they guide.

use std::ops::Range;

use crate::resp::frame::parse_integer;

/// What a command does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Changes it, or may.
    Write,
    /// None of it: it is a channel's name, which only decides the slot.
    Channel,
}

/// Where the search for keys begins. Words are compared in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin<W> {
    /// At this position, the command's name being at 0.
    At(u16),
    /// Behind a word. Nothing is found where the word is not.
    Word {
        /// The word.
        word: W,
        /// Where it is looked for first; from there to the end, or, if negative, from so far before the end to the start.
        from: i16,
        /// Options that come before it, with how many values each takes: a value is not the word.
        options: &'static [(&'static str, u8)],
        /// Where it is given several times, the last one counts.
        last: bool,
    },
    /// Nobody can tell.
    Unknown,
}

/// Which arguments are keys, from where the search began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// From the first to the `last` one behind it, or, if negative, to the one so far before the end; every `step`th.
    Range {
        /// Distance of the last key.
        last: i16,
        /// Distance of two keys.
        step: u16,
        /// With a negative `last`: keys are in the first `1 / limit` of what is left; 0 and 1 for all of it.
        limit: u16,
    },
    /// As many as a number says.
    Count {
        /// Distance of the number.
        number: u16,
        /// Distance of the first key.
        first: u16,
        /// Distance of two keys.
        step: u16,
    },
    /// Nobody can tell.
    Unknown,
}

/// One key specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec<W = &'static str> {
    /// Where the search begins.
    pub begin: Begin<W>,
    /// What is found.
    pub find: Find,
    /// What is done with it.
    pub access: Access,
}

/// That keys cannot be told.
struct Unknown;

impl<W: AsRef<str>> Spec<W> {
    /// The positions, as `(first, end, step)`; an empty range where there are none.
    fn range(
        &self,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Result<(usize, usize, usize), Unknown> {
        let Some(first) = self.begin.position(request, args)? else {
            return Ok((0, 0, 1));
        };
        match self.find {
            Find::Range { last, step, limit } => {
                let back = usize::from(last.unsigned_abs());
                let end = if last >= 0 {
                    first + back + 1
                } else if limit <= 1 {
                    (args.len() + 1).saturating_sub(back)
                } else {
                    let share = args.len().saturating_sub(first) / usize::from(limit);
                    (first + share + 1).saturating_sub(back)
                };
                Ok((first, end.min(args.len()), usize::from(step).max(1)))
            }
            Find::Count {
                number,
                first: behind,
                step,
            } => {
                let text = args.get(first + usize::from(number)).ok_or(Unknown)?;
                let count = parse_integer(&request[text.clone()]).ok_or(Unknown)?;
                let count = usize::try_from(count).map_err(|_| Unknown)?;
                let (from, step) = (first + usize::from(behind), usize::from(step).max(1));
                let end = count
                    .checked_mul(step)
                    .and_then(|length| length.checked_add(from))
                    .filter(|end| count == 0 || *end <= args.len() + (step - 1))
                    .ok_or(Unknown)?;
                Ok((from, end.min(args.len()), step))
            }
            Find::Unknown => Err(Unknown),
        }
    }
}

impl<W: AsRef<str>> Begin<W> {
    fn position(&self, request: &[u8], args: &[Range<usize>]) -> Result<Option<usize>, Unknown> {
        let (word, from, options, last) = match self {
            Self::At(position) => return Ok(Some(usize::from(*position))),
            Self::Unknown => return Err(Unknown),
            Self::Word {
                word,
                from,
                options,
                last,
            } => (word.as_ref().as_bytes(), *from, *options, *last),
        };
        let is = |at: usize, word: &[u8]| request[args[at].clone()].eq_ignore_ascii_case(word);
        let distance = usize::from(from.unsigned_abs());
        if from < 0 {
            let start = (args.len() + 1).saturating_sub(distance);
            let found = (1..start).rev().find(|&at| is(at, word));
            return Ok(found.map(|at| at + 1));
        }
        let mut found = None;
        let mut at = distance;
        while at < args.len() {
            if is(at, word) {
                found = Some(at + 1);
                if !last {
                    break;
                }
                at += 1;
            } else if let Some((_, values)) =
                options.iter().find(|(name, _)| is(at, name.as_bytes()))
            {
                at += usize::from(*values);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// The positions of a request's keys, in the order of the specifications.
#[derive(Debug, Clone)]
pub struct Positions<'a, W = &'static str> {
    request: &'a [u8],
    args: &'a [Range<usize>],
    specs: std::slice::Iter<'a, Spec<W>>,
    written: bool,
    at: usize,
    end: usize,
    step: usize,
}

impl<'a, W: AsRef<str>> Positions<'a, W> {
    /// All keys, or the written ones only; `None` where they cannot all be told.
    pub(super) fn new(
        specs: &'a [Spec<W>],
        request: &'a [u8],
        args: &'a [Range<usize>],
        written: bool,
    ) -> Option<Self> {
        for spec in specs {
            if matches!(spec.find, Find::Range { .. }) && !matches!(spec.begin, Begin::Unknown) {
                continue;
            }
            if wanted(spec.access, written) {
                spec.range(request, args).ok()?;
            }
        }
        Some(Self {
            request,
            args,
            specs: specs.iter(),
            written,
            at: 0,
            end: 0,
            step: 1,
        })
    }
}

fn wanted(access: Access, written: bool) -> bool {
    match access {
        Access::Read => !written,
        Access::Write => true,
        Access::Channel => false,
    }
}

impl<W: AsRef<str>> Iterator for Positions<'_, W> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.at >= self.end {
            let spec = self.specs.next()?;
            if wanted(spec.access, self.written) {
                (self.at, self.end, self.step) =
                    spec.range(self.request, self.args).unwrap_or((0, 0, 1));
            }
        }
        let at = self.at;
        self.at += self.step;
        Some(at)
    }
}
