//! The private server: it answers, and is gone, process and directory, whoever ends first and however.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nearside::upstream::private::{GUARD_SUBCOMMAND, PrivateServer};
use nearside::upstream::settings::Address;
use rustix::process::{Pid, Signal, kill_process};

const NEARSIDE: &str = env!("CARGO_BIN_EXE_nearside");

const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> PrivateServer {
    PrivateServer::start_with(Path::new(NEARSIDE)).unwrap()
}

fn socket(server: &PrivateServer) -> PathBuf {
    match server.endpoint().address {
        Address::Unix(path) => path,
        tcp @ Address::Tcp { .. } => panic!("{tcp}"),
    }
}

fn answers(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The fields of `/proc/<pid>/stat` after the name, state first; `None` without such a process.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// A process that has ended and is not reaped yet does not run.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

fn parent(pid: u32) -> u32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

fn process_group(pid: u32) -> u32 {
    stat(pid).unwrap()[2].parse().unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until_gone(pid: u32, directory: &Path) {
    until("the server has ended", || !runs(pid));
    until("the directory is removed", || !directory.exists());
}

#[test]
fn it_answers_and_is_gone_when_stopped() {
    let server = start();
    let (pid, socket) = (server.pid(), socket(&server));
    let directory = socket.parent().unwrap();
    answers(&socket);
    assert_eq!(
        directory.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    // Ctrl-C goes to the terminal's group, which neither is in.
    assert_eq!(process_group(pid), pid);
    assert_eq!(process_group(parent(pid)), parent(pid));
    server.stop();
    assert!(!runs(pid));
    assert!(!directory.exists());
}

#[test]
fn two_at_a_time_are_two() {
    let (one, other) = (start(), start());
    assert_ne!(socket(&one), socket(&other));
    answers(&socket(&one));
    drop(one);
    answers(&socket(&other));
}

#[test]
fn a_server_that_ends_by_itself_is_noticed() {
    let mut server = start();
    let (pid, socket) = (server.pid(), socket(&server));
    let (ended, noticed) = mpsc::channel();
    server.on_end(move || ended.send(()).unwrap()).unwrap();
    signal(pid, Signal::KILL);
    noticed.recv_timeout(PATIENCE).unwrap();
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn it_is_gone_also_when_the_guard_was_killed() {
    let server = start();
    let (pid, socket) = (server.pid(), socket(&server));
    signal(parent(pid), Signal::KILL);
    drop(server);
    until_gone(pid, socket.parent().unwrap());
}

/// This test runs itself as the process that has a private server and is killed.
#[test]
fn it_is_gone_when_its_owner_is_killed() {
    const OWNER: &str = "PRIVATE_SERVER_OWNER";
    if std::env::var_os(OWNER).is_some() {
        let server = start();
        eprintln!("started {} {}", server.pid(), socket(&server).display());
        std::thread::sleep(PATIENCE);
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "private::it_is_gone_when_its_owner_is_killed",
            "--nocapture",
        ])
        .env(OWNER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stderr.take().unwrap()).lines();
    let started = lines.map_while(Result::ok).find_map(|line| {
        let (pid, socket) = line.strip_prefix("started ")?.split_once(' ')?;
        Some((pid.parse().unwrap(), PathBuf::from(socket)))
    });
    let (pid, socket): (u32, PathBuf) = started.unwrap();
    answers(&socket);
    owner.kill().unwrap();
    owner.wait().unwrap();
    until_gone(pid, socket.parent().unwrap());
}

#[test]
fn it_is_gone_when_nearside_is_killed() {
    let room = std::env::temp_dir().join(format!("private-{}", std::process::id()));
    std::fs::create_dir(&room).unwrap();
    let mut nearside = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", NEARSIDE])
        .args([
            "--upstream",
            "private",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "off",
        ])
        .env("TMPDIR", &room)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let directory = || Some(std::fs::read_dir(&room).unwrap().next()?.unwrap().path());
    until("the server answers", || {
        directory().is_some_and(|path| UnixStream::connect(path.join("redis.sock")).is_ok())
    });
    nearside.kill().unwrap();
    nearside.wait().unwrap();
    until("the directory is removed", || directory().is_none());
    std::fs::remove_dir(&room).unwrap();
}

fn guard() -> Command {
    let mut command = Command::new(NEARSIDE);
    command
        .arg(GUARD_SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

fn report(guard: &mut Child) -> String {
    let mut line = String::new();
    let mut reports = BufReader::new(guard.stdout.take().unwrap());
    reports.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn the_guard_lives_as_long_as_its_standard_input() {
    // Its settings are nobody's business: a wrong environment does not keep it from starting.
    let mut guard = guard().env("NEARSIDE_COLOUR", "red").spawn().unwrap();
    let line = report(&mut guard);
    let (pid, directory) = line
        .strip_prefix("ready ")
        .unwrap()
        .split_once(' ')
        .unwrap();
    let (pid, directory) = (pid.parse().unwrap(), Path::new(directory));
    for ignored in [Signal::HUP, Signal::INT, Signal::TERM] {
        signal(guard.id(), ignored);
    }
    answers(&directory.join("redis.sock"));
    drop(guard.stdin.take());
    assert!(guard.wait().unwrap().success());
    assert!(!runs(pid));
    assert!(!directory.exists());
}

#[test]
fn without_a_redis_server_the_guard_says_what_to_install() {
    let mut guard = guard().env("PATH", "/nowhere").spawn().unwrap();
    let line = report(&mut guard);
    assert!(
        line.starts_with("failed neither redis-server nor valkey-server is on PATH; "),
        "{line}"
    );
    assert!(line.contains("apt-get install redis-server"), "{line}");
    assert!(!guard.wait().unwrap().success());
}

#[test]
fn a_directory_that_cannot_be_is_a_readable_failure() {
    let long = format!("/tmp/{}", "x".repeat(100));
    for (directory, why) in [
        ("/no/such", "cannot create /no/such/nearside-"),
        (&long, "cannot hold"),
    ] {
        let mut guard = guard().env("TMPDIR", directory).spawn().unwrap();
        let line = report(&mut guard);
        assert!(line.contains(why) && line.contains("TMPDIR"), "{line}");
        assert!(!guard.wait().unwrap().success());
    }
}

#[test]
fn a_program_that_is_no_guard_is_a_readable_failure() {
    let failure = PrivateServer::start_with(Path::new("/bin/true")).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "private server: its guard ended before it was up"
    );
    let failure = PrivateServer::start_with(Path::new("/no/such")).unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("private server: cannot run /no/such: ")
    );
}
