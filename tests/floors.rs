//! A room imports only rooms on lower floors.

use std::fs;
use std::path::Path;

const FLOORS: [&[&str]; 9] = [
    &["sync"],
    &["resp", "telemetry"],
    &["command", "l1", "security"],
    &["upstream"],
    &["proxy"],
    &["downstream", "allocation"],
    &["admin", "inject"],
    &["config"],
    &["app", "main"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a text names behind `crate::`, groups included.
fn named(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |s: &str| {
            s.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut part = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            rooms.push(word(&part));
                            part.clear();
                            continue;
                        }
                        _ => {}
                    }
                    part.push(c);
                }
                rooms.push(word(&part));
            }
            None => rooms.push(word(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

/// What is wrong with a file of `room`.
fn wrong_arrows(room: &str, text: &str) -> Vec<String> {
    let own = floor(room).unwrap_or_else(|| panic!("the room {room} has no floor"));
    let mut wrong = named(text);
    wrong.retain(|other| other != room && floor(other).is_none_or(|other| other >= own));
    wrong
}

fn visit(room: Option<&str>, path: &Path, wrong: &mut Vec<String>) {
    for entry in fs::read_dir(path).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            visit(Some(room.unwrap_or(&name)), &path, wrong);
        } else if name != "lib" || room.is_some() {
            let room = room.unwrap_or(&name);
            let text = fs::read_to_string(&path).expect("a source file");
            wrong.extend(
                wrong_arrows(room, &text)
                    .into_iter()
                    .map(|other| format!("{} -> {other}", path.display())),
            );
        }
    }
}

#[test]
fn arrows_run_downwards() {
    let mut wrong = Vec::new();
    visit(
        None,
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut wrong,
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_arrow_that_runs_up_is_seen() {
    assert_eq!(
        wrong_arrows("l1", "use crate::{resp::{a, b}, proxy::session};"),
        ["proxy"]
    );
    assert_eq!(
        wrong_arrows("l1", "crate::command::find(x); crate::l1::Rule::Fence"),
        ["command"]
    );
    assert!(wrong_arrows("proxy", "use crate::upstream::lane;").is_empty());
}
