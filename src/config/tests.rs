//! Sources against each other, every form of a refusal, and the example file against the table.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::failure::Origin;
use super::schema::{Example, Set, TABLE};
use super::*;
use crate::downstream::settings::ListenAddress;
use crate::l1::settings::Mode;
use crate::upstream::settings::Choice;

const UPSTREAM: &str = "upstream = 'private'\n";

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn variables(env: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let owned = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    env.iter().map(owned).collect()
}

fn flags(args: &[&str]) -> Result<Vec<Given>, Failure> {
    match flags::parse(os(&[&["nearside"], args].concat()))? {
        CommandLine::Flags(flags) => Ok(flags.given()),
        CommandLine::Text(text) => panic!("{text}"),
    }
}

/// The settings from a file's text, an environment and a command line, on a machine without limits.
fn settings(file: &str, env: &[(&str, &str)], args: &[&str]) -> Result<Settings, Failure> {
    let sources = [
        file::parse("n.toml", file)?,
        environment::read(variables(env))?,
        flags(args)?,
    ];
    resolve(sources, Limits::default())
}

fn from_file(file: &str) -> Result<Settings, Failure> {
    settings(&format!("{file}\n"), &[], &["--upstream", "private"])
}

fn refusal(result: Result<Settings, Failure>) -> String {
    let failure = result.unwrap_err();
    assert_eq!(failure.exit_code(), 78);
    failure.to_string()
}

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
fn defaults_are_those_of_the_rooms() {
    let defaults = Settings::with_upstream(Choice::Private);
    assert_eq!(settings(UPSTREAM, &[], &[]), Ok(defaults.clone()));
    assert_eq!(
        settings("", &[("NEARSIDE_UPSTREAM", "private")], &[]),
        Ok(defaults.clone())
    );
    assert_eq!(settings("", &[], &["--upstream", "private"]), Ok(defaults));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "upstream = 'private'\nworkers = 2\nlog = 'json'\nlisten = ['h:1', 'h:2']\n[l1]\nmode = 'off'\n";
    let env = [
        ("NEARSIDE_WORKERS", "3"),
        ("NEARSIDE_LISTEN", "h:3, h:4"),
        ("PATH", "/bin"),
    ];
    let ports = |settings: &Settings| -> Vec<u16> {
        let port = |address: &ListenAddress| match address {
            ListenAddress::Tcp { port, .. } => *port,
            ListenAddress::Unix(_) => panic!("{address}"),
        };
        settings.downstream.listen.iter().map(port).collect()
    };

    let all = settings(file, &env, &["--workers", "4", "--listen", "h:5"]).unwrap();
    assert_eq!((all.downstream.workers, all.l1.mode), (4, Mode::Off));
    assert_eq!(ports(&all), [5]);

    let two = settings(file, &env, &[]).unwrap();
    assert_eq!(two.downstream.workers, 3);
    assert_eq!(ports(&two), [3, 4]);

    let one = settings(file, &[], &[]).unwrap();
    assert_eq!(one.downstream.workers, 2);
    assert_eq!(ports(&one), [1, 2]);
}

#[test]
fn every_flag_sets_its_key() {
    let args = [
        "--listen",
        "h:1",
        "--listen",
        "unix:/s",
        "--upstream",
        "redis://u",
        "--http",
        "off",
        "--metrics-listen",
        "0.0.0.0:9",
        "--workers",
        "7",
        "--l1",
        "off",
        "--log",
        "json",
    ];
    let shown = describe(&settings("", &[], &args).unwrap());
    for (key, value) in [
        ("listen", "h:1, unix:/s"),
        ("upstream", "redis://u:6379"),
        ("http", "off"),
        ("metrics_listen", "0.0.0.0:9"),
        ("workers", "7"),
        ("l1.mode", "off"),
        ("log", "json"),
    ] {
        assert!(
            shown.contains(&(key.to_owned(), value.to_owned())),
            "{shown:?}"
        );
    }
}

#[test]
fn every_key_is_a_variable() {
    let all = Settings::with_upstream(Choice::Private);
    for row in TABLE {
        let value = (row.show)(&all);
        let env = [("NEARSIDE_UPSTREAM", "private"), (&row.variable(), &value)];
        assert_eq!(settings("", &env, &[]), Ok(all.clone()), "{}", row.key);
    }
    let env = [
        ("NEARSIDE_UPSTREAM", "private"),
        ("NEARSIDE_BREAKER_RECOVERY_TIMEOUT", "2s"),
    ];
    let breaker = settings("", &env, &[]).unwrap().lane.breaker;
    assert_eq!(breaker.recovery_timeout, Duration::from_secs(2));
}

#[test]
fn no_two_keys_share_a_variable() {
    let names: BTreeSet<String> = TABLE.iter().map(schema::Row::variable).collect();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn auto_is_what_the_limits_allow() {
    let limits = Limits {
        memory: Some(256 << 20),
        cpus: Some(3),
    };
    let auto = file::parse(
        "n.toml",
        "upstream = 'private'\nworkers = 'auto'\nl1.max_bytes = 'auto'\n",
    );
    for file in [auto, file::parse("n.toml", UPSTREAM)] {
        let settings = resolve([file.unwrap(), Vec::new(), Vec::new()], limits).unwrap();
        assert_eq!(settings.downstream.workers, 3);
        assert_eq!(settings.l1.max_bytes, 64 << 20);
    }
}

#[test]
fn wrong_values_name_the_line_the_key_and_what_would_be_right() {
    for (file, line) in [
        (
            "\n\n[l1]\nmode = 'onn'",
            r#"n.toml:4: l1.mode: "onn" is not one of on, off"#,
        ),
        (
            "l1.mode = true",
            "n.toml:1: l1.mode: true is not one of on, off",
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
        refusal(settings("", &[private], &["--workers", "many"])),
        r#"--workers: "many" is not a whole number from 1 to 64, or auto"#
    );
    assert_eq!(
        refusal(settings("", &[private], &["--l1", "onn"])),
        r#"--l1: "onn" is not one of on, off"#
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
            "n.toml:1: unknown key l2; there are upstream, listen,",
        ),
        (
            "[[l1]]\nmode = 'on'",
            "n.toml:1: l1 is a section; write [l1] and its keys below",
        ),
        (
            "colour = 'red'",
            "n.toml:1: unknown key colour; there are upstream, listen,",
        ),
        (
            "[breaker]\ncolour = 'red'",
            "n.toml:2: unknown key breaker.colour; there are breaker.failure_threshold, \
             breaker.recovery_timeout, breaker.half_open_max_calls",
        ),
        (
            "l1 = 'on'",
            "n.toml:1: l1 is a section; write [l1] and its keys below",
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
fn the_command_line() {
    let load = |args: &[&str]| {
        let args = os(&[&["nearside"], args].concat());
        load_within(
            args,
            variables(&[("NEARSIDE_COLOUR", "red")]),
            Limits::default,
        )
    };
    assert_eq!(
        load(&["private-server-guard"]),
        Ok(Action::GuardPrivateServer)
    );
    let Ok(Action::Print(version)) = load(&["--version"]) else {
        panic!("no version");
    };
    assert_eq!(version, format!("nearside {}\n", env!("CARGO_PKG_VERSION")));
    let Ok(Action::Print(help)) = load(&["--help"]) else {
        panic!("no help");
    };
    for part in [
        "--config",
        "--upstream",
        "check-config",
        schema::row("workers").doc,
    ] {
        assert!(help.contains(part), "{help}");
    }
    assert!(!help.contains("guard"), "{help}");
    for (args, line) in [
        (
            &["--lisen", "h:1"][..],
            "unexpected argument '--lisen' found; a similar argument exists: '--listen'",
        ),
        (
            &["--workers"],
            "a value is required for '--workers <N>' but none was supplied; see nearside --help",
        ),
        (
            &["check-confg", "f"],
            "unrecognized subcommand 'check-confg'; a similar subcommand exists: 'check-config'",
        ),
        (
            &["check-config"],
            "the following required arguments were not provided: <FILE>; see nearside --help",
        ),
        (
            &["--workers", "1", "--workers", "1"],
            "the argument '--workers <N>' cannot be used multiple times; see nearside --help",
        ),
        (
            &["--config", "/no/such.toml"],
            "/no/such.toml: No such file or directory (os error 2)",
        ),
        (
            &[],
            "environment NEARSIDE_COLOUR: unknown variable; the variables are NEARSIDE_ and a key in upper case, with _ for its dot",
        ),
    ] {
        assert_eq!(load(args).unwrap_err().to_string(), line);
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

/// What the example file should be: the table, with every default written out.
fn example() -> String {
    let mut text = String::from(
        "# Everything that can be set, with its default. Each key is also a variable of the environment: l1.mode is\n\
         # NEARSIDE_L1_MODE. Flags win over the environment, and that over this file.\n",
    );
    let defaults = Settings::with_upstream(Choice::Private);
    let mut section = "";
    for row in TABLE {
        let (of, name) = row.key.split_once('.').unwrap_or(("", row.key));
        if of != section {
            section = of;
            text += &format!("\n[{section}]\n");
        }
        let value = (row.show)(&defaults);
        let (comment, value) = match (row.example, &row.set) {
            (Example::None(value), _) => ("#", format!("{value:?}")),
            (Example::Auto, _) => ("", "\"auto\"".to_owned()),
            (Example::Default, Set::Many { .. }) => {
                ("", format!("{:?}", value.split(", ").collect::<Vec<_>>()))
            }
            (Example::Default, Set::One(_)) if value.parse::<u64>().is_ok() => ("", value),
            (Example::Default, Set::One(_)) => ("", format!("{value:?}")),
        };
        text += &format!("\n# {}\n{comment}{name} = {value}\n", row.doc);
    }
    text
}

/// After a change of the table, `BLESS=1 cargo test example_file` writes the file anew.
#[test]
fn the_example_file_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nearside.toml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        example(),
        "BLESS=1 cargo test example_file writes it anew"
    );
}

#[test]
fn the_example_file_has_every_key_once_at_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nearside.toml");
    let text = std::fs::read_to_string(path)
        .unwrap()
        .replace("\n#upstream", "\nupstream");
    let mut given = file::parse("nearside.toml", &text).unwrap();
    let keys: Vec<&str> = given.iter().map(|given| given.row.key).collect();
    let table: Vec<&str> = TABLE.iter().map(|row| row.key).collect();
    assert_eq!(keys, table);
    given.retain(|given| given.row.key != "upstream");
    let private = environment::read(variables(&[("NEARSIDE_UPSTREAM", "private")])).unwrap();
    let settings = resolve([given, private, Vec::new()], Limits::default()).unwrap();
    assert_eq!(settings, Settings::with_upstream(Choice::Private));
}
