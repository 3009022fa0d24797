//! Putting the rooms together.

use std::process::ExitCode;

use crate::config::Settings;
use crate::upstream::private::PrivateServer;
use crate::upstream::settings::Choice;

/// Holds what the settings ask for.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    let Settings { upstream, .. } = settings;
    let server = match upstream {
        Choice::Private => PrivateServer::start().map(Some),
        Choice::Endpoint(_) => Ok(None),
    };
    match server {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(_server)) => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("nearside: {error}");
            ExitCode::FAILURE
        }
    }
}
