//! The program: reads what was asked for and does it.

use std::io::Write as _;
use std::process::ExitCode;

use nearside::admin::{client, wait};
use nearside::config::{self, Action};
use nearside::upstream::private;

fn main() -> ExitCode {
    let load = || config::load(std::env::args_os(), std::env::vars_os());
    match load() {
        Ok(Action::Run(settings)) => nearside::app::run(&settings, move || match load()? {
            Action::Run(settings) => Ok(*settings),
            _ => unreachable!("the same command line asks for the same"),
        }),
        Ok(Action::Wait { address, timeout }) => match wait::until_ready(address, timeout) {
            Ok(()) => ExitCode::SUCCESS,
            Err(said) => {
                eprintln!("nearside: {said}");
                ExitCode::FAILURE
            }
        },
        Ok(Action::BecomeCommand { parent, command }) => {
            client::leash::become_command(parent, &command)
        }
        Ok(Action::Alloc(order)) => client::run(&order),
        Ok(Action::Print(text)) => {
            // Nobody is left to be told that standard output is closed.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Action::GuardPrivateServer) => private::guard::run(),
        Err(failure) => {
            eprintln!("nearside: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
