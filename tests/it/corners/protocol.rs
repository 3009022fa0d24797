//! What breaks the protocol, or nearly does, is answered byte for byte as by the server itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use nearside::l1::settings::Mode;
use nearside::proxy::settings::Sharing;

use crate::support::PATIENCE;
use crate::support::nearside::Nearside;
use crate::support::redis::RedisServer;

/// Sent behind each case, and what is answered to it.
const LAST: (&[u8], &[u8]) = (b"\r\nECHO the-last\r\n", b"$8\r\nthe-last\r\n");

/// Each ends with an error and the connection, or leaves it so that a command behind it is answered.
fn cases() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        // The header.
        "*1048577\r\n$4\r\nPING\r\n",
        "*2147483647\r\n$4\r\nPING\r\n",
        "*2147483648\r\n",
        "*9223372036854775808\r\n",
        "*abc\r\n",
        "*\r\n",
        "* 1\r\n$4\r\nPING\r\n",
        "*1 \r\n$4\r\nPING\r\n",
        "*01\r\n$4\r\nPING\r\n",
        "*+1\r\n$4\r\nPING\r\n",
        "*-1\r\n",
        "*-10\r\n",
        "*-0\r\n",
        "*0\r\n",
        "*-9223372036854775808\r\n",
        "*1\n$4\nPING\n\r\n",
        // An argument's header.
        "*1\r\n$-1\r\n",
        "*1\r\n$abc\r\n",
        "*1\r\n$\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$9223372036854775808\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n\r\n",
        "*1\r\nPING\r\n",
        "*2\r\n$3\r\nGET\r\n+k\r\n",
        "*2\r\n$3\r\nGET\r\n*1\r\n$1\r\nk\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n\u{1}\r\n",
        // An argument's end is not looked at.
        "*1\r\n$4\r\nPINGxx",
        "*2\r\n$4\r\nECHO\r\n$3\r\nabcde",
        // Arguments of nothing.
        "*1\r\n$0\r\n\r\n",
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        "*2\r\n$0\r\n\r\n$0\r\n\r\n",
        // Inline.
        "\r\n",
        "\n",
        " \r\n",
        "\t \u{b}\u{c}\r\n",
        "PING\n",
        "  ECHO   a  \r\n",
        "ECHO \"a\\x41\\n\\\"b\"\r\n",
        "ECHO 'a\\'b\\n'\r\n",
        "ECHO \"a\r\n",
        "ECHO 'a\r\n",
        "ECHO \"a\"b\r\n",
        "ECHO 'a'b\r\n",
        "ECHO a\"b\"\r\n",
        "ECHO a\"b c\"\r\n",
        "ECHO \"\"\r\n",
        "\"\"\r\n",
        "'' a\r\n",
        "ECHO \"\\xzz\\x4\"\r\n",
        "ECHO a\\nb\r\n",
        "+PING\r\n",
        "$4\r\n",
        "-ERR x\r\n",
        "NONE a b\r\n",
        "GET\r\n",
        "get a b\r\n",
        "none 'x\ty' \"a\\r\\nb\"\r\n",
        // Somebody's browser.
        "POST / HTTP/1.1\r\n",
        "post\r\n",
        "Host: localhost\r\n",
        "*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n",
        "*1\r\n$5\r\nhost:\r\n",
        // Behind commands of every route.
        "ECHO a\r\n*1\r\n$-1\r\n",
        "EVAL \"return 1\" 0\r\n*abc\r\n",
        "MULTI\r\nECHO a\r\n*1\r\n:1\r\n",
        "MULTI\r\nECHO a\r\nEXEC\r\nECHO 'a\r\n",
        "MULTI\r\nNONE\r\nEXEC\r\n",
        "WATCH k\r\n*1048577\r\n*1\r\n+\r\n",
        "SUBSCRIBE c\r\n*1\r\n$-1\r\n",
        "SELECT 1\r\nECHO \"\r\n",
        "QUIT\r\nECHO a\r\n",
        "*2\r\n$4\r\nQUIT\r\n$1\r\na\r\n",
    ]
    .iter()
    .map(|case| case.as_bytes().to_vec())
    .collect();
    let long = |start: &str, n: usize| [start.as_bytes(), &b"1".repeat(n)].concat();
    // Longer ones are taken or refused by how much of them Redis happens to read at a time.
    for start in ["*", "*1\r\n$", "ECHO ", "ECHO a\r\nECHO "] {
        cases.push([&long(start, 60_000), b"\r\n".as_slice()].concat());
    }
    cases.push(b"*1\r\n\x7f\r\n".to_vec());
    let arguments = b"$1\r\na\r\n".repeat(70_000);
    cases.push([b"*70001\r\n$4\r\nNONE\r\n", arguments.as_slice()].concat());
    cases
}

/// What is answered to the case and what is sent behind it, and whether the connection was closed then.
fn outcome(addr: SocketAddr, case: &[u8], at_once: bool) -> (String, bool) {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut request = case.to_vec();
    request.extend_from_slice(LAST.0);
    let pieces: Vec<&[u8]> = if at_once {
        vec![&request]
    } else {
        request.chunks(request.len().div_ceil(7)).collect()
    };
    for piece in pieces {
        // It may have been closed by now.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    let closed = loop {
        match stream.read(&mut chunk) {
            Ok(0) => break true,
            Ok(n) => got.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let case = String::from_utf8_lossy(&case[..case.len().min(80)]);
                panic!("{case:?}: neither an answer nor an end, after {got:?}");
            }
            Err(_) => break true,
        }
        if got.ends_with(LAST.1) {
            break false;
        }
    };
    (String::from_utf8_lossy(&got).into_owned(), closed)
}

fn compare(sharing: Sharing, mode: Mode) {
    let server = RedisServer::start(&[]);
    let near = Nearside::start(server.addr(), |settings| {
        settings.proxy.sharing = sharing;
        settings.l1.mode = mode;
    });
    let mut wrong = Vec::new();
    for case in cases() {
        for at_once in [true, false] {
            let wanted = outcome(server.addr(), &case, at_once);
            let got = outcome(near.addr(), &case, at_once);
            if got != wanted {
                let case = String::from_utf8_lossy(&case[..case.len().min(80)]).into_owned();
                let short = |(text, closed): (String, bool)| {
                    (text.chars().take(200).collect::<String>(), closed)
                };
                let (got, wanted) = (short(got), short(wanted));
                wrong.push(format!("{case:?}: {got:?} and not {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn by_the_lane() {
    compare(Sharing::Lane, Mode::On);
}

#[test]
fn on_dedicated_connections() {
    compare(Sharing::Dedicated, Mode::On);
}

#[test]
fn where_bytes_go_through_as_they_are() {
    compare(Sharing::Dedicated, Mode::Off);
}
