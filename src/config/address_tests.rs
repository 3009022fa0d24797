//! Every form of an address, and what is refused.

use super::*;

fn tcp(host: &str, port: u16, credentials: Option<(Option<&str>, &str)>, db: u32) -> Choice {
    Choice::Endpoint(Endpoint {
        address: Address::Tcp {
            host: host.to_owned(),
            port,
        },
        credentials: credentials.map(|(user, password)| Credentials {
            user: user.map(str::to_owned),
            password: password.to_owned(),
        }),
        db,
        tls: None,
        password_file: None,
    })
}

#[test]
fn tcp_upstreams() {
    let somebody = Some((Some("app"), "s3cret"));
    for (text, choice, shown) in [
        (
            "redis://redis",
            tcp("redis", 6379, None, 0),
            "redis://redis:6379",
        ),
        (
            "redis://redis/",
            tcp("redis", 6379, None, 0),
            "redis://redis:6379",
        ),
        (
            "redis://a.b-c_d.svc:6380/3",
            tcp("a.b-c_d.svc", 6380, None, 3),
            "redis://a.b-c_d.svc:6380/3",
        ),
        (
            "redis://[::1]",
            tcp("::1", 6379, None, 0),
            "redis://[::1]:6379",
        ),
        (
            "redis://[fe80::1]:7000/1",
            tcp("fe80::1", 7000, None, 1),
            "redis://[fe80::1]:7000/1",
        ),
        (
            "redis://app:s3cret@10.0.0.1:1",
            tcp("10.0.0.1", 1, somebody, 0),
            "redis://app:<redacted>@10.0.0.1:1",
        ),
        (
            "redis://:s3cret@h",
            tcp("h", 6379, Some((None, "s3cret")), 0),
            "redis://:<redacted>@h:6379",
        ),
        (
            "redis://app:@h",
            tcp("h", 6379, Some((Some("app"), "")), 0),
            "redis://app:<redacted>@h:6379",
        ),
        ("redis://:@h", tcp("h", 6379, None, 0), "redis://h:6379"),
        ("redis://@h", tcp("h", 6379, None, 0), "redis://h:6379"),
        (
            "redis://a%40b:%C3%A9%2f%25:@@h",
            tcp("h", 6379, Some((Some("a@b"), "é/%:@")), 0),
            "redis://a@b:<redacted>@h:6379",
        ),
    ] {
        let parsed = upstream(text).unwrap();
        assert_eq!(parsed, choice, "{text}");
        assert_eq!(show_upstream(&parsed), shown);
    }
}

#[test]
fn other_upstreams() {
    assert_eq!(upstream("private"), Ok(Choice::Private));
    assert_eq!(show_upstream(&Choice::Private), "private");
    for (text, password, db, shown) in [
        ("unix:/run/r.sock", None, 0, "unix:/run/r.sock"),
        ("unix:///run/r.sock", None, 0, "unix:/run/r.sock"),
        ("unix:/run/r.sock?db=4", None, 4, "unix:/run/r.sock?db=4"),
        (
            "unix://:pw@/run/r.sock?db=4",
            Some("pw"),
            4,
            "unix://:<redacted>@/run/r.sock?db=4",
        ),
    ] {
        let parsed = upstream(text).unwrap();
        let endpoint = Endpoint {
            address: Address::Unix(PathBuf::from("/run/r.sock")),
            credentials: password.map(|password: &str| Credentials {
                user: None,
                password: password.to_owned(),
            }),
            db,
            tls: None,
            password_file: None,
        };
        assert_eq!(parsed, Choice::Endpoint(endpoint), "{text}");
        assert_eq!(show_upstream(&parsed), shown);
    }
}

#[test]
fn tls_upstreams() {
    let parsed = upstream("rediss://app:s3cret@redis:6380/2").unwrap();
    let Choice::Endpoint(endpoint) = &parsed else {
        panic!("{parsed:?}");
    };
    assert_eq!(endpoint.tls, Some(Tls::default()));
    assert_eq!(
        (endpoint.address.to_string().as_str(), endpoint.db),
        ("redis:6380", 2)
    );
    assert_eq!(
        show_upstream(&parsed),
        "rediss://app:<redacted>@redis:6380/2"
    );
}

#[test]
fn refused_upstreams() {
    for text in [
        "",
        "redis",
        "redis:6379",
        "127.0.0.1:6379",
        "http://h",
        "Private",
        "redis://",
        "redis://:6379",
        "redis://h:",
        "redis://h:x",
        "redis://h:65536",
        "redis://h h",
        "redis://::1",
        "redis://[::1",
        "redis://[::1]6379",
        "redis://[h]:1",
        "unix://run/r.sock",
    ] {
        assert_eq!(upstream(text), Err(Wrong::Shape), "{text}");
    }
    for (text, why) in [
        ("redis://h:0", "port 0"),
        ("redis://h/x", "database"),
        ("redis://h/0/1", "database"),
        ("redis://h/4294967296", "database"),
        ("unix:/r?db=", "database"),
        ("redis://user@h", "without a password"),
        ("redis://u:%zz@h", "percent-encoded"),
        ("redis://u:%4@h", "percent-encoded"),
        ("redis://u:%ff@h", "percent-encoded"),
        ("unix:", "absolute"),
        ("unix:r.sock", "absolute"),
    ] {
        match upstream(text) {
            Err(Wrong::Because(reason)) => assert!(reason.contains(why), "{text}: {reason}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn listen_addresses() {
    for (text, host, port) in [
        ("127.0.0.1:6380", "127.0.0.1", 6380),
        ("localhost:0", "localhost", 0),
        ("[::]:6380", "::", 6380),
    ] {
        let address = listen(text).unwrap();
        assert_eq!(
            address,
            ListenAddress::Tcp {
                host: host.to_owned(),
                port
            }
        );
        assert_eq!(address.to_string(), text);
    }
    let unix = listen("unix:/run/nearside.sock").unwrap();
    assert_eq!(
        unix,
        ListenAddress::Unix(PathBuf::from("/run/nearside.sock"))
    );
    for text in [
        "",
        "6380",
        ":6380",
        "h",
        "h:",
        "h:-1",
        "[::1]",
        "::1:6380",
        "redis://h:1",
    ] {
        assert_eq!(listen(text), Err(Wrong::Shape), "{text}");
    }
    let long = format!("unix:/{}", "x".repeat(107));
    assert!(matches!(listen(&long), Err(Wrong::Because(_))));
    assert!(listen(&long[..long.len() - 1]).is_ok());
}

#[test]
fn ports() {
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(port("off"), Ok(None));
    assert_eq!(port("0.0.0.0:9481"), Ok(address("0.0.0.0:9481")));
    assert_eq!(port("[::]:9481"), Ok(address("[::]:9481")));
    assert_eq!(port("localhost:9481"), Ok(address("127.0.0.1:9481")));
    for text in [
        "",
        "on",
        "9481",
        ":9481",
        "h:9481",
        "localhost:",
        "127.0.0.1",
    ] {
        assert_eq!(port(text), Err(Wrong::Shape), "{text}");
    }
    for text in [
        "127.0.0.1:0",
        "127.9.9.9:1",
        "[::1]:9480",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(side_port(text), Ok(address(text)), "{text}");
    }
    assert_eq!(side_port("off"), Ok(None));
    for text in ["0.0.0.0:9480", "10.0.0.1:9480", "[::]:9480"] {
        assert!(matches!(side_port(text), Err(Wrong::Because(_))), "{text}");
    }
}
