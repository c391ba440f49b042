//! `ferry`, the terminal face: thin over the engine, which it shares with the window.
#![allow(clippy::print_stdout, reason = "a command line's results go to stdout")]
#![allow(clippy::print_stderr, reason = "a command line's failures go to stderr")]

mod arguments;
mod bars;
mod clock;
mod commands;
mod follow;
mod interrupt;
mod log;
mod report;
mod size;
mod standing;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arguments::{Arguments, Command};
use commands::Session;
use ferry_engine::redact;
use interrupt::Interrupt;

/// How a run ended: its exit code is part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for is done.
    Completed,
    /// At least one thing failed.
    Failed,
    /// What was asked for makes no sense.
    Usage,
    /// The user, or the session's end, stopped it.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Completed => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::Interrupted => 130,
        })
    }
}

fn main() -> ExitCode {
    #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment meanwhile")]
    // SAFETY: this is the only thread.
    unsafe {
        ferry_engine::take_keys_from_environment();
    }
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return say_usage(&error),
    };
    log::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error[internal]: Ferry could not start; {error}; close some programs and try again");
            return Outcome::Failed.into();
        }
    };
    let outcome = runtime.block_on(run(arguments));
    // A read from stdin cannot be called back: do not wait for it.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome.into()
}

/// Prints clap's help (exit 0) or complaint (exit 2), which may quote what the user typed.
fn say_usage(error: &clap::Error) -> ExitCode {
    let styled = error.render();
    let (text, code) = if error.use_stderr() {
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let text = if colour { styled.ansi().to_string() } else { styled.to_string() };
        (text, Outcome::Usage)
    } else {
        (styled.to_string(), Outcome::Completed)
    };
    // Whoever closed the pipe knows enough.
    let _ = match code {
        Outcome::Usage => write!(std::io::stderr(), "{}", redact(&text)),
        _ => write!(std::io::stdout(), "{text}"),
    };
    code.into()
}

async fn run(arguments: Arguments) -> Outcome {
    let mut interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            eprintln!("error[internal]: Ferry could not listen for Ctrl-C; {error}; try again");
            return Outcome::Failed;
        }
    };
    let engines = Arc::new(commands::Engines::default());
    let session = Session::new(&arguments.everywhere, engines.clone());
    let mut ended_by = None;
    let outcome = match arguments.command {
        // Ctrl-C is how these end, so there it is no interruption.
        command @ (Command::Sandbox { .. }
        | Command::Serve { .. }
        | Command::Queue(arguments::Shown { watch: true, .. })) => {
            commands::run_until(command, &mut interrupt, session).await
        }
        command => tokio::select! {
            biased;
            outcome = commands::run(command, session) => outcome,
            ending = interrupt.next() => {
                ended_by = Some(ending);
                Outcome::Interrupted
            }
        },
    };
    let mut unfinished = false;
    let ending = async {
        if let Some(ending) = ended_by {
            unfinished = engines.interrupt(ending).await;
        }
        engines.shut_down().await;
    };
    // A second Ctrl-C does not wait for the checkpoint.
    tokio::select! {
        biased;
        () = ending => {}
        _ = interrupt.next() => {}
    }
    if unfinished {
        eprintln!("interrupted: what is unfinished stays in the queue; `ferry resume` goes on");
    }
    outcome
}
