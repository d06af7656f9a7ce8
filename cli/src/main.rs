//! `moorline`, the operator's program: log in to a server, look after its devices, reach them by ssh.
//!
//! | module | holds |
//! |---|---|
//! | `arguments` | the command line, and which command runs for it |
//! | `commands` | one file per noun |
//! | `session` | what a command works with: output, profile, the server's API |
//! | `api` | calls to the server, TLS, and its errors in words |
//! | `profile` | what is remembered of each server |
//! | `gateway` | command lines and configuration for stock ssh |
//! | `output` | the one module that prints |
//! | `finding` | what names on the command line mean, and what comes close |
//! | `waiting` | for work that the server does by and by |
//! | `failure`, `exit` | errors with hints, exit statuses |
//!
//! *Invariant:* stdout carries data only, stderr all talk; passwords and secrets never come by argument.

mod api;
mod arguments;
mod commands;
mod exit;
mod failure;
mod finding;
mod gateway;
mod instant;
mod output;
mod private_file;
mod profile;
mod session;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.format());
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(arguments.run(output)));
    let exit = match result {
        Ok(()) => Exit::Ok,
        Err(error) if is_closed_pipe(&error) => Exit::Ok,
        Err(error) => {
            output.error(&error);
            failure::exit_of(&error)
        }
    };
    exit.into()
}

/// Whether the reader of our stdout has seen enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
