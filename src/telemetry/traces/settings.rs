//! What an operator can set about traces, and where they are sent.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

/// How the receiver is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// OTLP over HTTP, as protobuf.
    Http,
}

impl Protocol {
    /// Where receivers listen for it.
    fn port(self) -> u16 {
        match self {
            Self::Grpc => 4317,
            Self::Http => 4318,
        }
    }
}

/// How keys are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// As they are, as far as 256 bytes go.
    Plain,
    /// As 16 hexadecimal digits that are the same for the same key while this process runs.
    #[default]
    Hash,
    /// Not at all.
    Off,
}

/// A receiver's address: `http://` or `https://`, a host, a port if it is not the protocol's own, and a path if it is not
/// directly below that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// `None` for anything else; a user or a password has no place in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority()?;
        let host = !authority.host().is_empty() && !authority.as_str().contains('@');
        // The library passes over what stands behind a colon and is no port.
        let port = authority.port_u16().is_some_and(|port| port > 0)
            || authority.as_str() == authority.host();
        (scheme && host && port && uri.query().is_none()).then_some(Self(uri))
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The address of what is at `path` below it.
    pub(super) fn at(&self, protocol: Protocol, path: &str) -> Uri {
        let authority = self.0.authority().expect("parsed with one");
        let port = authority.port_u16().unwrap_or(protocol.port());
        let below = self.0.path().trim_end_matches('/');
        Uri::builder()
            .scheme(self.0.scheme_str().expect("parsed with one"))
            .authority(format!("{}:{port}", authority.host()))
            .path_and_query(format!("{below}{path}"))
            .build()
            .expect("its parts come from one, and a path of ours")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(match self.0.path() {
            "/" => text.trim_end_matches('/'),
            _ => &text,
        })
    }
}

/// Headers that go with each request, such as a token. They are not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds `name=value`; false where it is not one that HTTP can have.
    pub fn add(&mut self, text: &str) -> bool {
        let Some((name, value)) = header(text, '=') else {
            return false;
        };
        self.0.push((name.to_owned(), value.to_owned()));
        true
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A header's name and value on the two sides of `between`.
pub(super) fn header(text: &str, between: char) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(between)?;
    let (name, value) = (name.trim(), value.trim());
    let right = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && http::HeaderValue::from_str(value).is_ok();
    right.then_some((name, value))
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The receiver; `None` turns all of it off.
    pub endpoint: Option<Endpoint>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What goes with each request.
    pub headers: Headers,
    /// A file with more of them, `name: value` a line; read for each request.
    pub headers_file: Option<PathBuf>,
    /// Authorities to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The share of operations to trace, in millionths.
    pub ratio: u32,
    /// Operations that take so long are traced as well; `None` for none.
    pub slow_threshold: Option<Duration>,
    /// How keys are told.
    pub keys: Keys,
    /// Operations that are sent in a second at most: of those that are drawn, and as many of those that failed or took long.
    pub max_per_second: u32,
    /// Most operations that wait to be sent.
    pub queue_size: usize,
    /// How long they wait at most for others to be sent with.
    pub export_interval: Duration,
    /// Bound on sending a batch, with all that is tried again.
    pub timeout: Duration,
    /// How often the metrics are sent to the same receiver; `None` for never.
    pub metrics_interval: Option<Duration>,
    /// What this service is called.
    pub service_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::default(),
            headers: Headers::default(),
            headers_file: None,
            ca_file: None,
            ratio: 10_000,
            slow_threshold: Some(Duration::from_millis(100)),
            keys: Keys::default(),
            max_per_second: 1000,
            queue_size: 65_536,
            export_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            metrics_interval: None,
            service_name: "nearside".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, protocol, url) in [
            ("http://h", Protocol::Grpc, "http://h:4317/x"),
            ("http://h/", Protocol::Http, "http://h:4318/x"),
            ("https://h:1", Protocol::Http, "https://h:1/x"),
            (
                "http://10.0.0.1:5/otlp/",
                Protocol::Http,
                "http://10.0.0.1:5/otlp/x",
            ),
            ("http://[::1]", Protocol::Grpc, "http://[::1]:4317/x"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.at(protocol, "/x").to_string(), url);
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Some(endpoint));
        }
        for wrong in [
            "",
            "h",
            "h:4317",
            "grpc://h",
            "http://",
            "http://:1",
            "http://h:",
            "http://h:0",
            "http://h:x",
            "http://h:99999",
            "http://u:p@h",
            "http://h/?token=a",
        ] {
            assert_eq!(Endpoint::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_are_not_shown() {
        let mut headers = Headers::default();
        assert!(headers.add("authorization=Bearer secret=="));
        assert!(!headers.add("secret"));
        assert!(!headers.add("a b=secret"));
        assert!(!headers.add("a=sec\nret"));
        let shown = format!("{headers:?}");
        assert!(shown.contains("authorization") && !shown.contains("secret"));
        assert_eq!(
            headers.all().collect::<Vec<_>>(),
            [("authorization", "Bearer secret==")]
        );
    }
}
