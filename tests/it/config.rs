//! The program's answer to what it is asked for: exit codes, and one line on standard error.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NEARSIDE: &str = env!("CARGO_BIN_EXE_nearside");

fn nearside(env: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(NEARSIDE)
        .env_clear()
        .envs(env.iter().copied())
        .args(args)
        .output()
        .unwrap()
}

/// Ends with 78 and says nothing but `line`.
fn refused(output: &Output, line: &str) {
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("{line}\n"));
}

/// A file in the directory that cargo keeps for tests.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_example_file_is_ok() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/nearside.toml");
    let output = nearside(&[("NEARSIDE_COLOUR", "red")], &["check-config", example]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{example}: ok\n")
    );
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_wrong_file_is_refused_by_check_and_start_alike() {
    let path = file(
        "wrong.toml",
        "upstream = \"private\"\n\n[l1]\nmode = \"onn\"\n",
    );
    let path = path.to_str().unwrap();
    let line = format!(r#"nearside: {path}:4: l1.mode: "onn" is not one of on, off, shadow"#);
    refused(&nearside(&[], &["check-config", path]), &line);
    refused(&nearside(&[], &["--config", path]), &line);
}

#[test]
fn a_file_that_is_not_there() {
    let line = "nearside: /no/such.toml: No such file or directory (os error 2)";
    refused(&nearside(&[], &["--config", "/no/such.toml"]), line);
}

#[test]
fn a_file_that_is_not_text() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("binary.toml");
    std::fs::write(&path, b"log = 'text'\n\xff\n").unwrap();
    let path = path.to_str().unwrap();
    refused(
        &nearside(&[], &["--config", path]),
        &format!("nearside: {path}:2: not UTF-8"),
    );
}

#[test]
fn no_upstream() {
    let output = nearside(&[], &[]);
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(
        line.starts_with("nearside: no upstream given: use --upstream, "),
        "{line}"
    );
    refused(&output, line.trim_end());
}

#[test]
fn wrong_variables_and_flags() {
    let upstream = ("NEARSIDE_UPSTREAM", "redis://127.0.0.1:1");
    refused(
        &nearside(&[upstream, ("NEARSIDE_WORKERS", "0")], &[]),
        r#"nearside: environment NEARSIDE_WORKERS: "0" is not a whole number from 1 to 64, or auto"#,
    );
    refused(
        &nearside(&[upstream, ("NEARSIDE_L1_MOD", "on")], &[]),
        "nearside: environment NEARSIDE_L1_MOD: unknown variable; did you mean NEARSIDE_L1_MODE?",
    );
    refused(
        &nearside(&[upstream], &["--workers", "0"]),
        r#"nearside: --workers: "0" is not a whole number from 1 to 64, or auto"#,
    );
    refused(
        &nearside(&[upstream], &["--lisen", "127.0.0.1:0"]),
        "nearside: unexpected argument '--lisen' found; a similar argument exists: '--listen'",
    );
}

#[test]
fn help_and_version_end_well() {
    for (flag, part) in [
        ("--help", "Usage: nearside"),
        ("--version", concat!("nearside ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = nearside(&[], &[flag]);
        assert!(output.status.success(), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(part),
            "{output:?}"
        );
    }
}
