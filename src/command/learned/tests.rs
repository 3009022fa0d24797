//! Replies that a server gives, and ones that it should not.

use super::*;
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};

/// A request and where its arguments are.
fn request(line: &str) -> (Vec<u8>, Vec<Range<usize>>) {
    let parts: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    encode::request(&mut bytes, &parts);
    let mut scanner = RequestScanner::default();
    assert!(matches!(scanner.scan(&bytes), Ok(Scanned::Request { .. })));
    let args = scanner.args().to_vec();
    (bytes, args)
}

fn keys(known: &Known, line: &str) -> Option<Vec<usize>> {
    let (bytes, args) = request(line);
    known.keys(&bytes, &args).map(Iterator::collect)
}

/// One command without specifications, as servers before 7.0 give it.
fn plain(name: &str, arity: i64, flags: &[&str], first: i64, last: i64, step: i64) -> String {
    let words = flags.join("\r\n+");
    let words = if flags.is_empty() {
        words
    } else {
        format!("+{words}\r\n")
    };
    let (length, count) = (name.len(), flags.len());
    format!(
        "*6\r\n${length}\r\n{name}\r\n:{arity}\r\n*{count}\r\n{words}:{first}\r\n:{last}\r\n:{step}\r\n"
    )
}

fn learn(entries: &[String]) -> Learned {
    let reply = format!("*{}\r\n{}", entries.len(), entries.concat());
    Learned::parse(reply.as_bytes()).expect("a reply")
}

fn known<'a>(learned: &'a Learned, line: &str) -> &'a Known {
    let (bytes, args) = request(line);
    learned.of(&bytes, &args).expect("a known command")
}

#[test]
fn first_last_and_step_give_the_keys() {
    let learned = learn(&[
        plain("my.set", 3, &["write"], 1, 1, 1),
        plain("my.mset", -3, &["write", "blocking"], 1, -1, 2),
        plain("my.two", 4, &["readonly"], 1, 2, 1),
        plain("my.any", -2, &["readonly", "movablekeys"], 1, 1, 1),
        plain("my.none", 1, &[], 0, 0, 0),
    ]);
    assert_eq!(learned.len(), 5);
    let set = known(&learned, "MY.Set k v");
    assert!(!set.readonly() && set.takes(3) && !set.takes(2));
    assert_eq!(keys(set, "my.set k v"), Some(vec![1]));
    let mset = known(&learned, "my.mset");
    assert!(mset.flags.has(Flags::BLOCKING));
    assert_eq!(keys(mset, "my.mset a 1 b 2"), Some(vec![1, 3]));
    let two = known(&learned, "my.two");
    assert!(two.readonly());
    assert_eq!(keys(two, "my.two a b 1"), Some(vec![1, 2]));
    let (bytes, args) = request("my.two a b 1");
    assert_eq!(two.written(&bytes, &args).map(Iterator::count), Some(0));
    assert_eq!(keys(known(&learned, "my.any"), "my.any a"), None);
    assert_eq!(keys(known(&learned, "my.none"), "my.none a"), Some(vec![]));
}

#[test]
fn what_makes_no_sense_is_left_out() {
    let learned = learn(&[
        "$-1\r\n".into(),
        ":5\r\n".into(),
        "*0\r\n".into(),
        plain("huge", 1 << 40, &[], 0, 0, 0),
        plain(&"x".repeat(500), 1, &[], 0, 0, 0),
        plain("far", -1, &["write"], 1 << 40, -1, 1),
        plain("odd", -1, &["write"], 3, 1, 1),
        plain("ok", -1, &["write"], 3, -1, 1),
    ]);
    assert_eq!(learned.len(), 2);
    assert_eq!(keys(known(&learned, "odd"), "odd a b c d"), None);
    assert_eq!(keys(known(&learned, "ok"), "ok a"), Some(vec![]));
    for broken in [
        "",
        "-ERR no\r\n",
        "*1\r\n",
        "*9999999999\r\n",
        "*-1\r\n",
        "+OK\r\n",
        "*1\r\n$99\r\nx\r\n",
        "*x\r\n",
        "\r\n",
    ] {
        assert!(Learned::parse(broken.as_bytes()).is_none(), "{broken:?}");
    }
    let deep = "*1\r\n".repeat(100_000);
    assert!(Learned::parse(deep.as_bytes()).is_none());
}

#[test]
fn specifications_that_are_not_understood_leave_the_keys_open() {
    let spec = |begin: &str, find: &str, flag: &str| {
        format!(
            "%3\r\n$5\r\nflags\r\n~1\r\n+{flag}\r\n$12\r\nbegin_search\r\n{begin}$9\r\nfind_keys\r\n{find}"
        )
    };
    let entry = |spec: &str| {
        format!(
            "*10\r\n$1\r\nm\r\n:-2\r\n~1\r\n+write\r\n:0\r\n:0\r\n:0\r\n~0\r\n~0\r\n~1\r\n{spec}*0\r\n"
        )
    };
    let at_1 = "%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n";
    let unknown = "%2\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n%0\r\n";
    let one = "%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n";
    for (spec, expected) in [
        (spec(at_1, one, "RW"), Some(vec![1])),
        (spec(at_1, one, "not_key"), Some(vec![])),
        (spec(at_1, one, "incomplete"), None),
        (spec(unknown, one, "RO"), None),
        (spec(at_1, unknown, "OW"), None),
        (spec(":1\r\n", one, "OW"), None),
        ("+odd\r\n".into(), None),
    ] {
        let learned = learn(&[entry(&spec)]);
        assert_eq!(keys(known(&learned, "m"), "m a b"), expected, "{spec:?}");
    }
}
