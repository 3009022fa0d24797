//! NEARSIDE: nearside's own command, answered here.
//!
//! It waits for its turn behind all that is outstanding. A transaction is the upstream's, which does not know the command:
//! inside one it is refused, and the upstream is sent something that it refuses too, so that EXEC fails as it does
//! behind any command that was not queued.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot::error::TryRecvError;

use super::{Flow, Session};
use crate::command::{Class, Row};
use crate::proxy::control::{Done, NO_FLEET, Scope, Target, slow_log, statistics, upstreams};
use crate::proxy::own::Own;
use crate::proxy::own::expected::Expect;
use crate::resp::encode;
use crate::resp::frame::parse_integer;
use crate::telemetry::operation::Context;

/// Hot keys that are told where no number is given.
const HOT_KEYS: usize = 20;

/// Operations that took long which are told where no number is given.
const SLOW: usize = 10;

const HELP: [&str; 31] = [
    "NEARSIDE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "BIGKEYS [<count>]",
    "    Return the keys whose replies were the largest since the start.",
    "EXPLAIN <command> [<arg> ...]",
    "    Say where a command would go, which keys it names, and whether its reply",
    "    would be cached. Nothing is carried out.",
    "HOTKEYS [<count>]",
    "    Return the keys that were read most in the last minute or two, estimated.",
    "INVALIDATE KEY <key> [<key> ...] [FLEET]",
    "    Drop what is cached of these keys, in every database and of every user.",
    "INVALIDATE PATTERN <pattern> [<pattern> ...] [FLEET]",
    "    The same for all keys that one of the patterns fits, as in KEYS.",
    "INVALIDATE ALL [FLEET]",
    "    Drop everything. Returns how many entries were dropped here or, with FLEET",
    "    as the last of several words, how many nearsides of the fleet were told.",
    "SLOWLOG [GET [<count>]]",
    "    Return the newest operations that took long, with where their time went;",
    "    10 where no number is given.",
    "SLOWLOG LEN",
    "    Return how many are kept.",
    "SLOWLOG RESET",
    "    Forget them.",
    "STATS",
    "    Return what the cache has done and holds.",
    "TRACEPARENT <traceparent>",
    "    The next command belongs to this trace, given as the W3C's Trace Context",
    "    has it: 00-<trace id>-<span id>-<flags>.",
    "UPSTREAMS",
    "    Return how the upstream is, and where its circuit breaker stands.",
    "HELP",
    "    Print this help.",
];

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// NEARSIDE and its sub-commands.
    pub(super) fn nearside(
        &mut self,
        row: Option<&'static Row>,
        request: &[u8],
        args: &[Range<usize>],
    ) -> Flow {
        if !self.lane_idle() || self.own.as_ref().is_some_and(Own::awaits) {
            return Flow::Hold;
        }
        if let Some(ordered) = &mut self.ordered {
            match ordered.try_recv() {
                Err(TryRecvError::Empty) => return Flow::Hold,
                Ok(done) => self.answer_done(done),
                Err(TryRecvError::Closed) => {
                    encode::error(&mut self.out, "ERR nearside is going down");
                }
            }
            self.ordered = None;
            return Flow::Done;
        }
        if let Some(error) = self.refuses_nearside(row) {
            encode::error(&mut self.out, error);
            return Flow::Done;
        }
        let arg = |at: usize| args.get(at).map(|range| &request[range.clone()]);
        let name = row.map_or("NEARSIDE", |row| row.name);
        if row.is_none_or(|row| !row.takes(args.len())) {
            let name = name.to_ascii_lowercase();
            let text = format!("ERR wrong number of arguments for '{name}' command");
            encode::error(&mut self.out, &text);
            return Flow::Done;
        }
        match name {
            "NEARSIDE|HELP" => {
                encode::header(&mut self.out, b'*', HELP.len() as u64);
                for line in HELP {
                    encode::bulk(&mut self.out, line.as_bytes());
                }
            }
            "NEARSIDE|STATS" => {
                statistics::of(&self.lanes, self.now).write(&mut self.out, self.resp2);
            }
            "NEARSIDE|UPSTREAMS" => upstreams::of(&self.lanes).write(&mut self.out, self.resp2),
            "NEARSIDE|HOTKEYS" => self.hot_keys(arg(2), args.len()),
            "NEARSIDE|BIGKEYS" => self.big_keys(arg(2), args.len()),
            "NEARSIDE|SLOWLOG" => {
                let words: Vec<&[u8]> = args[2..].iter().map(|at| &request[at.clone()]).collect();
                self.slow_log(&words);
            }
            "NEARSIDE|TRACEPARENT" => self.trace_parent(arg(2).unwrap_or_default()),
            "NEARSIDE|EXPLAIN" => self.explain(request, &args[2..]),
            "NEARSIDE|INVALIDATE" => {
                let words: Vec<&[u8]> = args[2..].iter().map(|at| &request[at.clone()]).collect();
                return self.invalidate(&words);
            }
            _ => {
                let sub = String::from_utf8_lossy(arg(1).unwrap_or_default());
                let text = format!("ERR unknown subcommand '{sub}'. Try NEARSIDE HELP.");
                encode::error(&mut self.out, &text);
            }
        }
        Flow::Done
    }

    /// Why it is not answered now, whatever it asks for.
    fn refuses_nearside(&mut self, row: Option<&'static Row>) -> Option<&'static str> {
        if self.resp2 && self.is_refused_to_subscribers(row, Class::Nearside) {
            return Some(
                "ERR Can't execute 'nearside': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context",
            );
        }
        if self.bound.transaction.is_some() {
            if let Some(own) = &mut self.own {
                own.send(b"*1\r\n$8\r\nNEARSIDE\r\n");
                own.expect(Expect::Queued { write: false }, true);
            }
            return Some(
                "ERR NEARSIDE is not allowed in transactions: it is no command of the upstream's",
            );
        }
        // It tells of keys, and whoever has to give a password has not yet given it.
        let refused = self.seat.as_ref().is_some_and(|seat| seat.is_refused());
        refused.then_some("NOAUTH Authentication required.")
    }

    /// How many are asked for, where that is right; else it is said what is wrong.
    fn count_asked(&mut self, name: &str, count: Option<&[u8]>, args: usize) -> Option<usize> {
        let text = match count {
            None => return Some(HOT_KEYS),
            Some(_) if args > 3 => format!("ERR wrong number of arguments for '{name}' command"),
            Some(text) => {
                let count = parse_integer(text).and_then(|count| usize::try_from(count).ok());
                if let Some(count) = count.filter(|&count| count > 0) {
                    return Some(count);
                }
                "ERR count is not a whole number above 0".to_owned()
            }
        };
        encode::error(&mut self.out, &text);
        None
    }

    fn hot_keys(&mut self, count: Option<&[u8]>, args: usize) {
        if let Some(count) = self.count_asked("nearside|hotkeys", count, args) {
            statistics::hot_keys(&self.l1, count, self.now).write(&mut self.out, self.resp2);
        }
    }

    fn big_keys(&mut self, count: Option<&[u8]>, args: usize) {
        if let Some(count) = self.count_asked("nearside|bigkeys", count, args) {
            let keys = &self.lanes.telemetry().big_keys;
            slow_log::big_keys(keys, count).write(&mut self.out, self.resp2);
        }
    }

    fn slow_log(&mut self, words: &[&[u8]]) {
        let log = &self.lanes.telemetry().slow_log;
        let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let count = match words {
            [] => Some(SLOW),
            [word] if is(word, "GET") => Some(SLOW),
            [word, count] if is(word, "GET") => parse_integer(count)
                .and_then(|count| usize::try_from(count).ok())
                .filter(|&count| count > 0),
            [word] if is(word, "LEN") => {
                encode::header(&mut self.out, b':', log.len() as u64);
                return;
            }
            [word] if is(word, "RESET") => {
                log.clear();
                self.out.extend_from_slice(b"+OK\r\n");
                return;
            }
            _ => {
                let text = "ERR SLOWLOG takes GET [count], LEN or RESET";
                encode::error(&mut self.out, text);
                return;
            }
        };
        match count {
            Some(count) => slow_log::of(log, count, false).write(&mut self.out, self.resp2),
            None => encode::error(&mut self.out, "ERR count is not a whole number above 0"),
        }
    }

    /// The next command belongs to a trace.
    fn trace_parent(&mut self, text: &[u8]) {
        let Some(context) = Context::parse(text) else {
            let text = "ERR a traceparent is 00-<32 hexadecimal digits>-<16>-<2>, in lower case and not all 0";
            encode::error(&mut self.out, text);
            return;
        };
        self.telling.context = Some(context);
        self.attention.look_at_next();
        self.out.extend_from_slice(b"+OK\r\n");
    }

    fn invalidate(&mut self, words: &[&[u8]]) -> Flow {
        let (target, scope) = match target(words) {
            Ok(asked) => asked,
            Err(text) => {
                encode::error(&mut self.out, text);
                return Flow::Done;
            }
        };
        if scope == Scope::Fleet && !self.sessions.control.has_fleet() {
            encode::error(&mut self.out, &format!("ERR {NO_FLEET}"));
            return Flow::Done;
        }
        if scope == Scope::Local
            && let Some(dropped) = self.sessions.control.drop_now(&target)
        {
            encode::header(&mut self.out, b':', dropped);
            return Flow::Done;
        }
        self.ordered = self.sessions.control.order(target, scope, &self.mailbox);
        if self.ordered.is_some() {
            return Flow::Hold;
        }
        let text = "ERR too many invalidations are under way; try again";
        encode::error(&mut self.out, text);
        Flow::Done
    }

    fn answer_done(&mut self, done: Result<Done, String>) {
        match done {
            Ok(done) => {
                let told = done.nearsides.unwrap_or(done.dropped);
                encode::header(&mut self.out, b':', told);
            }
            Err(text) => encode::error(&mut self.out, &format!("ERR {text}")),
        }
    }
}

/// What the words behind INVALIDATE ask for. The last of several names after KEY or PATTERN is no name where it is FLEET.
fn target(words: &[&[u8]]) -> Result<(Target, Scope), &'static str> {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let [kind, names @ ..] = words else {
        return Err(WHAT);
    };
    let all = is(kind, "ALL");
    let (names, scope) = match names {
        [names @ .., last] if is(last, "FLEET") && (all || !names.is_empty()) => {
            (names, Scope::Fleet)
        }
        names => (names, Scope::Local),
    };
    if all {
        return match names {
            [] => Ok((Target::All, scope)),
            _ => Err("ERR INVALIDATE ALL takes nothing but FLEET"),
        };
    }
    let owned = || names.iter().map(|name| name.to_vec()).collect();
    if is(kind, "KEY") {
        match names {
            [] => Err("ERR INVALIDATE KEY takes one key or more"),
            _ => Ok((Target::Keys(owned()), scope)),
        }
    } else if is(kind, "PATTERN") {
        match names {
            [] => Err("ERR INVALIDATE PATTERN takes one pattern or more"),
            _ if names.iter().any(|name| name.is_empty()) => Err(
                "ERR an empty pattern fits no key but the empty one; use INVALIDATE KEY for that",
            ),
            _ => Ok((Target::Patterns(owned()), scope)),
        }
    } else {
        Err(WHAT)
    }
}

const WHAT: &str = "ERR INVALIDATE takes KEY key [key ...], PATTERN pattern [pattern ...] or ALL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_and_where() {
        let asked = |words: &[&str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            target(&words)
        };
        let keys = |keys: &[&str]| Target::Keys(keys.iter().map(|key| (*key).into()).collect());
        let (local, fleet) = (Scope::Local, Scope::Fleet);
        assert_eq!(asked(&["key", "a", "b"]), Ok((keys(&["a", "b"]), local)));
        assert_eq!(asked(&["KEY", "a", "fleet"]), Ok((keys(&["a"]), fleet)));
        assert_eq!(asked(&["KEY", "FLEET"]), Ok((keys(&["FLEET"]), local)));
        assert_eq!(asked(&["ALL"]), Ok((Target::All, local)));
        assert_eq!(asked(&["ALL", "FLEET"]), Ok((Target::All, fleet)));
        let pattern = Target::Patterns(vec![b"u:*".into()]);
        assert_eq!(asked(&["PATTERN", "u:*", "FLEET"]), Ok((pattern, fleet)));
        for wrong in [
            &["KEY"][..],
            &["PATTERN"],
            &["PATTERN", ""],
            &["ALL", "x"],
            &["x", "y"],
        ] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
