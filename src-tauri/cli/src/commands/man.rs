//! `ferry man`: the manual page, from the same definition as the help.

use clap::CommandFactory as _;
use ferry_engine::Error;

use super::Session;
use crate::Outcome;
use crate::arguments::Arguments;

/// Prints the manual page in roff.
pub fn run(session: &mut Session) -> Result<Outcome, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command())
        .render(&mut page)
        .map_err(|error| Error::internal(error.to_string()))?;
    session.report.line(String::from_utf8_lossy(&page).trim_end());
    Ok(Outcome::Completed)
}
