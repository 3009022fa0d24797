//! The other end of `/readiness`: waiting until a nearside answers 200 there.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long it may take at least, where hardly any time is left.
const LEAST: Duration = Duration::from_millis(100);
/// No answer of a nearside is longer.
const LONGEST: usize = 4096;

/// Waits until `/readiness` on `address` answers 200, for `timeout` at most; it is asked once at least.
///
/// # Errors
/// One line on what the last answer was.
pub fn until_ready(address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Err(said) = ask(address, left.clamp(LEAST, ATTEMPT)) else {
            return Ok(());
        };
        if Instant::now() + PAUSE >= deadline {
            let waited = timeout.as_secs_f64();
            return Err(format!(
                "not ready after {waited}s: http://{address}/readiness {said}"
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks once; `Err` has what follows the address in a sentence.
fn ask(address: SocketAddr, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    let answer = exchange(address, deadline).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => "refused the connection".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "did not answer".to_owned(),
        _ => format!("cannot be asked: {error}"),
    })?;
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match (status, body.lines().next()) {
        (Some("200"), _) => Ok(()),
        (Some(status), None) => Err(format!("answered {status}")),
        (Some(status), Some(reason)) => Err(format!("answered {status}: {reason}")),
        (None, _) => Err("answered something that is not HTTP".to_owned()),
    }
}

fn exchange(address: SocketAddr, deadline: Instant) -> std::io::Result<String> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let over = || std::io::Error::from(ErrorKind::TimedOut);
        (!left.is_zero()).then_some(left).ok_or_else(over)
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request =
        format!("GET /readiness HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
    while answer.len() < LONGEST {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
