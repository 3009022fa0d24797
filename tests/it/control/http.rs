//! The same over the side port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{hits, warm};
use crate::coherence::rig::Rig;
use crate::support::PATIENCE;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: serde_json::Value,
}

pub fn ask(to: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let (head, body) = exchange(to, method, path, body);
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {head}\n\n{body}")),
    }
}

/// An answer's head and body.
pub fn exchange(to: SocketAddr, method: &str, path: &str, body: &str) -> (String, String) {
    exchange_with(to, method, path, "", body)
}

/// The same with more lines in the request's head, each with its end.
pub fn exchange_with(
    to: SocketAddr,
    method: &str,
    path: &str,
    more: &str,
    body: &str,
) -> (String, String) {
    let mut stream = TcpStream::connect(to).expect("the side port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn rig() -> (Rig, SocketAddr) {
    let rig =
        Rig::new(|settings| settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0))));
    let http = rig.near.running().http().expect("a side port");
    (rig, http)
}

#[test]
fn each_form_drops_what_it_names() {
    let (rig, http) = rig();
    let mut session = rig.session();
    session.must(&["SET", "user:1", "v"]);
    for body in [
        r#"{"keys": ["user:1", "other"]}"#,
        r#"{"pattern": "user:*", "scope": "local"}"#,
    ] {
        warm(&rig, &mut session, &["GET", "user:1"]);
        let answer = ask(http, "POST", "/v1/cache/invalidate", body);
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: application/json"));
        assert_eq!(
            answer.body,
            serde_json::json!({"scope": "local", "dropped": 1})
        );
        assert!(!hits(&rig, &mut session, &["GET", "user:1"]), "{body}");
    }
    warm(&rig, &mut session, &["GET", "user:1"]);
    let answer = ask(http, "POST", "/v1/cache/invalidate", r#"{"all": true}"#);
    assert_eq!(answer.body["dropped"], 2);
    assert!(!hits(&rig, &mut session, &["GET", "user:1"]));
}

#[test]
fn what_is_wrong_is_a_problem_document() {
    let (_rig, http) = rig();
    for (method, path, body, status, word) in [
        ("POST", "/v1/cache/invalidate", "{", 400, "exactly one of"),
        (
            "POST",
            "/v1/cache/invalidate",
            "{}",
            400,
            "nothing is named",
        ),
        (
            "POST",
            "/v1/cache/invalidate",
            r#"{"all": true, "x": 1}"#,
            400,
            "unknown field `x`",
        ),
        (
            "POST",
            "/v1/cache/invalidate",
            r#"{"all": true, "scope": "fleet"}"#,
            409,
            "[fleet]",
        ),
        ("GET", "/v1/cache/invalidate", "", 405, "POST"),
        ("POST", "/v1/cache/stats", "", 405, "GET"),
        ("DELETE", "/v1/cache/hotkeys", "", 405, "GET"),
        ("GET", "/v1/cache/hotkeys?n=0", "", 400, "from 1 to 512"),
        ("GET", "/v1/cache/hotkeys?n=x", "", 400, "from 1 to 512"),
        ("GET", "/v1/cache/hotkeys?count=3", "", 400, "?n=20"),
    ] {
        let answer = ask(http, method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}");
        assert!(
            answer
                .head
                .contains("content-type: application/problem+json")
        );
        assert_eq!(answer.body["status"], status);
        for text in ["type", "title", "detail"] {
            assert!(answer.body[text].is_string(), "{text}: {}", answer.body);
        }
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(word), "{detail}");
        assert!(
            status != 405 || answer.head.contains("\r\nallow: "),
            "{}",
            answer.head
        );
    }
    let large = format!(r#"{{"keys": ["{}"]}}"#, "x".repeat(3 << 20));
    let answer = ask(http, "POST", "/v1/cache/invalidate", &large);
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[test]
fn statistics_and_hot_keys_are_told() {
    let (rig, http) = rig();
    let mut session = rig.session();
    let key = b"k\xff\n";
    for _ in 0..2000 {
        session.send(&[&b"GET"[..], key]);
    }
    session.flush();
    for _ in 0..2000 {
        session.read();
    }
    let stats = ask(http, "GET", "/v1/cache/stats", "").body;
    assert_eq!(stats["mode"], "on");
    assert_eq!(stats["entries"], stats["keyspaces"]["default"]["entries"]);
    assert!(stats["hits"].as_u64() >= Some(1), "{stats}");
    let hot = ask(http, "GET", "/v1/cache/hotkeys?n=1", "").body;
    assert_eq!(hot["keys"][0]["key"], r"k\xff\n");
    assert_eq!(hot["sampled_one_in"], 32);
}
