//! What leases cost: grants and releases a second, a grant over a ledger that is some way off, and one in a ledger of many
//! leases. Prints Markdown.
//!
//! ```text
//! cargo bench --bench leases -- [ROUNDS]
//!
//! callers --HTTP, kept alive--> nearside's side port --TCP, or a relay--> redis-server
//! ```

#[expect(dead_code, reason = "misses are measured with more of it")]
#[path = "../misses/relay.rs"]
mod relay;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/it/allocation/rig.rs"]
mod rig;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nearside::allocation::ledger::call::Call;
use rig::{Caller, request};
use support::nearside::Nearside;
use support::redis::RedisServer;

const CALLERS: usize = 50;
const PAIRS_EACH: usize = 200;
const ROUND_TRIP: Duration = Duration::from_millis(5);
const FEW: usize = 100;
const MANY: usize = 100_000;

/// A connection to the side port.
struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the side port");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let stream = BufReader::new(stream);
        Self { stream }
    }

    /// Status and body.
    fn ask(&mut self, method: &str, path: &str, more: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n{body}"
        );
        let to = self.stream.get_mut();
        to.write_all(request.as_bytes()).expect("a request");
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a line");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status, String::from_utf8(body).expect("text"))
    }

    /// Takes one of a pool and gives it back; how long the grant took.
    fn pair(&mut self, wait_ms: u64) -> Duration {
        let body = format!(
            r#"{{"resources": [{{"type": "pool:p", "amount": 1}}], "wait_ms": {wait_ms}}}"#
        );
        let began = Instant::now();
        let (status, lease) = self.ask("POST", "/v1/allocations", "", &body);
        let took = began.elapsed();
        assert_eq!(status, 201, "{lease}");
        let lease: serde_json::Value = serde_json::from_str(&lease).expect("JSON");
        let path = format!("/v1/allocations/{}", lease["id"].as_str().expect("an id"));
        let (status, answer) = self.ask("DELETE", &path, "If-Match: *\r\n", "");
        assert_eq!(status, 204, "{answer}");
        took
    }
}

/// A nearside with a ledger that has a pool and is beyond its first pause.
fn start(ledger: SocketAddr) -> (Nearside, SocketAddr) {
    let near = Nearside::start(ledger, |settings| {
        settings.admin.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        settings.allocation.ledger.reassert_window = Duration::from_millis(50);
    });
    let http = near.running().http().expect("a side port");
    let mut port = Http::to(http);
    let (status, answer) = port.ask("PUT", "/v1/pools/p", "", r#"{"capacity": 1000000}"#);
    assert!(matches!(status, 200 | 201), "{answer}");
    port.pair(5000);
    (near, http)
}

/// Pairs a second, and how long the grants took, in order.
fn load(http: SocketAddr, callers: usize, each: usize) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let mut all: Vec<Duration> = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(move || {
                    let mut port = Http::to(http);
                    (0..each).map(|_| port.pair(0)).collect::<Vec<_>>()
                })
            })
            .collect();
        let all = callers.into_iter();
        all.flat_map(|caller| caller.join().expect("no panic"))
            .collect()
    });
    let count = u32::try_from(all.len()).expect("few");
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    all.sort_unstable();
    (rate, all)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

fn median(mut all: Vec<f64>) -> String {
    all.sort_unstable_by(f64::total_cmp);
    let (least, most) = (all[0], all[all.len() - 1]);
    format!("{:.2} ({least:.2} to {most:.2})", all[all.len() / 2])
}

/// Leases that go on for an hour.
fn fill(server: &RedisServer, from: usize, to: usize) {
    let mut caller = Caller::new(server.addr(), "default", "filler", 0);
    for n in from..to {
        let mut one = request(&format!("filler-{n}"), "p", 1);
        one.ttl = 3_600_000;
        let granted = caller.reply(&Call::Acquire(one)).outcome;
        assert!(format!("{granted:?}").starts_with("Granted"), "{granted:?}");
    }
}

/// The server's own time for a grant, in microseconds.
fn server_time(server: &RedisServer, http: SocketAddr) -> f64 {
    let mut redis = server.client();
    redis.must(&["CONFIG", "RESETSTAT"]);
    let mut port = Http::to(http);
    for _ in 0..1000 {
        port.pair(0);
    }
    let info = redis.must(&["INFO", "commandstats"]);
    let text = info.text().expect("text").to_owned();
    let row = text.lines().find(|line| line.starts_with("cmdstat_fcall:"));
    let each = row.and_then(|row| row.split("usec_per_call=").nth(1));
    let each = each.and_then(|rest| rest.split(',').next());
    each.expect("the calls' time").parse().expect("a number")
}

fn main() {
    // Cargo adds flags of its own.
    let rounds = std::env::args().find_map(|argument| argument.parse().ok());
    let rounds: usize = rounds.unwrap_or(3);
    println!("{CALLERS} callers, medians of {rounds} rounds (least to most)\n");
    let (mut rates, mut medians, mut far, mut grown) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let server = RedisServer::start(&[]);
        let (near, http) = start(server.addr());
        let (rate, took) = load(http, CALLERS, PAIRS_EACH);
        rates.push(rate);
        medians.push(ms(took[took.len() / 2]));
        let few = {
            fill(&server, 0, FEW);
            server_time(&server, http)
        };
        fill(&server, FEW, MANY);
        grown.push(server_time(&server, http) / few);
        drop(near);
        let server = RedisServer::start(&[]);
        let (_near, http) = start(relay::start(server.addr(), ROUND_TRIP));
        let (_, took) = load(http, CALLERS, PAIRS_EACH / 4);
        far.push(ms(took[took.len() / 2]) / ms(ROUND_TRIP));
    }
    println!("| leases | |\n|---|---|");
    println!(
        "| grants, and as many releases, a second | {} |",
        median(rates)
    );
    println!("| a grant, ms | {} |", median(medians));
    let round_trip = ms(ROUND_TRIP);
    println!(
        "| a grant over a ledger {round_trip} ms away, round trips | {} |",
        median(far)
    );
    println!(
        "| the server's time for a grant and a release among {MANY} leases, of that among {FEW} | {} |",
        median(grown)
    );
}
