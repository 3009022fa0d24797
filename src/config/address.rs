//! Addresses: where clients connect, where the upstream is, where the side port listens.

use std::fmt::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::downstream::settings::ListenAddress;
use crate::upstream::settings::{Address, Choice, Credentials, Endpoint, Tls};

use super::schema::Wrong;

const REDIS_PORT: u16 = 6379;

/// `sun_path` has 108 bytes, the last of which is zero: unix(7).
const LONGEST_UNIX_PATH: usize = 107;

/// `host:port` or `unix:/path`; an IPv6 host stands in brackets.
pub(super) fn listen(text: &str) -> Result<ListenAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(ListenAddress::Unix(unix_path(path)?));
    }
    let (host, Some(port)) = host_and_port(text)? else {
        return Err(Wrong::Shape);
    };
    Ok(ListenAddress::Tcp { host, port })
}

/// `ip:port`, `localhost:port`, or `off`.
pub(super) fn port(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    match numeric.as_deref().unwrap_or(text).parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Wrong::Shape),
    }
}

/// As [`port`], within loopback: what listens there may do everything and asks for no token.
pub(super) fn side_port(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    match port(text)? {
        Some(address) if !address.ip().to_canonical().is_loopback() => Err(Wrong::Because(
            "is beyond loopback, which will require a token and is refused in this version; \
             use metrics_listen for probes and Prometheus",
        )),
        address => Ok(address),
    }
}

/// The text of a port that may be off.
pub(super) fn show_port(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".to_owned(), |address| address.to_string())
}

/// `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, `unix:[//[user:password@]]/path[?db=N]`, or `private`.
pub(super) fn upstream(text: &str) -> Result<Choice, Wrong> {
    if text == "private" {
        Ok(Choice::Private)
    } else if let Some(rest) = text.strip_prefix("redis://") {
        redis(rest, false).map(Choice::Endpoint)
    } else if let Some(rest) = text.strip_prefix("rediss://") {
        redis(rest, true).map(Choice::Endpoint)
    } else if let Some(rest) = text.strip_prefix("unix:") {
        unix(rest).map(Choice::Endpoint)
    } else {
        Err(Wrong::Shape)
    }
}

fn redis(rest: &str, tls: bool) -> Result<Endpoint, Wrong> {
    // A password may hold any character but a slash unencoded, so the last @ before the first slash counts.
    let (authority, db) = match rest.split_once('/') {
        Some((authority, "")) => (authority, 0),
        Some((authority, db)) => (authority, database(db)?),
        None => (rest, 0),
    };
    let (credentials, host) = user_information(authority)?;
    let (host, port) = match host_and_port(host)? {
        (_, Some(0)) => return Err(Wrong::Because("names port 0, where nothing can listen")),
        (host, port) => (host, port.unwrap_or(REDIS_PORT)),
    };
    Ok(Endpoint {
        address: Address::Tcp { host, port },
        credentials,
        db,
        tls: tls.then(Tls::default),
        password_file: None,
    })
}

fn unix(rest: &str) -> Result<Endpoint, Wrong> {
    let (credentials, rest) = match rest.strip_prefix("//") {
        Some(rest) => match rest.find('/') {
            Some(slash) => {
                let (authority, path) = rest.split_at(slash);
                if !authority.is_empty() && !authority.ends_with('@') {
                    return Err(Wrong::Shape);
                }
                (user_information(authority)?.0, path)
            }
            None => return Err(Wrong::Shape),
        },
        None => (None, rest),
    };
    let (path, db) = match rest.split_once("?db=") {
        Some((path, db)) => (path, database(db)?),
        None => (rest, 0),
    };
    Ok(Endpoint {
        address: Address::Unix(unix_path(path)?),
        credentials,
        db,
        tls: None,
        password_file: None,
    })
}

fn database(text: &str) -> Result<u32, Wrong> {
    super::value::whole(text, 0..=u32::MAX).ok_or(Wrong::Because(
        "names a database that is not a number; use redis://host:port/0",
    ))
}

/// Splits what stands before the last `@` off; `redis://:@host` and `redis://@host` name nobody.
fn user_information(authority: &str) -> Result<(Option<Credentials>, &str), Wrong> {
    let Some((user_information, host)) = authority.rsplit_once('@') else {
        return Ok((None, authority));
    };
    let (user, password) = match user_information.split_once(':') {
        Some((user, password)) => (percent_decoded(user)?, percent_decoded(password)?),
        None if user_information.is_empty() => (String::new(), String::new()),
        None => {
            return Err(Wrong::Because(
                "names a user without a password; use redis://user:password@host, or redis://:password@host \
                 for the default user",
            ));
        }
    };
    let user = Some(user).filter(|user| !user.is_empty());
    let somebody = user.is_some() || !password.is_empty();
    Ok((somebody.then_some(Credentials { user, password }), host))
}

fn percent_decoded(text: &str) -> Result<String, Wrong> {
    const WRONG: Wrong =
        Wrong::Because("has a user or password that is not percent-encoded UTF-8; write % as %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = digit().zip(digit()).ok_or(WRONG)?;
            bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

/// `host`, `host:port`, `[ipv6]` or `[ipv6]:port`.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(Wrong::Shape)?;
        host.parse::<Ipv6Addr>().map_err(|_| Wrong::Shape)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(Wrong::Shape),
        }
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let named = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(named) {
            return Err(Wrong::Shape);
        }
        (host, port)
    };
    let port = match port {
        Some(port) => Some(super::value::whole(port, 0..=u16::MAX).ok_or(Wrong::Shape)?),
        None => None,
    };
    Ok((host.to_owned(), port))
}

fn unix_path(text: &str) -> Result<PathBuf, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::Because(
            "needs an absolute path, as in unix:/run/redis.sock",
        ));
    }
    if text.len() > LONGEST_UNIX_PATH {
        return Err(Wrong::Because(
            "has a path of more than 107 bytes, which no Unix socket can have",
        ));
    }
    Ok(PathBuf::from(text))
}

/// The upstream's text, with any password redacted.
pub(super) fn show_upstream(choice: &Choice) -> String {
    let endpoint = match choice {
        Choice::Private => return "private".to_owned(),
        Choice::Endpoint(endpoint) => endpoint,
    };
    let user = endpoint
        .credentials
        .as_ref()
        .map_or_else(String::new, |credentials| {
            format!(
                "{}:<redacted>@",
                credentials.user.as_deref().unwrap_or_default()
            )
        });
    let mut text = match &endpoint.address {
        Address::Tcp { .. } => {
            let tls = if endpoint.tls.is_some() { "s" } else { "" };
            format!("redis{tls}://{user}{}", endpoint.address)
        }
        Address::Unix(path) if user.is_empty() => format!("unix:{}", path.display()),
        Address::Unix(path) => format!("unix://{user}{}", path.display()),
    };
    if endpoint.db != 0 {
        let before = match &endpoint.address {
            Address::Tcp { .. } => "/",
            Address::Unix(_) => "?db=",
        };
        write!(text, "{before}{}", endpoint.db).expect("a String takes any text");
    }
    text
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
