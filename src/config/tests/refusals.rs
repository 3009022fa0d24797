//! Every form of a refusal, to the letter.

use super::*;
use crate::config::failure::Origin;

#[test]
fn no_upstream_names_every_way_to_give_one() {
    let line = refusal(settings("", &[], &[]));
    for way in [
        "--upstream",
        "NEARSIDE_UPSTREAM",
        "--config",
        "redis://",
        "unix:/path",
        "private",
    ] {
        assert!(line.contains(way), "{line}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of values")]
fn wrong_values_name_the_line_the_key_and_what_would_be_right() {
    for (file, line) in [
        (
            "\n\n[l1]\nmode = 'onn'",
            r#"n.toml:4: l1.mode: "onn" is not one of on, off, shadow"#,
        ),
        (
            "l1.mode = true",
            "n.toml:1: l1.mode: true is not one of on, off, shadow",
        ),
        (
            "l1.sample = 1.5",
            "n.toml:1: l1.sample: 1.5 is not a share from 0 to 1 such as 0.1, with six decimals at most",
        ),
        (
            "l1.module_reads = ['JSON.GET', 'get']",
            r#"n.toml:1: l1.module_reads: "get" is a command of Redis's own, of which it is known whether it is kept; leave it out"#,
        ),
        (
            "l1.module_reads = ['']",
            r#"n.toml:1: l1.module_reads: "" is not the name of a module's command"#,
        ),
        (
            "workers = 0",
            "n.toml:1: workers: 0 is not a whole number from 1 to 64, or auto",
        ),
        (
            "workers = 65",
            "n.toml:1: workers: 65 is not a whole number from 1 to 64, or auto",
        ),
        (
            "workers = 0x10",
            "n.toml:1: workers: 0x10 is not a whole number from 1 to 64, or auto",
        ),
        (
            "workers = 1.5",
            "n.toml:1: workers: 1.5 is not a whole number from 1 to 64, or auto",
        ),
        (
            "workers = [1, 2]",
            "n.toml:1: workers: a list is not a whole number from 1 to 64, or auto",
        ),
        (
            "workers = 2026-01-01",
            "n.toml:1: workers: 2026-01-01 is not a whole number from 1 to 64, or auto",
        ),
        (
            "[workers]\nn = 1",
            "n.toml:1: workers: a table is not a whole number from 1 to 64, or auto",
        ),
        (
            "max_clients = 0",
            "n.toml:1: max_clients: 0 is not a whole number from 1 to 1000000",
        ),
        (
            "drain_timeout = 10",
            "n.toml:1: drain_timeout: 10 is not a duration such as 250ms, 2s or 1m, at most 24h",
        ),
        (
            "request_timeout = '0s'",
            r#"n.toml:1: request_timeout: "0s" is not a duration above 0 such as 250ms, 2s or 1m, at most 24h"#,
        ),
        (
            "output_limit = '64MB'",
            r#"n.toml:1: output_limit: "64MB" is not a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes"#,
        ),
        (
            "l1.max_bytes = 0",
            "n.toml:1: l1.max_bytes: 0 is not a size above 0 such as 256KiB, 64MiB, 1GiB or a number of bytes, or auto",
        ),
        (
            "[breaker]\nfailure_threshold = 0",
            "n.toml:2: breaker.failure_threshold: 0 is not a whole number from 1 to 1000000",
        ),
        (
            "[breaker]\nhalf_open_max_calls = 0",
            "n.toml:2: breaker.half_open_max_calls: 0 is not a whole number from 1 to 1000000",
        ),
        (
            "[breaker]\nfailure_rate = 0",
            "n.toml:2: breaker.failure_rate: 0 is not a share above 0, at most 1, such as 0.5, with six decimals at most",
        ),
        (
            "[breaker]\nfailure_rate = 1.5",
            "n.toml:2: breaker.failure_rate: 1.5 is not a share above 0, at most 1, such as 0.5, with six decimals at most",
        ),
        (
            "[breaker]\nslow_call_rate = '50%'",
            r#"n.toml:2: breaker.slow_call_rate: "50%" is not a share above 0, at most 1, such as 0.5, with six decimals at most"#,
        ),
        (
            "[breaker]\nminimum_calls = 0",
            "n.toml:2: breaker.minimum_calls: 0 is not a whole number from 1 to 1000000",
        ),
        (
            "[breaker]\nwindow = '999ms'",
            r#"n.toml:2: breaker.window: "999ms" is not a duration from 1s to 10m"#,
        ),
        (
            "[breaker]\nwindow = '11m'",
            r#"n.toml:2: breaker.window: "11m" is not a duration from 1s to 10m"#,
        ),
        (
            "[breaker]\nslow_call_duration = 'off'",
            r#"n.toml:2: breaker.slow_call_duration: "off" is not a duration such as 250ms, 2s or 1m, at most 24h"#,
        ),
        (
            "[breaker]\nerror_prefix = ''",
            r#"n.toml:2: breaker.error_prefix: "" is not one word of 1 to 32 letters from A to Z"#,
        ),
        (
            "[breaker]\nerror_prefix = 'TRY AGAIN'",
            r#"n.toml:2: breaker.error_prefix: "TRY AGAIN" is not one word of 1 to 32 letters from A to Z"#,
        ),
        (
            "[breaker]\nerror_prefix = 'loading'",
            r#"n.toml:2: breaker.error_prefix: "loading" is not one word of 1 to 32 letters from A to Z"#,
        ),
        (
            "[tracing]\nendpoint = 'collector:4317'",
            "n.toml:2: tracing.endpoint: the value is not http://host[:port][/path] or the same with https://, without a user or a query",
        ),
        (
            "[tracing]\nheaders = ['s3cret']",
            "n.toml:2: tracing.headers: the value is not a list of name=value",
        ),
        (
            "[tracing]\nratio = '1%'",
            r#"n.toml:2: tracing.ratio: "1%" is not a share from 0 to 1 such as 0.01, with six decimals at most"#,
        ),
        (
            "[tracing]\ntrace_keys = 'yes'",
            r#"n.toml:2: tracing.trace_keys: "yes" is not one of plain, hash, off"#,
        ),
        (
            "[tracing]\nqueue_size = 0",
            "n.toml:2: tracing.queue_size: 0 is not a whole number from 1 to 1000000",
        ),
        (
            "listen = 'h'",
            r#"n.toml:1: listen: "h" is not host:port or unix:/path"#,
        ),
        (
            "listen = ['h:1',\n 'h']",
            r#"n.toml:1: listen: "h" is not host:port or unix:/path"#,
        ),
        (
            "listen = []",
            "n.toml:1: listen: an empty list is not host:port or unix:/path",
        ),
        (
            "listen = [['h:1']]",
            "n.toml:1: listen: a list within a list is not host:port or unix:/path",
        ),
        (
            "http = '0.0.0.0:9480'",
            r#"n.toml:1: http: "0.0.0.0:9480" is beyond loopback, which will require a token and is refused in this version; use metrics_listen for probes and Prometheus"#,
        ),
        (
            "log = 'a\\nb'",
            r#"n.toml:1: log: "a\\nb" is not one of text, json"#,
        ),
    ] {
        assert_eq!(refusal(from_file(file)), line);
    }
}

#[test]
fn wrong_values_of_variables_and_flags() {
    let private = ("NEARSIDE_UPSTREAM", "private");
    assert_eq!(
        refusal(settings("", &[private, ("NEARSIDE_WORKERS", "0")], &[])),
        r#"environment NEARSIDE_WORKERS: "0" is not a whole number from 1 to 64, or auto"#
    );
    assert_eq!(
        refusal(settings(
            "",
            &[private, ("NEARSIDE_LISTEN", "h:1,,h:2")],
            &[]
        )),
        r#"environment NEARSIDE_LISTEN: "" is not host:port or unix:/path"#
    );
    assert_eq!(
        refusal(settings(
            "",
            &[private, ("NEARSIDE_TRACING_HEADERS", "a=s3cret")],
            &[]
        )),
        "environment NEARSIDE_TRACING_HEADERS: is set in the file alone"
    );
    assert_eq!(
        refusal(settings("", &[private], &["--workers", "many"])),
        r#"--workers: "many" is not a whole number from 1 to 64, or auto"#
    );
    assert_eq!(
        refusal(settings("", &[private], &["--l1", "onn"])),
        r#"--l1: "onn" is not one of on, off, shadow"#
    );
    // A wrong value is refused where it stands, also when a stronger source has a right one.
    assert_eq!(
        refusal(settings("workers = 0", &[private], &["--workers", "1"])),
        "n.toml:1: workers: 0 is not a whole number from 1 to 64, or auto"
    );
}

#[test]
fn passwords_are_never_repeated() {
    let wrong = "redis://u:hunter2@h:port";
    let stray = ["redis://:hunter2@h"];
    for line in [
        refusal(settings(&format!("upstream = '{wrong}'"), &[], &[])),
        refusal(settings(&format!("upstream = ['{wrong}', 1]"), &[], &[])),
        refusal(settings("", &[("NEARSIDE_UPSTREAM", wrong)], &[])),
        refusal(settings("", &[], &["--upstream", wrong])),
        refusal(settings("", &[], &["--upstream", "redis://u:hunter2%zz@h"])),
        refusal(settings("", &[], &stray)),
        refusal(settings("", &[], &["--upstrem=redis://:hunter2@h"])),
        refusal(settings("upstream = redis://:hunter2@h", &[], &[])),
    ] {
        assert!(!line.contains("hunter2"), "{line}");
    }
    let settings = settings("", &[], &["--upstream", "redis://u:hunter2@h"]).unwrap();
    let shown = format!("{:?} {settings:?}", describe(&settings));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (file, line) in [
        (
            "\nl1.mod = 'on'",
            "n.toml:2: unknown key l1.mod; did you mean l1.mode?",
        ),
        (
            "[l1]\nmod = 'on'",
            "n.toml:2: unknown key l1.mod; did you mean l1.mode?",
        ),
        (
            "mode = 'on'",
            "n.toml:1: unknown key mode; did you mean l1.mode?",
        ),
        (
            "[l1]\nhttp = 'off'",
            "n.toml:2: unknown key l1.http; did you mean http?",
        ),
        (
            "drain-timeout = '1s'",
            "n.toml:1: unknown key drain-timeout; did you mean drain_timeout?",
        ),
        (
            "[l2]\nmode = 'on'",
            "n.toml:2: unknown key l2.mode; did you mean l1.mode?",
        ),
        (
            "[l2]",
            "n.toml:1: unknown key l2; there are upstream, username,",
        ),
        (
            "[[l1]]\nmode = 'on'",
            "n.toml:1: l1 is a section; write [l1] and its keys below",
        ),
        (
            "colour = 'red'",
            "n.toml:1: unknown key colour; there are upstream, username,",
        ),
        (
            "[breaker]\ncolour = 'red'",
            "n.toml:2: unknown key breaker.colour; there are breaker.failure_threshold, \
             breaker.recovery_timeout, breaker.half_open_max_calls, breaker.failure_rate, breaker.minimum_calls, \
             breaker.window, breaker.slow_call_duration, breaker.slow_call_rate, breaker.error_prefix",
        ),
        (
            "l1 = 'on'",
            "n.toml:1: l1 is a section; write [l1] and its keys below",
        ),
        (
            "[[keyspaces]]\nname = 'a'",
            "n.toml:1: unknown key keyspaces; did you mean [[keyspace]]?",
        ),
        // The first in the file, not in the alphabet.
        ("zebra = 1\napple = 1", "n.toml:1: unknown key zebra;"),
    ] {
        let refused = refusal(from_file(file));
        assert!(refused.starts_with(line), "{refused}");
    }
}

#[test]
fn unknown_variables_name_the_nearest() {
    for (name, hint) in [
        ("NEARSIDE_L1_MOD", "did you mean NEARSIDE_L1_MODE?"),
        (
            "NEARSIDE_KEYSPACE_NAME",
            "key spaces are set in the file alone, as [[keyspace]]",
        ),
        ("NEARSIDE_WORKER", "did you mean NEARSIDE_WORKERS?"),
        ("NEARSIDE_l1_mode", "did you mean NEARSIDE_L1_MODE?"),
        (
            "NEARSIDE_COLOUR",
            "the variables are NEARSIDE_ and a key in upper case, with _ for its dot",
        ),
    ] {
        assert_eq!(
            refusal(settings(UPSTREAM, &[(name, "x")], &[])),
            format!("environment {name}: unknown variable; {hint}")
        );
    }
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_passed_over() {
    let links = [
        ("NEARSIDE_SERVICE_HOST", "10.0.0.1"),
        ("NEARSIDE_SERVICE_PORT", "6380"),
        ("NEARSIDE_SERVICE_PORT_REDIS", "6380"),
        ("NEARSIDE_PORT", "tcp://10.0.0.1:6380"),
        ("NEARSIDE_PORT_6380_TCP", "tcp://10.0.0.1:6380"),
        ("NEARSIDE_PORT_6380_TCP_ADDR", "10.0.0.1"),
        ("NEARSIDE_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("NEARSIDE_METRICS_PORT_9481_TCP_PROTO", "tcp"),
    ];
    assert!(settings(UPSTREAM, &links, &[]).is_ok());
    for (name, value) in [("NEARSIDE_PORT", "6380"), ("NEARSIDE_PORT_X", "1")] {
        assert!(settings(UPSTREAM, &[(name, value)], &[]).is_err(), "{name}");
    }
}

#[test]
fn not_toml() {
    for (file, start) in [
        ("\nworkers = ", "n.toml:2: "),
        ("workers = 1\nworkers = 2", "n.toml:2: duplicate key"),
        ("[l1\n", "n.toml:1: "),
        ("l1.mode = on", "n.toml:1: "),
    ] {
        let line = refusal(from_file(file));
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn conflicts() {
    for (file, line) in [
        (
            "listen = ['h:1', 'H:1']",
            "n.toml:1: listen: h:1 is given twice",
        ),
        (
            "listen = ['localhost:1', '127.0.0.1:1']",
            "n.toml:1: listen: 127.0.0.1:1 is given twice",
        ),
        (
            "listen = ['0.0.0.0:1', '127.0.0.1:1']",
            "n.toml:1: listen: 127.0.0.1:1 is given twice",
        ),
        (
            "listen = ['unix:/s', 'unix:/s']",
            "n.toml:1: listen: unix:/s is given twice",
        ),
        (
            "\nlisten = '127.0.0.1:9480'",
            "n.toml:2: listen: 127.0.0.1:9480 is taken by http; give each its own port",
        ),
        (
            "http = '127.0.0.1:9'\nmetrics_listen = '0.0.0.0:9'",
            "n.toml:2: metrics_listen: 0.0.0.0:9 is taken by http; give each its own port",
        ),
        (
            "[l1]\nmax_bytes = '1MiB'\nmax_entry_bytes = '2MiB'",
            "n.toml:3: l1.max_entry_bytes: 2MiB is more than l1.max_bytes, which is 1MiB",
        ),
        (
            "username = 'app'",
            "n.toml:1: username: names a user without a password; give password_file too",
        ),
        (
            "[tls]\nca_file = '/ca'",
            "n.toml:2: tls.ca_file: is given, but the upstream is not asked for TLS; use rediss://",
        ),
        (
            "[tracing]\nendpoint = 'http://h'\nca_file = '/ca'",
            "n.toml:3: tracing.ca_file: is given, but tracing.endpoint does not ask for TLS; use https://",
        ),
        (
            "sharing = 'dedicated'\nidle_timeout = '1m'\n[l1]\nmode = 'off'",
            "n.toml:2: idle_timeout: cannot be kept where sharing is dedicated and l1.mode off; use the upstream's own timeout",
        ),
        (
            "sharing = 'dedicated'\nready_requires_upstream = true\n[l1]\nmode = 'off'",
            "n.toml:2: ready_requires_upstream: needs a shared connection, and with sharing dedicated and l1.mode off there is none; leave it out",
        ),
        (
            "[l1]\nmax_bytes = '64KiB'",
            "n.toml:2: l1.max_bytes: 64KiB is less than l1.max_entry_bytes, which is 256KiB; set that lower too",
        ),
    ] {
        assert_eq!(refusal(from_file(file)), line);
    }
    for file in [
        "listen = ['127.0.0.1:0', '127.0.0.1:0']",
        "listen = ['0.0.0.0:1', '[::]:1']",
        "listen = ['127.0.0.1:1', '127.0.0.2:1']",
        "http = 'off'\nmetrics_listen = '127.0.0.1:9480'",
    ] {
        from_file(file).unwrap();
    }
}

#[test]
fn passwords_and_certificates_that_do_not_go_together() {
    let refused = |file: &str| refusal(settings(file, &[], &[]));
    for (file, line) in [
        (
            "upstream = 'redis://:pw@h'\npassword_file = '/p'",
            "n.toml:2: password_file: is given, and upstream has a password too; leave one of them out",
        ),
        (
            "upstream = 'private'\npassword_file = '/p'",
            "n.toml:2: password_file: is given, but a private redis-server has no password",
        ),
        (
            "upstream = 'rediss://h'\n[tls]\ncert_file = '/c'",
            "n.toml:3: tls.cert_file: needs tls.key_file too",
        ),
        (
            "upstream = 'rediss://h'\n[tls]\nkey_file = '/k'",
            "n.toml:3: tls.key_file: needs tls.cert_file too",
        ),
    ] {
        assert_eq!(refused(file), line);
    }
}

#[test]
fn an_upstream_that_is_nearside_itself() {
    for (listen, upstream, shown) in [
        ("127.0.0.1:6380", "redis://127.0.0.1:6380", "127.0.0.1:6380"),
        ("127.0.0.1:6380", "redis://localhost:6380", "127.0.0.1:6380"),
        ("0.0.0.0:6379", "redis://localhost", "127.0.0.1:6379"),
        ("unix:/s", "unix:/s", "unix:/s"),
    ] {
        let args = ["--listen", listen, "--upstream", upstream];
        assert_eq!(
            refusal(settings("", &[], &args)),
            format!("--upstream: {shown} is where nearside itself listens")
        );
    }
    for (listen, upstream) in [
        ("0.0.0.0:6379", "redis://10.0.0.5:6379"),
        ("127.0.0.1:6379", "redis://redis:6379"),
        ("127.0.0.1:6380", "redis://127.0.0.1:6379"),
        ("unix:/s", "unix:/t"),
    ] {
        settings("", &[], &["--listen", listen, "--upstream", upstream]).unwrap();
    }
}

#[test]
fn failures_stay_on_one_line() {
    let origin = Origin::File {
        path: "a\nb.toml".to_owned(),
        line: 1,
    };
    assert_eq!(
        origin.says("log", "wrong").to_string(),
        r"a\nb.toml:1: log: wrong"
    );
}
