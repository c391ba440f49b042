//! Which files leave this computer: those that the user named, and those in the folders that they named.
//!
//! A path that the user gave is followed wherever it leads, once, when it is added: that place is written down, and what
//! lies there is sent. A link *inside* a folder was put there by somebody else, perhaps, and is left out, counted and
//! named; a setting takes in those that stay inside. When the file is opened, no link is followed on any part of the
//! written way, and what was opened is looked at, not what has its name. Ferry's own data never leaves.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::{Cause, Error, Result};
use crate::files::own_folder::{OwnFolder, is_ferrys};
use crate::foreign::Foreign;
use crate::task::Chosen;
use crate::words::{Phrase, shown};

/// So many of the links that were left out are named.
const NAMED: usize = 100;

/// Links in folders that were not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct LinksLeftOut {
    /// How many there were.
    #[ts(type = "number")]
    pub count: u64,
    /// The first hundred of them, in full.
    pub paths: Vec<Foreign>,
}

impl LinksLeftOut {
    fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.paths.len() < NAMED {
            self.paths.push(shown(path));
        }
    }
}

/// A file that is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct ChosenFile {
    /// As it was named, or below the folder that was.
    pub path: PathBuf,
    /// Which file that was.
    pub chosen: Chosen,
    /// Its size in bytes.
    pub size: u64,
}

impl ChosenFile {
    fn new(path: PathBuf, real: PathBuf, facts: &Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (facts.dev(), facts.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        let real = Some(real).filter(|real| *real != path);
        Self { path, chosen: Chosen { real, device, inode }, size: facts.len() }
    }

    /// Where it really lies.
    pub fn place(&self) -> &Path {
        self.chosen.real.as_deref().unwrap_or(&self.path)
    }
}

/// What lies below some paths.
#[derive(Debug, Default)]
pub(crate) struct ChosenFiles {
    /// Files stay files; folders become every file in them, in a steady order.
    pub files: Vec<ChosenFile>,
    /// What was not taken for a file.
    pub left_out: LinksLeftOut,
}

impl ChosenFiles {
    /// Looks at these paths. `follow`: links in folders that stay inside them are followed. Blocks.
    ///
    /// # Errors
    ///
    /// `source_missing`, `permission_denied`, and `invalid_input` for what is neither file nor folder, for Ferry's own
    /// data, and where there is no file at all.
    pub fn below(paths: &[PathBuf], own: &OwnFolder, follow: bool) -> Result<Self> {
        let mut found = Self::default();
        for path in paths {
            let failed = |error: io::Error| Error::source_io("Reading", path, &error);
            let path = std::path::absolute(path).map_err(failed)?;
            let facts = std::fs::metadata(&path).map_err(failed)?;
            if !facts.is_dir() && !facts.is_file() {
                return Err(is_device(&path));
            }
            let real = real_path(&path).map_err(failed)?;
            if own.holds(&real, &facts) {
                return Err(
                    Error::invalid(Phrase::OwnData { path: shown(&path) }).advise(Phrase::ChooseFiles)
                );
            }
            if facts.is_dir() {
                let walk = Walk { root: &real, own, follow, below_link: false };
                walk.folder(&path, &real, &mut found)?;
            } else {
                found.files.push(ChosenFile::new(path, real, &facts));
            }
        }
        let mut all = found.files.iter().map(|file| &file.path);
        if let Some(odd) = all.find(|path| path.to_str().is_none()) {
            return Err(
                Error::invalid(Phrase::NameNotText { path: shown(odd) }).advise(Phrase::RenameThenSend)
            );
        }
        if !found.files.is_empty() {
            return Ok(found);
        }
        let none = Error::invalid(Phrase::NoFilesGiven).advise(Phrase::ChooseFiles);
        Err(match found.left_out.count {
            0 => none,
            _ => none.because(Phrase::OnlyLinks),
        })
    }
}

/// A way through a folder.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// The folder that was named, without links on the way.
    root: &'a Path,
    own: &'a OwnFolder,
    follow: bool,
    /// A link led here already. What is behind a second one is inside the folder, too, and is met there: to follow each
    /// from each would multiply it without end.
    below_link: bool,
}

impl Walk<'_> {
    fn folder(self, path: &Path, real: &Path, found: &mut ChosenFiles) -> Result<()> {
        let failed = |error: io::Error| Error::source_io("Reading", path, &error);
        let mut entries: Vec<_> = std::fs::read_dir(real).map_err(failed)?.flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, real) = (path.join(entry.file_name()), entry.path());
            // Of the entry itself, not of what it leads to.
            let facts = entry.metadata().map_err(|error| Error::source_io("Reading", &path, &error))?;
            if facts.is_symlink() {
                self.link(&path, &real, found)?;
            } else if self.own.is_or_has(&facts) || (facts.is_dir() && is_ferrys(&real)) {
            } else if facts.is_dir() {
                self.folder(&path, &real, found)?;
            } else if facts.is_file() {
                found.files.push(ChosenFile::new(path, real, &facts));
            }
        }
        Ok(())
    }

    fn link(self, path: &Path, link: &Path, found: &mut ChosenFiles) -> Result<()> {
        let target = real_path(link).ok().filter(|target| self.follow && target.starts_with(self.root));
        let target = target.and_then(|real| Some((std::fs::symlink_metadata(&real).ok()?, real)));
        match target {
            Some((facts, real)) if !self.own.holds(&real, &facts) && facts.is_file() => {
                found.files.push(ChosenFile::new(path.to_owned(), real, &facts));
                Ok(())
            }
            // One that leads to a folder above itself would lead round and round.
            Some((facts, real))
                if !self.own.holds(&real, &facts)
                    && facts.is_dir()
                    && !self.below_link
                    && !link.starts_with(&real) =>
            {
                Walk { below_link: true, ..self }.folder(path, &real, found)
            }
            _ => {
                found.left_out.add(path);
                Ok(())
            }
        }
    }
}

/// A path without links on the way.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    // The system's own form of it there is another one for every path, and reads as none does.
    if cfg!(windows) && !std::fs::symlink_metadata(path)?.is_symlink() {
        return Ok(path.to_owned());
    }
    path.canonicalize()
}

/// Opens a file that was chosen, and no other: `path` is how people know it, `chosen` what was written down about it. An
/// earlier Ferry wrote down nothing: then the path itself may be no link.
///
/// # Errors
///
/// `source_missing`, `permission_denied`; `source_changed` where a link, or a second name of some other file, has taken
/// its place; `invalid_input` for folders, pipes, devices and Ferry's own data.
pub(crate) fn open(path: &Path, chosen: Option<&Chosen>, own: &OwnFolder) -> Result<(File, Metadata)> {
    let place = chosen.and_then(|chosen| chosen.real.as_deref()).unwrap_or(path);
    let failed = |error: io::Error| Error::source_io("Reading", path, &error);
    // Looked at first: to open a device may do something.
    let facts = std::fs::symlink_metadata(place).map_err(failed)?;
    check_kind(path, &facts)?;
    let file = open_at(place, chosen.is_some())
        .map_err(|error| if is_link_refused(&error) { leads_elsewhere(path) } else { failed(error) })?;
    let facts = file.metadata().map_err(failed)?;
    check_kind(path, &facts)?;
    if own.holds(place, &facts) {
        return Err(Error::invalid(Phrase::OwnData { path: shown(path) }).advise(Phrase::ChooseFile));
    }
    if chosen.is_some_and(|chosen| is_second_name(chosen, &facts)) {
        return Err(leads_elsewhere(path));
    }
    Ok((file, facts))
}

fn check_kind(path: &Path, facts: &Metadata) -> Result<()> {
    if facts.is_symlink() {
        return Err(leads_elsewhere(path));
    }
    if facts.is_dir() {
        return Err(Error::invalid(Phrase::IsFolder { path: shown(path) }).advise(Phrase::ChooseFile));
    }
    if facts.is_file() { Ok(()) } else { Err(is_device(path)) }
}

fn is_device(path: &Path) -> Error {
    Error::invalid(Phrase::IsDevice { path: shown(path) }).advise(Phrase::ChooseFile)
}

fn leads_elsewhere(path: &Path) -> Error {
    Error::new(Cause::SourceChanged, Phrase::LeadsElsewhere { path: shown(path) })
        .advise(Phrase::ChooseItAgain)
}

/// Whether another file than the chosen one, which has a name elsewhere as well, has taken its place. Editors put a new
/// file in the place of the old one whenever they save; but that one has no other name.
#[cfg(unix)]
fn is_second_name(chosen: &Chosen, facts: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (facts.dev(), facts.ino()) != (chosen.device, chosen.inode) && facts.nlink() > 1
}

#[cfg(not(unix))]
fn is_second_name(_chosen: &Chosen, _facts: &Metadata) -> bool {
    false
}

/// Opens a file without waiting for anybody at the other end of it. `whole_way`: no part of the way may be a link either,
/// where the system can see to that in one step.
#[cfg(unix)]
fn open_at(place: &Path, whole_way: bool) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    #[cfg(target_os = "linux")]
    if whole_way {
        use rustix::fs::ResolveFlags;
        use rustix::io::Errno;
        match rustix::fs::openat2(CWD, place, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // An old system, or a guard that does not know the call.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
            opened => return Ok(File::from(opened?)),
        }
    }
    let file = File::from(rustix::fs::openat(CWD, place, flags, Mode::empty())?);
    if whole_way && place.canonicalize()? != place {
        return Err(rustix::io::Errno::LOOP.into());
    }
    Ok(file)
}

#[cfg(unix)]
fn is_link_refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(windows)]
fn open_at(place: &Path, _whole_way: bool) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;
    File::options().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(place)
}

#[cfg(not(unix))]
fn is_link_refused(_error: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::Code;

    /// A home with a data folder, a folder to be sent, and something that is not to be sent.
    struct Place {
        home: tempfile::TempDir,
        own: OwnFolder,
    }

    impl Place {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            for folder in ["data/resume", "data/sandbox", "films/cut", ".ssh"] {
                std::fs::create_dir_all(home.path().join(folder)).unwrap();
            }
            for file in ["data/ferry.db", "data/resume/7", "films/a.mp4", "films/cut/b.mp4", ".ssh/id_rsa"] {
                std::fs::write(home.path().join(file), file).unwrap();
            }
            let own = OwnFolder::new(home.path().join("data"));
            Self { home, own }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.home.path().join(name)
        }

        fn below(&self, name: &str, follow: bool) -> ChosenFiles {
            ChosenFiles::below(&[self.path(name)], &self.own, follow).unwrap()
        }

        /// Relative to the home.
        fn names(&self, found: &ChosenFiles) -> Vec<Foreign> {
            let name = |file: &ChosenFile| shown(file.path.strip_prefix(self.home.path()).unwrap());
            found.files.iter().map(name).collect()
        }

        fn one(&self, name: &str) -> ChosenFile {
            self.below(name, false).files.pop().unwrap()
        }

        fn open(&self, file: &ChosenFile) -> Result<String> {
            let (mut opened, _) = open(&file.path, Some(&file.chosen), &self.own)?;
            let mut text = String::new();
            io::Read::read_to_string(&mut opened, &mut text).unwrap();
            Ok(text)
        }
    }

    #[test]
    fn links_in_a_folder_are_left_out_counted_and_named() {
        let place = Place::new();
        symlink(place.path(".ssh/id_rsa"), place.path("films/key")).unwrap();
        symlink(place.path(".ssh"), place.path("films/cut/more")).unwrap();
        symlink("nowhere", place.path("films/broken")).unwrap();
        symlink("a.mp4", place.path("films/same")).unwrap();
        let found = place.below("films", false);
        assert_eq!(place.names(&found), ["films/a.mp4", "films/cut/b.mp4"]);
        assert_eq!(found.left_out.count, 4);
        let names = ["films/broken", "films/cut/more", "films/key", "films/same"];
        assert_eq!(found.left_out.paths, names.map(|name| shown(&place.path(name))));
        // The folder itself may be named by a link: that is the user's choice.
        symlink(place.path("films"), place.path("link")).unwrap();
        let found = place.below("link", false);
        assert_eq!(place.names(&found), ["link/a.mp4", "link/cut/b.mp4"]);
        assert_eq!(found.files[0].place(), place.path("films/a.mp4").canonicalize().unwrap());

        std::fs::create_dir(place.path("only links")).unwrap();
        symlink(place.path(".ssh/id_rsa"), place.path("only links/key")).unwrap();
        let error = ChosenFiles::below(&[place.path("only links")], &place.own, false).unwrap_err();
        assert_eq!(error.why, Some(Phrase::OnlyLinks.into()));
    }

    #[test]
    fn a_setting_follows_the_links_that_stay_inside_and_comes_to_an_end() {
        let place = Place::new();
        for (target, link) in [
            (".ssh/id_rsa", "films/key"),
            (".ssh", "films/more"),
            ("films/a.mp4", "films/cut/again"),
            ("films/cut", "films/cuts"),
            ("films", "films/cut/round"),
            // As a path that leads outside and in again: where it ends decides.
            ("films/../.ssh/../films/a.mp4", "films/detour"),
            ("films/../data/ferry.db", "films/own"),
        ] {
            symlink(place.path(target), place.path(link)).unwrap();
        }
        let found = place.below("films", true);
        let names = [
            "films/a.mp4",
            "films/cut/again",
            "films/cut/b.mp4",
            "films/cuts/again",
            "films/cuts/b.mp4",
            "films/detour",
        ];
        assert_eq!(place.names(&found), names);
        let left: Vec<Foreign> =
            ["films/cut/round", "films/cuts/round", "films/key", "films/more", "films/own"]
                .map(|name| shown(&place.path(name)))
                .to_vec();
        assert_eq!(found.left_out.paths, left);
        assert!(found.files.iter().all(|file| place.open(file).is_ok()));

        // Folders full of links to each other.
        std::fs::create_dir(place.path("web")).unwrap();
        for from in 0..12 {
            let folder = place.path(&format!("web/{from}"));
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("file"), "").unwrap();
            for to in 0..12 {
                symlink(format!("../{to}"), folder.join(format!("to-{to}"))).unwrap();
            }
        }
        assert_eq!(place.below("web", true).files.len(), 12 + 12 * 11);
    }

    #[test]
    fn the_data_folder_never_leaves_by_any_name() {
        let place = Place::new();
        for (target, link) in
            [("data", "to data"), ("data/resume/7", "films/record"), ("data/ferry.db", "list")]
        {
            symlink(place.path(target), place.path(link)).unwrap();
        }
        std::fs::hard_link(place.path("data/resume/7"), place.path("films/second name")).unwrap();
        std::fs::hard_link(place.path("data/ferry.db"), place.path("another")).unwrap();
        for name in [
            "data",
            "data/resume",
            "data/ferry.db",
            "films/../data/ferry.db",
            "data/sandbox/../resume/7",
            "to data",
            "to data/resume/7",
            "list",
            "films/record",
            "films/second name",
            "another",
        ] {
            let error = ChosenFiles::below(&[place.path(name)], &place.own, true).unwrap_err();
            assert_eq!(error.code(), Code::InvalidInput, "{name}");
            assert!(error.to_string().contains("keeps for itself"), "{name}: {error}");
        }
        // Met on the way it is passed over.
        let all = place.below("", true);
        assert_eq!(place.names(&all), [".ssh/id_rsa", "films/a.mp4", "films/cut/b.mp4"]);
        // What was added by an earlier Ferry, or planted in the list, is looked at when it is opened.
        for name in ["data/ferry.db", "films/../data/resume/7", "films/second name", "to data/ferry.db"] {
            let error = open(&place.path(name), None, &place.own).unwrap_err();
            assert!(error.to_string().contains("keeps for itself"), "{name}: {error}");
        }
    }

    #[test]
    fn what_took_the_place_of_a_chosen_file_is_not_sent() {
        let changed = |result: Result<String>| assert_eq!(result.unwrap_err().code(), Code::SourceChanged);
        let place = Place::new();
        let (film, cut) = (place.one("films/a.mp4"), place.one("films/cut/b.mp4"));
        assert_eq!(place.open(&film).unwrap(), "films/a.mp4");
        // A link, a second name of something else, a pipe that nobody writes to.
        std::fs::remove_file(&film.path).unwrap();
        symlink(place.path(".ssh/id_rsa"), &film.path).unwrap();
        changed(place.open(&film));
        std::fs::remove_file(&film.path).unwrap();
        std::fs::hard_link(place.path(".ssh/id_rsa"), &film.path).unwrap();
        changed(place.open(&film));
        std::fs::remove_file(&film.path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&film.path).status().unwrap().success());
        assert_eq!(place.open(&film).unwrap_err().code(), Code::InvalidInput);
        std::fs::remove_file(&film.path).unwrap();
        assert_eq!(place.open(&film).unwrap_err().code(), Code::SourceMissing);
        // A folder on the way.
        std::fs::write(place.path(".ssh/b.mp4"), "private").unwrap();
        std::fs::rename(place.path("films/cut"), place.path("films/aside")).unwrap();
        symlink(place.path(".ssh"), place.path("films/cut")).unwrap();
        changed(place.open(&cut));
        // An editor that saves puts a new file there, and that is the user's own doing.
        std::fs::write(place.path("saved"), "edited").unwrap();
        std::fs::rename(place.path("saved"), &film.path).unwrap();
        assert_eq!(place.open(&film).unwrap(), "edited");
    }

    #[test]
    fn a_link_that_was_named_means_what_it_led_to_then() {
        let place = Place::new();
        symlink(place.path("films/a.mp4"), place.path("link.mp4")).unwrap();
        let file = place.one("link.mp4");
        assert_eq!((file.path.clone(), file.size), (place.path("link.mp4"), 11));
        assert_eq!(place.open(&file).unwrap(), "films/a.mp4");
        std::fs::remove_file(place.path("link.mp4")).unwrap();
        symlink(place.path(".ssh/id_rsa"), place.path("link.mp4")).unwrap();
        assert_eq!(place.open(&file).unwrap(), "films/a.mp4");
        // An earlier Ferry did not write down what it was.
        let error = open(&place.path("link.mp4"), None, &place.own).unwrap_err();
        assert_eq!(error.code(), Code::SourceChanged);
        symlink(place.path("films"), place.path("way")).unwrap();
        assert!(open(&place.path("way/a.mp4"), None, &place.own).is_ok());
    }
}
