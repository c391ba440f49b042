//! What can be typed: every command and option, with its help.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use ferry_engine::{Checksum, Header, ServiceId, TransferId, UploadMethod};

use crate::size;

/// Moves files between this computer and services that hand out signed URLs, and proves that they arrived.
///
/// With nothing set up, everything goes to a built-in service on this computer, the sandbox: `ferry upload FILE`
/// prints an id, `ferry download ID` brings the file back.
#[derive(Debug, Parser)]
#[command(name = "ferry", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  ferry demo                              the whole way of a file, proven, in a few seconds
  ferry upload movie.mp4                  prints the asset id, a tab, the path
  ferry download re_0123456789            prints the path of the finished file
  ferry download https://example.org/a.iso --dir /tmp
  ferry resume                            goes on with everything unfinished
  ferry serve                             holds the queue for all others, until Ctrl-C

Exit codes: 0 all completed, 1 at least one failed, 2 usage, 130 interrupted (the queue is kept).")]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub everywhere: Everywhere,
    /// Speed and patience, where they stand before the command.
    #[command(flatten)]
    pub pace: Pace,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Everywhere {
    /// Where settings, queue and library live [default: the platform's data folder].
    #[arg(long, global = true, value_name = "DIR", env = "FERRY_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// One JSON object a line on stdout, nothing else there.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress; errors still on stderr.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send files; folders send every file in them.
    #[command(after_help = "\
Examples:
  ferry upload movie.mp4 photos/
  ferry upload movie.mp4 --service mavi --limit-rate 2M
  ferry upload movie.mp4 --to - < signed-url.txt
  ferry upload photos/ --if-sent reuse    sends only what was not sent before

Prints one line a file, in the order given: the asset id (`-` with --to), a tab, the path.")]
    Upload(Upload),
    /// Bring files into the Downloads folder.
    #[command(after_help = "\
Examples:
  ferry download re_0123456789 VI0123456789
  ferry download https://example.org/file.iso --connections 4
  ferry download https://example.org/watch/1 --service offline-tube --quality 1080p --remove-after
  ferry download https://example.org/file.iso --checksum sha256:9f86d081884c7d65…
  ferry download - < links.txt            one a line, so that they are not in the process list
  ferry download -i list.txt              the same from a file, each with settings of its own

Prints one line a file, in the order given: its full path. The same download again continues an unfinished one;
nothing is ever overwritten.")]
    Download(Download),
    /// Show the queue.
    Queue(Shown),
    /// Pause transfers; without an id, everything unfinished.
    Pause(Rows),
    /// Go on with transfers; without an id, with everything unfinished, also after a crash.
    Resume(Continue),
    /// Give transfers up, keeping what has arrived; without an id, everything unfinished.
    Cancel(Rows),
    /// Try failed or canceled transfers again; without an id, everything that failed.
    Retry(Continue),
    /// Take transfers off the list, with what an unfinished one has saved; without an id, everything completed.
    Remove(Rows),
    /// The library of what was sent.
    #[command(after_help = "\
Examples:
  ferry assets --search holiday
  ferry assets --where movie.mp4          which assets have this file's content
  ferry assets --export library.csv
  ferry assets --import library.csv
  ferry assets info re_0123456789
  ferry assets delete re_0123456789")]
    Assets(Assets),
    /// Show which services are set up.
    Services,
    /// Ask a service whether it is there and takes the key.
    Check {
        /// The service.
        service: Service,
    },
    /// Set or remove a service's key.
    #[command(subcommand)]
    Key(Key),
    /// Run the built-in service on this computer until Ctrl-C.
    ///
    /// It prints its addresses and the key of this run. Nobody gets anything who knows neither, and each run has new
    /// ones. Web pages are refused. The sandbox that `ferry upload` uses by itself is another one: it runs inside the
    /// program and has no port.
    Sandbox {
        /// Port on 127.0.0.1 [default: any free one].
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        port: u16,
    },
    /// Hold the queue without a window, until Ctrl-C or SIGTERM.
    ///
    /// Goes on with everything unfinished, and carries out what every other `ferry` of this data folder asks for, so that
    /// transfers outlive the terminal that added them. A window that is started takes over, and gives it back when it ends.
    #[command(after_help = "\
Examples:
  ferry serve &
  ferry upload movie.mp4 --detach         prints the transfer's id, a tab, its name, and ends at once
  ferry queue --watch")]
    Serve {
        /// End after so many seconds with nothing to do.
        #[arg(long, value_name = "SECONDS")]
        idle: Option<u64>,
    },
    /// Show the whole way of a file against the built-in service: sign, send, verify, download, compare.
    Demo {
        /// Size of the file that is sent.
        #[arg(long, default_value = "64MiB", value_parser = size::parse)]
        size: u64,
    },
    /// Print what a shell needs to complete commands and options.
    #[command(after_help = "\
Examples:
  ferry completions bash > ~/.local/share/bash-completion/completions/ferry
  ferry completions zsh > \"${fpath[1]}/_ferry\"
  ferry completions fish > ~/.config/fish/completions/ferry.fish
  ferry completions powershell >> $PROFILE")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

/// What `upload` takes.
#[derive(Debug, Args)]
pub struct Upload {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where to send them [default: the default service of the settings].
    #[arg(long, value_name = "S")]
    pub service: Option<Service>,
    /// Send the one file to this signed URL of your own; `-` reads it from stdin, so that it is not in the process
    /// list.
    #[arg(long, value_name = "SIGNED_URL", conflicts_with = "service")]
    pub to: Option<String>,
    /// How to send [default: by what the signed URL says].
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// The type of the content, where the signed URL has it bound [default: by the URL and the file's name].
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// With --to: a header for that host alone, `NAME: VALUE`; `@FILE` reads them from a file, one a line, so that they
    /// are not in the process list. Repeatable.
    #[arg(long = "header", value_name = "HEADER", value_parser = headers, requires = "to")]
    pub headers: Vec<Headers>,
    /// What becomes of files whose content was sent to the service before, under any name. Files of the same size as
    /// one of those are read for it.
    #[arg(long, value_enum, value_name = "WAY", default_value_t, conflicts_with = "to")]
    pub if_sent: IfSent,
    /// Follow links in folders that stay inside them [default: the setting; without it links are left out].
    #[arg(long)]
    pub follow_links: bool,
    /// Leave the transfers to whoever holds the queue, as `ferry serve` or the window: print one line each, the id, a
    /// tab, the name, and end at once.
    #[arg(long)]
    pub detach: bool,
    /// Speed and patience.
    #[command(flatten)]
    pub pace: Pace,
}

/// What `download` takes.
#[derive(Debug, Args)]
pub struct Download {
    /// A link, an asset id, a video number, a server's download id; with `--service offline-tube` a page. `-` reads them
    /// from stdin, one a line, so that they are not in the process list; empty lines and those that begin with `#` are
    /// left out.
    #[arg(required_unless_present = "input", value_name = "WHAT")]
    pub what: Vec<String>,
    /// Read what to download from a file, `-` for stdin: one item a line, the link or id first, then, each after a tab,
    /// what differs for it of `dir=…`, `name=…`, `checksum=…` and `service=…`.
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Where from [default: `link` for http(s) URLs, else the default service of the settings].
    #[arg(long, value_name = "S")]
    pub service: Option<Service>,
    /// Folder to save in [default: the Downloads folder].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Name to save under [default: the one that the service gives].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What the file's checksum must be: `md5`, `sha1`, `sha256`, `sha512` or `crc32c`, a colon, the hex digits. A file
    /// with another one is not saved.
    #[arg(long, value_name = "ALGORITHM:HEX")]
    pub checksum: Option<Checksum>,
    /// Visual Search: the `unique_id` that was used at upload.
    #[arg(long, value_name = "ID")]
    pub unique_id: Option<String>,
    /// Media downloader: the quality to ask for, as in `720p`.
    #[arg(long, value_name = "Q")]
    pub quality: Option<String>,
    /// Media downloader: remove the file from the server afterwards.
    #[arg(long)]
    pub remove_after: bool,
    /// Most connections for one file, 1 to 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: Option<u8>,
    /// Leave the transfers to whoever holds the queue, as `ferry serve` or the window: print one line each, the id, a
    /// tab, the name, and end at once.
    #[arg(long)]
    pub detach: bool,
    /// For links: a header for that host alone, `NAME: VALUE`; `@FILE` reads them from a file, one a line, so that they
    /// are not in the process list. Repeatable.
    #[arg(long = "header", value_name = "HEADER", value_parser = headers)]
    pub headers: Vec<Headers>,
    /// Speed and patience.
    #[command(flatten)]
    pub pace: Pace,
}

/// What one `--header` names: one, or those of a file; or what is wrong with it. That is told by [`parse`], as a value that
/// clap refuses is printed, and these are secrets.
#[derive(Clone)]
pub struct Headers(Result<Vec<Header>, String>);

impl Headers {
    /// All that these name.
    pub fn all(some: &[Self]) -> Vec<Header> {
        some.iter().filter_map(|one| one.0.clone().ok()).flatten().collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads `NAME: VALUE` or `@FILE`.
impl From<&str> for Headers {
    fn from(text: &str) -> Self {
        let Some(file) = text.strip_prefix('@') else { return Self(header(text).map(|one| vec![one])) };
        Self(match std::fs::read_to_string(file) {
            Err(error) => Err(format!("--header: {file} cannot be read: {error}")),
            Ok(text) => {
                let lines = text.lines().map(str::trim);
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(header).collect()
            }
        })
    }
}

/// Always `Ok`: see [`Headers`].
#[allow(clippy::unnecessary_wraps, reason = "clap wants a parser that can fail")]
fn headers(text: &str) -> Result<Headers, String> {
    Ok(Headers::from(text))
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or("--header takes `NAME: VALUE`")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.trim().is_empty() || !name.trim().chars().all(is_name) {
        return Err("--header: a name is made of letters, digits and hyphens".to_owned());
    }
    Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
}

/// Speed and patience of this run.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Pace {
    /// Most bytes a second, all transfers together, as in `2M`.
    #[arg(long, value_name = "RATE", value_parser = size::parse_rate)]
    pub limit_rate: Option<u64>,
    /// Transfers at the same time, 1 to 64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub concurrency: Option<u8>,
    /// Attempts without any progress in between before a transfer fails [default: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: Option<u32>,
}

impl Pace {
    /// The same, with what `before` says where this says nothing.
    fn or(self, before: Self) -> Self {
        Self {
            limit_rate: self.limit_rate.or(before.limit_rate),
            concurrency: self.concurrency.or(before.concurrency),
            retries: self.retries.or(before.retries),
        }
    }

    fn is_given(self) -> bool {
        self.limit_rate.is_some() || self.concurrency.is_some() || self.retries.is_some()
    }
}

/// What `queue` takes.
#[derive(Debug, Args)]
pub struct Shown {
    /// Ids; without one, every row.
    #[arg(value_name = "ID")]
    pub ids: Vec<TransferId>,
    /// Go on telling what changes, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// Rows of the queue.
#[derive(Debug, Args)]
pub struct Rows {
    /// Ids, as `ferry queue` shows them.
    #[arg(value_name = "ID")]
    pub ids: Vec<TransferId>,
}

/// Rows of the queue that are to move.
#[derive(Debug, Args)]
pub struct Continue {
    /// Ids, as `ferry queue` shows them.
    #[arg(value_name = "ID")]
    pub ids: Vec<TransferId>,
    /// Speed and patience.
    #[command(flatten)]
    pub pace: Pace,
}

/// What `assets` takes.
#[derive(Debug, Args)]
pub struct Assets {
    /// Only those whose name or id holds this text.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub search: String,
    /// Only what was sent from here with the content of this file, under whatever name.
    #[arg(long = "where", value_name = "FILE", conflicts_with = "search")]
    pub content_of: Option<PathBuf>,
    /// Write the whole library to a file, `.csv` or `.json`; `-` is stdout, as CSV or with --json one object a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["search", "content_of"])]
    pub export: Option<PathBuf>,
    /// Take in a library that was exported, of another computer or another day. What is known here stays as it is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["search", "content_of", "export"])]
    pub import: Option<PathBuf>,
    /// One asset.
    #[command(subcommand)]
    pub one: Option<OneAsset>,
}

/// What can be done with one asset.
#[derive(Debug, Subcommand)]
pub enum OneAsset {
    /// Ask the service what it knows of an asset.
    Info {
        /// The asset's id.
        id: String,
        /// The service [default: the one that the library knows it from].
        #[arg(long, value_name = "S")]
        service: Option<Service>,
    },
    /// Delete an asset at the service, for good.
    Delete {
        /// The asset's id.
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// The service [default: the one that the library knows it from].
        #[arg(long, value_name = "S")]
        service: Option<Service>,
    },
}

/// What can be done with a key.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Keep a key in the platform's keychain. Reads it from stdin.
    #[command(after_help = examples_of_key_set())]
    Set {
        /// The service.
        service: KeyedService,
    },
    /// Forget a key.
    Remove {
        /// The service.
        service: KeyedService,
    },
}

/// A service, by id: whichever Ferry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service(pub ServiceId);

impl ValueEnum for Service {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Service>> =
            LazyLock::new(|| ferry_engine::services().map(|about| Service(about.into())).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        possible(&self.0)
    }
}

/// A service that takes a key, by id.
#[derive(Debug, Clone)]
pub struct KeyedService(pub ServiceId);

impl KeyedService {
    /// The variable that holds its key where there is no keychain.
    pub fn variable(&self) -> &'static str {
        self.0.about().and_then(|about| about.key_variable).unwrap_or_default()
    }
}

impl ValueEnum for KeyedService {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<KeyedService>> = LazyLock::new(|| {
            let keyed = ferry_engine::services().filter(|about| about.needs_key());
            keyed.map(|about| KeyedService(about.into())).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        possible(&self.0)
    }
}

/// A service as the help shows it.
fn possible(service: &ServiceId) -> Option<PossibleValue> {
    service.about().map(|about| PossibleValue::new(about.id).help(about.product))
}

/// The examples of `ferry key set`, and where a key may be without a keychain.
fn examples_of_key_set() -> String {
    let variables: Vec<&str> = ferry_engine::services().filter_map(|about| about.key_variable).collect();
    format!(
        "\
Examples:
  ferry key set mavi                      asks for it, showing nothing
  pass show memories.ai | ferry key set mavi

Without a keychain, set {} instead.",
        variables.join(" or ")
    )
}

/// How an upload is sent.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Method {
    /// By what the signed URL says.
    Auto,
    /// Raw PUT.
    Put,
    /// POST as multipart form.
    Post,
    /// POST of the bare bytes.
    PostRaw,
    /// Resumable session.
    Resumable,
}

/// What becomes of a file that was sent before.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum IfSent {
    /// It is sent again, under an id of its own.
    #[default]
    Again,
    /// The id that it has there is printed. The service is asked first: what it no longer has is sent again.
    Reuse,
    /// It is left out.
    Skip,
}

impl From<IfSent> for ferry_engine::IfSent {
    fn from(way: IfSent) -> Self {
        match way {
            IfSent::Again => Self::Again,
            IfSent::Reuse => Self::Reuse,
            IfSent::Skip => Self::Skip,
        }
    }
}

impl From<Method> for UploadMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Auto => Self::Auto,
            Method::Put => Self::Put,
            Method::Post => Self::Post,
            Method::PostRaw => Self::PostRaw,
            Method::Resumable => Self::Resumable,
        }
    }
}

/// Reads the command line, also what clap's rules cannot say.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let mut arguments = Arguments::try_parse_from(words)?;
    let before = arguments.pace;
    match &mut arguments.command {
        Command::Upload(Upload { pace, .. })
        | Command::Download(Download { pace, .. })
        | Command::Resume(Continue { pace, .. })
        | Command::Retry(Continue { pace, .. }) => *pace = pace.or(before),
        _ if before.is_given() => {
            let why =
                "--limit-rate, --concurrency and --retries work with upload, download, resume and retry";
            return Err(Arguments::command().error(ErrorKind::ArgumentConflict, why));
        }
        _ => {}
    }
    match conflict(&arguments.command) {
        Some((command, why)) => {
            let mut all = Arguments::command();
            all.build();
            let command =
                all.find_subcommand_mut(command).map_or_else(Arguments::command, |found| found.clone());
            Err(command.clone().error(ErrorKind::ArgumentConflict, why))
        }
        None => Ok(arguments),
    }
}

/// What cannot be meant, with the command's name.
fn conflict(command: &Command) -> Option<(&'static str, String)> {
    let headers = match command {
        Command::Upload(upload) => Some(("upload", &upload.headers)),
        Command::Download(download) => Some(("download", &download.headers)),
        _ => None,
    };
    if let Some((name, headers)) = headers
        && let Some(why) = headers.iter().find_map(|one| one.0.as_ref().err())
    {
        return Some((name, why.clone()));
    }
    let (name, why) = impossible(command)?;
    Some((name, why.to_owned()))
}

fn impossible(command: &Command) -> Option<(&'static str, &'static str)> {
    match command {
        Command::Upload(upload) => {
            let is_url =
                |path: &PathBuf| path.to_str().is_some_and(|text| text.contains("://")) && !path.exists();
            let why = match (&upload.to, upload.paths.as_slice()) {
                (_, paths) if paths.iter().any(is_url) => {
                    "a URL is no file: bring it with `ferry download`, or name it with --to if the file goes there"
                }
                (Some(_), [path]) if path.is_dir() => {
                    "--to takes one file; a folder cannot go to one signed URL"
                }
                (Some(_), [_, _, ..]) => "--to takes one file; send the others to their own signed URLs",
                _ => return None,
            };
            Some(("upload", why))
        }
        Command::Download(download) => {
            let (what, input) = (&download.what, &download.input);
            let why = if download.name.is_some() && (what.len() > 1 || input.is_some()) {
                "--name names one file; leave it out, or download the others by themselves"
            } else if download.checksum.is_some() && (what.len() > 1 || input.is_some()) {
                "--checksum is that of one file; download the others by themselves, or name each file's in the lines of -i"
            } else {
                return None;
            };
            Some(("download", why))
        }
        Command::Assets(assets)
            if assets.one.is_some()
                && (assets.export.is_some()
                    || assets.import.is_some()
                    || assets.content_of.is_some()
                    || !assets.search.is_empty()) =>
        {
            Some((
                "assets",
                "--search, --where, --export and --import are about the whole library, not about one asset",
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn headers_are_read_and_a_bad_one_is_told_without_its_value() {
        let read = |words: &[&str]| parse(words.iter().map(OsString::from));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# of the store\nX-One: 1\n\n X-Two : a: b \n").unwrap();
        let from_file = format!("@{}", file.path().display());
        let words = ["ferry", "upload", "a", "--to", "-", "--header", "X-Zero: 0", "--header", &from_file];
        let Command::Upload(upload) = read(&words).unwrap().command else { panic!("another command") };
        let all: Vec<_> =
            Headers::all(&upload.headers).into_iter().map(|one| (one.name, one.value)).collect();
        let expected = [("X-Zero", "0"), ("X-One", "1"), ("X-Two", "a: b")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(!format!("{upload:?}").contains("a: b"));

        for bad in ["SECRET", "SEC RET: SECRET", ": SECRET", "@/nowhere/at/all"] {
            let error = read(&["ferry", "download", "x", "--header", bad]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        assert!(read(&["ferry", "upload", "a", "--header", "X: 1"]).is_err(), "without --to");
    }

    #[test]
    fn options_of_every_command_stand_anywhere() {
        assert!(read("ferry --json queue").is_ok_and(|a| a.everywhere.json));
        assert!(read("ferry queue --json --quiet").is_ok_and(|a| a.everywhere.json && a.everywhere.quiet));
        assert!(read("ferry assets --json info re_1").is_ok_and(|a| a.everywhere.json));
        assert!(read("ferry assets info re_1 --data-dir x").is_ok_and(|a| a.everywhere.data_dir.is_some()));
    }

    #[test]
    fn speed_and_patience_stand_before_the_command_or_after_it_where_they_win() {
        for line in [
            "ferry --limit-rate 2M --concurrency 64 --retries 7 download a",
            "ferry download a --limit-rate 2M --concurrency 64 --retries 7",
            "ferry --limit-rate 9M --concurrency 64 download --limit-rate 2M --retries 7 a",
        ] {
            let Command::Download(Download { pace, .. }) = read(line).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!(
                (pace.limit_rate, pace.concurrency),
                (size::parse_rate("2M").ok(), Some(64)),
                "{line}"
            );
            assert_eq!(pace.retries, Some(7), "{line}");
        }
        for command in ["upload a", "resume", "retry 1"] {
            let before = read(&format!("ferry --retries 7 {command}")).unwrap().command;
            let after = read(&format!("ferry {command} --retries 7")).unwrap().command;
            assert_eq!(format!("{before:?}"), format!("{after:?}"), "{command}");
        }
    }

    #[test]
    fn every_service_can_be_named_and_its_help_says_whose_it_is() {
        let help = |words: &[&str]| read(&words.join(" ")).unwrap_err().to_string();
        let (any, keyed) = (help(&["ferry", "check", "--help"]), help(&["ferry", "key", "set", "--help"]));
        for about in ferry_engine::services() {
            let line = format!("- {}:", about.id);
            assert!(read(&format!("ferry check {}", about.id)).is_ok(), "{}", about.id);
            assert!(any.contains(&line) && any.contains(about.product), "{any}");
            let set = read(&format!("ferry key set {}", about.id));
            assert_eq!(set.is_ok(), about.needs_key(), "{}", about.id);
            assert_eq!(keyed.contains(&line), about.needs_key(), "{keyed}");
            assert!(about.key_variable.is_none_or(|variable| keyed.contains(variable)), "{keyed}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "ferry",
            "ferry upload",
            "ferry upload a b --to -",
            "ferry upload a --to - --service mavi",
            "ferry upload https://a.example/b?signature=c",
            "ferry assets --search a info b",
            "ferry assets --import a info b",
            "ferry assets --where a info b",
            "ferry assets --where a --export b",
            "ferry completions tcsh",
            "ferry download a --concurrency 65",
            "ferry --concurrency 0 download a",
            "ferry --retries 1 queue",
            "ferry queue --retries 1",
            "ferry assets --import a --export b",
            "ferry upload a --method fax",
            "ferry upload a --limit-rate fast",
            "ferry upload a --if-sent ask",
            "ferry upload a --to - --if-sent skip",
            "ferry download",
            "ferry download a b --name c",
            "ferry download -i a --name c",
            "ferry download a b --checksum md5:d41d8cd98f00b204e9800998ecf8427e",
            "ferry download -i a --checksum md5:d41d8cd98f00b204e9800998ecf8427e",
            "ferry download a --checksum md5:d41d8cd9",
            "ferry download a --checksum adler32:091e01de",
            "ferry download a --checksum d41d8cd98f00b204e9800998ecf8427e",
            "ferry download a --connections 0",
            "ferry download a --service ftp",
            "ferry key set sandbox",
            "ferry check nobody",
            "ferry pause seven",
            "ferry demo --size big",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
