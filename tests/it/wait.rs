//! `nearside wait`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;

fn wait(env: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearside"))
        .arg("wait")
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("the program")
}

/// Ends with `code`; its one line on standard error.
fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = String::from_utf8(output.stderr.clone()).expect("a text");
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// A side port that gives each answer once, and the last one from then on.
fn answering(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        let last = answers.last().expect("an answer");
        for answer in answers.iter().chain(std::iter::repeat(last)) {
            let (stream, _) = listener.accept().expect("a question");
            let mut lines = BufReader::new(&stream).lines();
            assert_eq!(
                lines.next().expect("a line").expect("a text"),
                "GET /readiness HTTP/1.1"
            );
            // Closed with something unread, the connection would be reset.
            assert!(lines.any(|line| line.expect("a header").is_empty()));
            write!(&stream, "{answer}").expect("an answer");
        }
    });
    address
}

const UNREADY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 6\r\n\r\nfirst\n";
const READY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

#[test]
fn it_asks_until_the_answer_is_200() {
    let http = answering(&[UNREADY, "garbage", "", UNREADY, READY]);
    let output = wait(&[], &["--timeout", "1m", "--http", &http]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn what_was_answered_last_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = free.local_addr().expect("its address").to_string();
    let line = said(&wait(&[], &["--timeout", "200ms", "--http", &silent]), 1);
    assert!(
        line.starts_with(&format!(
            "nearside: not ready after 0.2s: http://{silent}/readiness did not answer"
        )),
        "{line}"
    );
    let nobody = "127.0.0.1:1";
    let line = said(&wait(&[], &["--timeout", "0s", "--http", nobody]), 1);
    assert_eq!(
        line,
        format!("nearside: not ready after 0s: http://{nobody}/readiness refused the connection")
    );
    drop(free);
    assert_says(&answering(&[UNREADY]), "answered 503: first");
    assert_says(
        &answering(&["garbage"]),
        "answered something that is not HTTP",
    );
}

/// Asked once, it ends with these words; where the machine is busy there may be no answer the first time.
fn assert_says(http: &str, words: &str) {
    eventually(words, || {
        let line = said(&wait(&[], &["--timeout", "0s", "--http", http]), 1);
        let in_time = !line.ends_with("did not answer");
        assert!(!in_time || line.ends_with(words), "{line}");
        in_time.then_some(())
    });
}

#[test]
fn the_program_itself_is_waited_for_with_its_own_settings() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(&server, "drain = 'wait-clients'\n");
    let mut client = Client::connect(program.listen);
    client.must(&["PING"]);
    let http = program.http.to_string();
    let port = program.http.port();
    let file = program.file.to_str().expect("a path").to_owned();
    for (env, args) in [
        (&[][..], &["--http", &http][..]),
        (&[("NEARSIDE_HTTP", &*http)], &[]),
        (&[("NEARSIDE_HTTP", &*http)], &["--config", &file]),
        (
            &[
                ("NEARSIDE_HTTP", "off"),
                ("NEARSIDE_METRICS_LISTEN", &format!("0.0.0.0:{port}")),
            ],
            &[],
        ),
    ] {
        let output = wait(env, args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    program.signal(Signal::TERM);
    program.await_line("draining, until the last client has left");
    assert_says(&http, "answered 503: draining: waits for clients to leave");
    drop(client);
    assert_eq!(program.end(), Some(0));
}

#[test]
fn where_there_is_nothing_to_ask_it_says_so() {
    for (env, args, line) in [
        (
            &[("NEARSIDE_HTTP", "off")][..],
            &[][..],
            "nearside: environment NEARSIDE_HTTP: is off, and metrics_listen too: there is no /readiness to wait for",
        ),
        (
            &[],
            &["--http", "127.0.0.1:0"],
            "nearside: --http: has port 0, which is another one at each start; give it a port of its own, or name the real one with --http",
        ),
        (
            &[],
            &["--timeout", "soon"],
            r#"nearside: --timeout: "soon" is not a duration such as 250ms, 2s or 1m, at most 24h"#,
        ),
        (
            &[("NEARSIDE_HTP", "x")],
            &[],
            "nearside: environment NEARSIDE_HTP: unknown variable; did you mean NEARSIDE_HTTP?",
        ),
    ] {
        assert_eq!(said(&wait(env, args), 78), line);
    }
}
