//! Putting the rooms together.

use std::process::ExitCode;

use crate::config::{self, Settings};

/// Shows the settings.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    for (key, value) in config::describe(&settings) {
        println!("{key} = {value}");
    }
    drop(settings);
    ExitCode::SUCCESS
}
