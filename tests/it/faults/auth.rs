//! Passwords that are changed elsewhere, while connections that were let in before are lost.

use std::fs;
use std::time::Duration;

use super::scenario::{Cast, Expected, Scene};
use super::server::BACK;
use crate::support::TempDir;
use crate::support::client::Client;
use crate::support::redis::RedisServer;

/// `user` has that password, and no other.
fn give(direct: &mut Client, user: &str, password: &str) {
    let password = format!(">{password}");
    direct.must(&[
        "ACL",
        "SETUSER",
        user,
        "on",
        "resetpass",
        &password,
        "~*",
        "&*",
        "+@all",
    ]);
}

/// nearside is not let in until the file has the new password.
#[test]
fn nearside_s_own_password() {
    let server = RedisServer::start(&[]);
    give(&mut server.client(), "near", "one");
    let dir = TempDir::new();
    let file = dir.path().join("password");
    fs::write(&file, "one").expect("a file");
    let upstream = format!("redis://{}", server.addr());
    let cast = Cast {
        settings: &[
            ("NEARSIDE_USERNAME", "near"),
            ("NEARSIDE_PASSWORD_FILE", file.to_str().expect("UTF-8")),
        ],
        ..Cast::default()
    };
    let mut scene = Scene::with("nearside's password", server, &upstream, &cast);
    scene.strike(|scene| {
        give(&mut scene.direct, "near", "two");
        scene.cut_nearside();
    });
    scene.last(Duration::from_secs(1));
    scene.heal(|_| fs::write(&file, "two").expect("a file"));
    scene.finish(&Expected {
        errors: &["WRONGPASS ", "NOAUTH "],
        at_once: true,
        closes: true,
        back: BACK,
        ..Expected::default()
    });
}

/// Clients are not let in until they have the new password.
#[test]
fn a_client_s_password() {
    let server = RedisServer::start(&[]);
    give(&mut server.client(), "amy", "one");
    let upstream = format!("redis://{}", server.addr());
    let cast = Cast {
        login: Some(("amy", "one")),
        ..Cast::default()
    };
    let mut scene = Scene::with("a client's password", server, &upstream, &cast);
    scene.strike(|scene| {
        give(&mut scene.direct, "amy", "two");
        scene.cut_nearside();
    });
    scene.last(Duration::from_secs(1));
    scene.heal(|scene| scene.log_in_with("amy", "two"));
    scene.finish(&Expected {
        errors: &["WRONGPASS ", "NOAUTH "],
        at_once: true,
        closes: true,
        back: BACK,
        ..Expected::default()
    });
}

/// Where nobody had to give a password, one is asked for.
#[test]
fn a_password_of_all() {
    let mut scene = Scene::new("a password for all", RedisServer::start(&[]));
    let require = |scene: &mut Scene, password: &str| {
        scene
            .direct
            .must(&["CONFIG", "SET", "requirepass", password]);
    };
    scene.strike(|scene| {
        require(scene, "one");
        scene.cut_nearside();
    });
    scene.last(Duration::from_secs(1));
    scene.heal(|scene| require(scene, ""));
    scene.finish(&Expected {
        errors: &["NOAUTH ", "EXECABORT "],
        at_once: true,
        closes: true,
        back: BACK,
        ..Expected::default()
    });
}
