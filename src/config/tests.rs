//! Sources against each other.

mod example;
mod keyspaces;
mod refusals;

use std::collections::BTreeSet;
use std::time::Duration;

use super::schema::rows;
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
pub(super) fn settings(
    file: &str,
    env: &[(&str, &str)],
    args: &[&str],
) -> Result<Settings, Failure> {
    let file = file::parse("n.toml", file)?;
    let sources = [environment::read(variables(env))?, flags(args)?];
    resolve(file, sources, Limits::default())
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
    // What has no default is shown as nothing, and is tested one by one.
    let with_default = |row: &&schema::Row| !(row.show)(&all).is_empty();
    for row in rows().filter(with_default) {
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
fn the_breakers_keys() {
    let file = "[breaker]\nfailure_rate = 0.25\nminimum_calls = 7\nwindow = '10m'\nslow_call_duration = '300ms'\n\
                slow_call_rate = 1\nerror_prefix = 'LOADING'\n";
    let breaker = from_file(file).unwrap().lane.breaker;
    assert_eq!(
        (breaker.failure_rate, breaker.slow_call_rate),
        (250_000, 1_000_000)
    );
    assert_eq!(
        (breaker.minimum_calls, breaker.window),
        (7, Duration::from_secs(600))
    );
    assert_eq!(breaker.slow_call_duration, Some(Duration::from_millis(300)));
    assert_eq!(breaker.error_prefix, "LOADING");
    let off = from_file("[breaker]\nslow_call_duration = '0s'").unwrap();
    assert_eq!(off.lane.breaker.slow_call_duration, None);
}

#[test]
fn keys_without_a_default_are_variables_too() {
    let env = [
        ("NEARSIDE_UPSTREAM", "rediss://redis"),
        ("NEARSIDE_USERNAME", "app"),
        ("NEARSIDE_PASSWORD_FILE", "/p"),
        ("NEARSIDE_L1_MODULE_READS", "json.get, JSON.MGET"),
        ("NEARSIDE_TLS_CA_FILE", "/ca"),
        ("NEARSIDE_TLS_CERT_FILE", "/cert"),
        ("NEARSIDE_TLS_KEY_FILE", "/key"),
        ("NEARSIDE_TLS_SERVER_NAME", "name"),
    ];
    let shown = describe(&settings("", &env, &[]).unwrap());
    for (key, value) in [
        ("upstream", "rediss://redis:6379"),
        ("username", "app"),
        ("password_file", "/p"),
        ("l1.module_reads", "JSON.GET, JSON.MGET"),
        ("tls.ca_file", "/ca"),
        ("tls.cert_file", "/cert"),
        ("tls.key_file", "/key"),
        ("tls.server_name", "name"),
    ] {
        assert!(
            shown.contains(&(key.to_owned(), value.to_owned())),
            "{shown:?}"
        );
    }
}

#[test]
fn no_two_keys_share_a_variable() {
    let names: BTreeSet<String> = rows().map(schema::Row::variable).collect();
    assert_eq!(names.len(), rows().count());
}

#[test]
fn auto_is_what_the_limits_allow() {
    let limits = Limits {
        memory: Some(256 << 20),
        millicores: Some(3000),
    };
    let auto = file::parse(
        "n.toml",
        "upstream = 'private'\nworkers = 'auto'\nl1.max_bytes = 'auto'\n",
    );
    for file in [auto, file::parse("n.toml", UPSTREAM)] {
        let settings = resolve(file.unwrap(), [Vec::new(), Vec::new()], limits).unwrap();
        assert_eq!(settings.downstream.workers, 3);
        assert_eq!(settings.l1.max_bytes, 64 << 20);
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

/// The configuration that `docs/tracing.md` begins with, at its defaults but for what it turns on.
#[test]
fn the_configuration_in_the_documentation_of_traces() {
    let text = include_str!("../../docs/tracing.md");
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let traces = settings(file, &[], &[]).unwrap().telemetry.traces;
    assert!(traces.endpoint.is_some() && traces.metrics_interval.is_some());
    let defaults = telemetry::traces::settings::Settings {
        endpoint: traces.endpoint.clone(),
        metrics_interval: traces.metrics_interval,
        ..Default::default()
    };
    assert_eq!(traces, defaults);
}
