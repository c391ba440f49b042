//! `ferry completions`: what a shell needs to complete a command line, from the same definition as the help.

use clap::CommandFactory as _;
use clap_complete::Shell;
use ferry_engine::Error;

use super::Session;
use crate::Outcome;
use crate::arguments::Arguments;

/// Prints the script of this shell.
pub fn run(shell: Shell, session: &mut Session) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ferry", &mut script);
    session.report.line(String::from_utf8_lossy(&script).trim_end());
    session.report.wrote_all()?;
    Ok(Outcome::Completed)
}
