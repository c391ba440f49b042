//! Lists of what to download: one item a line, with what differs for it after tabs.

use std::fmt;
use std::io::{BufRead, Read as _};
use std::path::PathBuf;

use clap::ValueEnum as _;
use ferry_engine::{Checksum, Error};
use tokio::sync::mpsc;

use super::LONGEST_SECRET;
use crate::arguments::Service;

/// Where lines come from, for people.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// One item. What it does not say is as the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// A link or an id: a secret.
    pub what: String,
    /// Folder to save in.
    pub folder: Option<PathBuf>,
    /// Name to save under.
    pub name: Option<String>,
    /// What the file's checksum must be.
    pub checksum: Option<Checksum>,
    /// Where from.
    pub service: Option<Service>,
    /// Which line it was, from 1; 0 for one that stood on the command line.
    pub number: u64,
}

impl Line {
    /// An item of the command line.
    pub fn typed(what: &str) -> Self {
        Self { what: what.to_owned(), ..Self::default() }
    }

    /// Reads a line. What is wrong with it is told without the link.
    fn read(text: &str) -> Result<Self, String> {
        let mut fields = text.split('\t');
        let mut line = Self::typed(fields.next().unwrap_or_default().trim_end());
        let is_setting = |name: &str| ["dir", "name", "checksum", "service"].contains(&name.trim_end());
        if line.what.split_once('=').is_some_and(|(name, _)| is_setting(name)) {
            return Err("there is no link and no id before its settings".to_owned());
        }
        for field in fields.filter(|field| !field.trim().is_empty()) {
            // What stands there without a name may be another link.
            let (name, value) =
                field.split_once('=').map(|(name, value)| (name.trim(), value)).unwrap_or_default();
            let is_new = match name {
                "dir" => line.folder.replace(value.into()).is_none(),
                "name" => line.name.replace(value.to_owned()).is_none(),
                "checksum" => {
                    let checksum = value.parse().map_err(|error: Error| error.to_string())?;
                    line.checksum.replace(checksum).is_none()
                }
                "service" => {
                    let service = Service::from_str(value.trim(), false)
                        .map_err(|_| "its service is none that Ferry knows".to_owned())?;
                    line.service.replace(service).is_none()
                }
                _ => return Err("after a tab it takes dir=, name=, checksum= and service= only".to_owned()),
            };
            if !is_new {
                return Err(format!("it says {name}= twice"));
            }
            if value.is_empty() {
                return Err(format!("it says nothing after {name}="));
            }
        }
        Ok(line)
    }
}

/// That a line cannot be used, and why.
pub fn unusable(number: u64, origin: &Origin, why: impl Into<String>) -> Error {
    Error::invalid(format!("Line {number} of {origin} cannot be used")).because(why.into())
}

/// Hands on what stands in the lines, each as soon as it is there. One that cannot be read is told, and the others go on.
/// Blocks.
pub fn read(mut from: impl BufRead, origin: &Origin, lines: &mpsc::Sender<Result<Line, Error>>) {
    let (mut line, mut is_empty) = (Vec::new(), true);
    for number in 1.. {
        line.clear();
        let read = from.by_ref().take(LONGEST_SECRET).read_until(b'\n', &mut line);
        let is_cut = line.len() as u64 == LONGEST_SECRET && !line.ends_with(b"\n");
        let (handed, is_last) = match (read, str::from_utf8(&line)) {
            (Ok(0), _) => break,
            (Err(error), _) => (Err(error.to_string()), true),
            _ if is_cut => (Err("it is longer than any link".to_owned()), true),
            (_, Err(error)) => (Err(error.to_string()), false),
            (_, Ok(text)) => {
                let text = text.trim_start_matches('\u{feff}').trim_start().trim_end_matches(['\r', '\n']);
                if text.is_empty() || text.starts_with('#') {
                    continue;
                }
                (Line::read(text), false)
            }
        };
        is_empty = false;
        let handed = handed.map(|line| Line { number, ..line }).map_err(|why| unusable(number, origin, why));
        if lines.blocking_send(handed).is_err() || is_last {
            return;
        }
    }
    if is_empty {
        let error = Error::invalid(format!("There was no link and no id in {origin}"));
        // Nobody listens any more who could be told.
        let _ = lines.blocking_send(Err(error.advise("write one a line, as in `ferry download - < FILE`")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Result<Line, String>> {
        let (sender, mut read) = mpsc::channel(64);
        super::read(text, &Origin::Stdin, &sender);
        drop(sender);
        std::iter::from_fn(|| read.blocking_recv())
            .map(|line| line.map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn a_line_says_what_and_what_differs_for_it() {
        let md5 = "md5:d41d8cd98f00b204e9800998ecf8427e";
        let text = format!(
            "\u{feff}https://a.example/x y=z \r\n# no\tname=x\n\n \t\n  re_1\tdir=new stuff \tname=a=b.txt\t\tchecksum={md5}\tservice=mavi"
        );
        let line = |what: &str, number| Line { number, ..Line::typed(what) };
        let second = Line {
            folder: Some("new stuff ".into()),
            name: Some("a=b.txt".into()),
            checksum: md5.parse().ok(),
            service: Service::from_str("mavi", false).ok(),
            ..line("re_1", 5)
        };
        // The fourth has only blanks in it.
        assert_eq!(all(text.as_bytes()), [Ok(line("https://a.example/x y=z", 1)), Ok(second)]);
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_without_its_link_and_the_others_go_on() {
        for bad in [
            "\tname=a",
            "SECRET\tnmae=a",
            "SECRET\tSECRET",
            "SECRET\tname=a\tname=b",
            "SECRET\tname=",
            "SECRET\tdir=",
            "SECRET\tchecksum=md5:00",
            "SECRET\tchecksum=",
            "SECRET\tservice=ftp",
            "SECRET\tservice=",
        ] {
            let found = all(format!("re_1\n{bad}\nre_3\n").as_bytes());
            let told = found[1].as_ref().unwrap_err();
            assert!(
                told.starts_with("Line 2 of stdin cannot be used; ") && !told.contains("SECRET"),
                "{told}"
            );
            assert!(found[0].is_ok() && found[2].as_ref().is_ok_and(|line| line.number == 3), "{bad}");
        }
        assert!(all(b"\xff\xfe\nre_2")[1].is_ok());
        let endless = all(&vec![b'a'; 2 * LONGEST_SECRET as usize]);
        assert_eq!(endless.len(), 1, "nobody guesses where the next one begins");
        assert!(endless[0].as_ref().is_err_and(|told| told.contains("longer")));
        assert!(all(b"# nothing\n")[0].as_ref().is_err_and(|told| told.starts_with("There was no link")));
    }
}
