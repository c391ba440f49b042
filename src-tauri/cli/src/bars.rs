//! Progress bars on a terminal: one for each transfer that moves, one line above them when there are several.

use std::collections::HashMap;
use std::time::Duration;

use ferry_engine::{Transfer, TransferId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::standing::standing;

/// Redraws a second: enough for the eye, little for a slow terminal.
const REDRAWS: u8 = 10;
/// How often a spinner turns while nothing else changes.
const TICK: Duration = Duration::from_millis(250);

/// The bars on stderr.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    headline: Option<ProgressBar>,
    each: HashMap<TransferId, ProgressBar>,
}

impl Bars {
    /// Nothing is drawn until something moves.
    pub fn new() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS)),
            headline: None,
            each: HashMap::new(),
        }
    }

    /// Writes something else without tearing the bars.
    pub fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }

    /// Draws a transfer as it stands.
    pub fn show(&mut self, transfer: &Transfer) {
        let bar = self.each.entry(transfer.id).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::no_length());
            bar.enable_steady_tick(TICK);
            bar
        });
        match transfer.total {
            Some(total) => {
                bar.set_style(style("{prefix} {bar:24} {msg}"));
                bar.set_length(total);
            }
            None => bar.set_style(style("{prefix} {spinner} {msg}")),
        }
        bar.set_prefix(shortened(&transfer.name));
        bar.set_position(transfer.bytes);
        bar.set_message(standing(transfer));
    }

    /// Takes a transfer's bar away.
    pub fn end(&mut self, id: TransferId) {
        if let Some(bar) = self.each.remove(&id) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    /// Says how many are done, when there are several.
    pub fn headline(&mut self, done: usize, all: usize) {
        if all < 2 {
            return;
        }
        let bar = self.headline.get_or_insert_with(|| {
            let bar = self.all.insert(0, ProgressBar::no_length());
            bar.set_style(style("{msg}"));
            bar
        });
        bar.set_message(format!("{done} of {all} done"));
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        for (_, bar) in self.each.drain() {
            bar.finish_and_clear();
        }
        if let Some(bar) = self.headline.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are the two above: a broken one shows up as the default style, in development.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The name in at most 32 characters, its end kept: there stand the number and the extension.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= 32 {
        return name.to_owned();
    }
    let head: String = name.chars().take(15).collect();
    let tail: String = name.chars().skip(length - 16).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("movie.mp4"), "movie.mp4");
        let long = shortened("Überfahrt mit einem sehr langen Namen, Teil 12.mp4");
        assert_eq!(long.chars().count(), 32);
        assert!(long.starts_with("Überfahrt") && long.ends_with("Teil 12.mp4"));
    }
}
