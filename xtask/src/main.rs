//! The project's own commands. `cargo xtask` without anything lists them.
#![allow(clippy::print_stdout, reason = "what a build command does, it says on stdout")]
#![allow(clippy::print_stderr, reason = "and its failures on stderr")]

mod bench;
mod bundle;
mod commands;
mod dependencies;
mod floors;
mod fuzz;
mod packages;
mod page;
mod peers;
mod program;
mod run;
mod screenshots;
mod setup;
mod soak;
mod steps;
mod test;
mod types;
mod world;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  run [ARGS]     set up what is missing, build, and start Ferry: the window, or without a display the demo
  test [FILTER]  set up what is missing, then every check; with FILTER only the steps whose name holds it
  bench [WHAT…]  measure against curl, wget, aria2 and rclone on this computer; fails where a budget is missed.
                 WHAT: download upload throttled small memory queue fairness; --rounds N (5), --size BYTES (2 GiB),
                 --write makes docs/benchmarks.md and its plot anew
  soak           mixed work under faults by chance: --minutes N (10), --seed S
  world [WHAT]   servers and stores by chance: --cases N (100,000 of each), --seed S. WHAT: servers, stores,
                 or compare: curl, wget and aria2 against the same servers (2,000)
  fuzz [TARGET]  odd input for the readers of foreign text: --seconds N for each (60), --keep what opens new ways
  bundle         make the installers of this platform, in target/release/bundle
  setup [FOR]    install what `run` (default), `test` or `bundle` needs
  types          write ui/src/engine/types.ts from the engine's types, and from the commands of the page its client and
                 its capability
  screenshots    take the pictures in docs/screenshots again";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) =
        words.split_first().map_or(("help", &[][..]), |(first, rest)| (first.as_str(), rest));
    let done = match command {
        "run" => run::run(rest),
        "test" => return test::run(rest),
        "bench" => bench::run(rest),
        "bundle" => bundle::run(),
        "setup" => setup::run(rest),
        "soak" => soak::soak(rest),
        "world" => world::world(rest),
        "fuzz" => fuzz::fuzz(rest),
        "types" => types::write(),
        "screenshots" => screenshots::run(),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command `{other}`\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
