//! A server whose certificate is by nobody whom nearside trusts, until it has another.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::scenario::{Cast, Expected, Scene};
use crate::support::TempDir;
use crate::support::client::Client;
use crate::support::redis::{RedisServer, free_address};

fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let ended = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        ended.expect("openssl on the PATH").success(),
        "{arguments:?}"
    );
}

/// A certificate for this machine by nobody but its owner, and its key.
struct Certificate {
    file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn new(dir: &Path, name: &str) -> Self {
        let (file, key) = (dir.join(name), dir.join(format!("{name}.key")));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            text(&key),
            "-out",
            text(&file),
            "-days",
            "30",
            "-subj",
            "/CN=redis",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:false",
        ]);
        Self { file, key }
    }

    /// The server shows it to whoever connects from now on.
    fn show(&self, direct: &mut Client) {
        direct.must(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            text(&self.file),
            "tls-key-file",
            text(&self.key),
        ]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_wrong_certificate() {
    let dir = TempDir::new();
    let [right, wrong] = ["right", "wrong"].map(|name| Certificate::new(dir.path(), name));
    let tls = free_address();
    let server = RedisServer::start(&[
        "--tls-port",
        &tls.port().to_string(),
        "--tls-ca-cert-file",
        text(&right.file),
        "--tls-cert-file",
        text(&right.file),
        "--tls-key-file",
        text(&right.key),
        "--tls-auth-clients",
        "no",
    ]);
    let upstream = format!("rediss://{tls}");
    let cast = Cast {
        settings: &[("NEARSIDE_TLS_CA_FILE", text(&right.file))],
        ..Cast::default()
    };
    let mut scene = Scene::with("a wrong certificate", server, &upstream, &cast);
    scene.strike(|scene| {
        wrong.show(&mut scene.direct);
        scene.cut_nearside();
    });
    scene.last(Duration::from_millis(1500));
    scene.heal(|scene| right.show(&mut scene.direct));
    scene.finish(&Expected::default());
}
