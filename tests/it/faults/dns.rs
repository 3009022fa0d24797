//! Failover by DNS: the upstream is a name, which comes to stand for another address.
//!
//! Debian's libnss-wrapper has a program look names up in a file of the test's own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::scenario::{Cast, Expected, Scene};
use crate::support::redis::RedisServer;
use crate::support::{TempDir, eventually};

const NAME: &str = "redis.example";

/// The file, in a directory of its own.
struct Hosts {
    dir: TempDir,
}

impl Hosts {
    fn new(server: &RedisServer) -> Self {
        let hosts = Self {
            dir: TempDir::new(),
        };
        hosts.point_to(server);
        hosts
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// The name stands for `server` from now on.
    fn point_to(&self, server: &RedisServer) {
        let new = self.dir.path().join("new");
        let line = format!("{} {NAME}\n", server.addr().ip());
        fs::write(&new, line).expect("a file");
        fs::rename(&new, self.file()).expect("in place of the other");
    }
}

/// In front of the first of two servers, by its name.
fn begin(name: &'static str, primary: RedisServer, hosts: &Hosts) -> Scene {
    let upstream = format!("redis://{NAME}:{}", primary.addr().port());
    let file = hosts.file();
    let cast = Cast {
        settings: &[
            ("LD_PRELOAD", "libnss_wrapper.so"),
            ("NSS_WRAPPER_HOSTS", file.to_str().expect("UTF-8")),
        ],
        ..Cast::default()
    };
    Scene::with(name, primary, &upstream, &cast)
}

/// The replica takes over, with all writes so far; who was the primary stays, as its replica.
fn swap(scene: &mut Scene, replica: &RedisServer) {
    let addr = replica.addr();
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    scene.direct.must(&["FAILOVER", "TO", &ip, &port]);
    eventually("another primary", || {
        let info = scene.direct.must(&["INFO", "replication"]);
        let info = info.text()?;
        let swapped = ["role:slave\r", "master_link_status:up\r"];
        swapped.iter().all(|line| info.contains(line)).then_some(())
    });
    scene.move_to(replica);
}

/// What clients may be told by a replica.
const READ_ONLY: [&str; 2] = ["READONLY ", "EXECABORT "];

#[test]
fn the_name_moves_with_the_primary() {
    let [primary, replica] = RedisServer::start_pair();
    let hosts = Hosts::new(&primary);
    let mut scene = begin("the name moves with the primary", primary, &hosts);
    scene.strike(|scene| {
        hosts.point_to(&replica);
        swap(scene, &replica);
    });
    scene.heal(|_| {});
    scene.finish(&Expected {
        errors: &READ_ONLY,
        at_once: true,
        ..Expected::default()
    });
}

/// Until it does, whoever was the primary refuses writes.
#[test]
fn the_name_moves_later_than_the_primary() {
    let [primary, replica] = RedisServer::start_pair();
    let hosts = Hosts::new(&primary);
    let mut scene = begin("the name moves later", primary, &hosts);
    scene.strike(|scene| swap(scene, &replica));
    scene.last(Duration::from_millis(1500));
    scene.heal(|_| hosts.point_to(&replica));
    scene.finish(&Expected {
        errors: &READ_ONLY,
        at_once: true,
        ..Expected::default()
    });
}

#[test]
fn the_primary_is_killed() {
    let [primary, replica] = RedisServer::start_pair();
    let hosts = Hosts::new(&primary);
    let mut scene = begin("the primary is killed, its name moves", primary, &hosts);
    // No acknowledged write is lost with it.
    let offset = |server: &RedisServer, field: &str| {
        let info = server.client().must(&["INFO", "replication"]);
        let info = info.text().expect("a text").to_owned();
        let line = info.lines().find_map(|line| line.strip_prefix(field));
        line.map(str::to_owned)
    };
    scene.strike(|scene| {
        scene.direct.must(&["CLIENT", "PAUSE", "10000", "WRITE"]);
        eventually("a replica in step", || {
            let written = offset(&scene.server, "master_repl_offset:");
            (written.is_some() && written == offset(&replica, "slave_repl_offset:")).then_some(())
        });
        scene.server.kill();
        replica.client().must(&["REPLICAOF", "NO", "ONE"]);
        scene.move_to(&replica);
    });
    scene.last(Duration::from_millis(500));
    scene.heal(|_| hosts.point_to(&replica));
    scene.finish(&Expected::default());
}
