//! Commands that the user is told to run: what is shown must be what runs, and nothing else.
//!
//! A path is anybody's words. Quoted and then cleaned as such words are, a name with an unseen sign in it became the name of
//! another file, which the command then took away. So a command is no text that is cleaned: in it every sign that is not plain
//! is written by its bytes, and cleaning finds nothing to do.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;

use crate::foreign::{Foreign, is_unfit};
use crate::redaction::redact;

/// A command with a path, as bash, zsh and POSIX shells since 2024 read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShellCommand(String);

impl ShellCommand {
    /// `program` with its options, and the path in full, which therefore is no option.
    pub(crate) fn new(program: &str, path: &Path) -> Self {
        let whole = std::path::absolute(path);
        let whole = whole.as_deref().unwrap_or(path);
        let command =
            format!("{program} {}", quoted(whole.as_os_str().as_encoded_bytes(), is_seen_as_it_is, false));
        if redact(&command) == command {
            return Self(command);
        }
        // What looks like a secret would be hidden on the way to the user, who would then run another command.
        Self(format!(
            "{program} {}",
            quoted(whole.as_os_str().as_encoded_bytes(), |letter| letter == '/', true)
        ))
    }
}

/// A path as one field of a line: as it is, or, with something in it that ends a field or a line or is not seen as it is, as a shell
/// would have it, like `ls` in a terminal does it. `exactly`: for a program, which wants only the former kept from it.
pub fn as_field(path: &str, exactly: bool) -> Cow<'_, str> {
    let is_fit = |letter: char| if exactly { !letter.is_control() } else { !is_unfit(letter) };
    // What looks quoted and is not would be read as something else.
    let looks_quoted = path.starts_with("$'");
    if path.chars().all(is_fit) && !looks_quoted {
        path.into()
    } else {
        quoted(path.as_bytes(), is_fit, looks_quoted).into()
    }
}

/// As a shell reads it: bare, in quotes, or, where a sign is not to stand as itself, in `$'…'` with the bytes of that.
fn quoted(text: &[u8], is_plain: impl Fn(char) -> bool, always: bool) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if let Some(text) = std::str::from_utf8(text).ok().filter(|_| !always) {
        if text.chars().all(|letter| is_bare(letter) && is_plain(letter)) {
            return text.to_owned();
        }
        if text.chars().all(&is_plain) {
            return format!("'{}'", text.replace('\'', r"'\''"));
        }
    }
    let mut escaped = String::from("$'");
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\'' | '\\' => escaped.extend(['\\', letter]),
                letter if is_plain(letter) => escaped.push(letter),
                letter => push_bytes(&mut escaped, letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_bytes(&mut escaped, chunk.invalid());
    }
    escaped.push('\'');
    escaped
}

/// In octal, which has an end after three digits: of `\x` some shells read more than two.
fn push_bytes(escaped: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // A `String` takes all.
        let _ = write!(escaped, "\\{byte:03o}");
    }
}

/// Letters and digits of any script that stand alone, and what else is printed of ASCII.
fn is_seen_as_it_is(letter: char) -> bool {
    letter == ' ' || letter.is_ascii_graphic() || (!letter.is_ascii() && is_letter(letter))
}

fn is_letter(letter: char) -> bool {
    // Marks join the letter before, fillers are letters without a shape, and letters from right to left change places.
    let is_ltr = !matches!(u32::from(letter), 0x590..=0x8ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff | 0x10800..=0x10fff | 0x1e800..=0x1efff);
    letter.is_alphanumeric()
        && is_ltr
        && !unicode_normalization::char::is_combining_mark(letter)
        && !crate::unseen::is_invisible(letter)
}

impl fmt::Display for ShellCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One that comes from a list or another process is no command of this one's making: it is shown as anybody's words are.
impl<'de> Deserialize<'de> for ShellCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_shown_as_it_is = text.chars().all(is_seen_as_it_is) && redact(&text) == text;
        Ok(Self(if is_shown_as_it_is { text } else { Foreign::from(text).into() }))
    }
}

/// For the page it is a text like others.
impl TS for ShellCommand {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn name(_: &ts_rs::Config) -> String {
        "string".to_owned()
    }

    fn inline(_: &ts_rs::Config) -> String {
        "string".to_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use proptest::prelude::*;

    use super::*;
    use crate::foreign::without_controls;

    fn command(path: &[u8]) -> String {
        ShellCommand::new("rm -r", Path::new(OsStr::from_bytes(path))).to_string()
    }

    #[test]
    fn a_command_can_be_pasted_whatever_the_folder_is_called() {
        for (path, expected) in [
            ("/home/a/.local/ferry", "rm -r /home/a/.local/ferry"),
            ("/home/ä/海", "rm -r '/home/ä/海'"),
            ("/tmp/a b'; rm -rf $HOME '", r"rm -r '/tmp/a b'\''; rm -rf $HOME '\'''"),
            ("/tmp/a\u{200b}b", r"rm -r $'/tmp/a\342\200\213b'"),
            ("/tmp/a\nb\\'", r"rm -r $'/tmp/a\012b\\\''"),
            ("/tmp/\u{202e}x", r"rm -r $'/tmp/\342\200\256x'"),
            ("/tmp/e\u{301}", r"rm -r $'/tmp/e\314\201'"),
        ] {
            assert_eq!(command(path.as_bytes()), expected, "{path:?}");
        }
        assert_eq!(command(b"/tmp/\xff"), r"rm -r $'/tmp/\377'");
    }

    /// What bash makes of the argument.
    fn as_bash_reads_it(command: &str) -> Option<Vec<u8>> {
        let argument = command.strip_prefix("rm -r ")?;
        let script = format!("printf %s {argument}");
        Some(std::process::Command::new("bash").args(["-c", &script]).output().ok()?.stdout)
    }

    #[test]
    fn a_path_is_one_field_of_a_line_and_stays_the_same_for_a_program() {
        for (path, for_program, for_screen) in [
            ("/tmp/a b's.mp4", "/tmp/a b's.mp4", "/tmp/a b's.mp4"),
            ("a\nre_0000\tfilm.mp4", r"$'a\012re_0000\011film.mp4'", r"$'a\012re_0000\011film.mp4'"),
            ("a\r\u{1b}[2J'\\", r"$'a\015\033[2J\'\\'", r"$'a\015\033[2J\'\\'"),
            ("a\u{85}\u{9b}31m", r"$'a\302\205\302\23331m'", r"$'a\302\205\302\23331m'"),
            ("photo\u{202e}gpj.exe", "photo\u{202e}gpj.exe", r"$'photo\342\200\256gpj.exe'"),
            ("$'x'", r"$'$\'x\''", r"$'$\'x\''"),
            ("שלום 👩\u{200d}👧", "שלום 👩\u{200d}👧", "שלום 👩\u{200d}👧"),
        ] {
            assert_eq!(
                (&*as_field(path, true), &*as_field(path, false)),
                (for_program, for_screen),
                "{path:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_shown_is_what_runs(
            name in prop::collection::vec(prop_oneof![
                Just(b"\xe2\x80\x8b".to_vec()), Just(b"\n".to_vec()), Just(b"'".to_vec()), Just(b"\\".to_vec()),
                Just(b"\xe2\x80\xae".to_vec()), Just(b"\xff".to_vec()), Just(b"sk-Abcdefgh12".to_vec()),
                Just(b"?sig=abc".to_vec()), Just(b"$(x)`".to_vec()), Just("é海".as_bytes().to_vec()),
                Just(b"\x1b[31m".to_vec()), Just(b"7".to_vec()), Just(b" ".to_vec()),
            ], 1..8)
        ) {
            let path = [b"/tmp/x".as_slice(), &name.concat(), b"x"].concat();
            let shown = command(&path);
            let redacted = redact(&shown).into_owned();
            prop_assert_eq!(without_controls(&redacted), shown.as_str());
            let sent = serde_json::to_string(&ShellCommand(shown.clone())).unwrap();
            prop_assert_eq!(&serde_json::from_str::<ShellCommand>(&sent).unwrap().0, &shown);
            if let Some(read) = as_bash_reads_it(&shown) {
                prop_assert_eq!(read, path);
            }
        }
    }
}
