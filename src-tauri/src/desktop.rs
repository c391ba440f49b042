//! What of the desktop is not there, or does not answer. Nothing of it is needed for a transfer, so Ferry goes on without
//! and says so.
//!
//! Much of what a window stands on talks to the session bus and waits for its answer without an end: the toolkit, the
//! plugins, the keychain. One that takes connections and stays silent would hold up the start for ever. So it is asked
//! before any of them, for a moment; a Ferry that gets no answer starts itself anew in an environment without a bus.

use std::sync::{Mutex, PoisonError};

/// A part of the desktop that Ferry goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub part: Part,
    /// For the report, in English.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has a desktop in parts"))]
pub(crate) enum Part {
    /// Notices, tray icons, the keychain and other Ferrys are reached by it.
    Bus,
    /// Whether another Ferry runs with the same data.
    Instances,
    Tray,
    Notices,
    /// `ferry://` links.
    Links,
}

impl Part {
    /// As the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bus => "session bus",
            Self::Instances => "single instance",
            Self::Tray => "tray icon",
            Self::Notices => "notices",
            Self::Links => "links",
        }
    }
}

/// The start finds out what is missing before there is an app that could hold it.
static LACKS: Mutex<Vec<Lack>> = Mutex::new(Vec::new());

/// Notes what is missing, once for each part.
pub(crate) fn note(part: Part, why: impl Into<String>) {
    let mut lacks = LACKS.lock().unwrap_or_else(PoisonError::into_inner);
    if lacks.iter().all(|lack| lack.part != part) {
        let why = why.into();
        tracing::warn!(part = part.name(), why, "the desktop lacks something");
        lacks.push(Lack { part, why });
    }
}

/// All that is missing.
pub(crate) fn lacks() -> Vec<Lack> {
    LACKS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

pub(crate) fn lacks_part(part: Part) -> bool {
    LACKS.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|lack| lack.part == part)
}

#[cfg(target_os = "linux")]
mod bus {
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use gtk::gio;

    use super::{Part, note};

    /// How long anything on the bus may take to answer while Ferry starts.
    const LIMIT: Duration = Duration::from_secs(1);
    const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";
    /// An address of no bus, with which everything that asks for one fails at once.
    const NONE: &str = "disabled:";
    /// Says to a Ferry that was started anew that the bus is silent.
    const SILENT: &str = "FERRY_BUS_SILENT";

    /// What came of asking.
    enum Answer<T> {
        Came(T),
        Refused(String),
        /// Not within the limit.
        Silent,
    }

    /// Asks for the bus. Comes before anything else does, and after what changes the environment: from here on there are
    /// threads.
    pub(crate) fn prepare() {
        if std::env::var_os(SILENT).is_some() {
            note(Part::Bus, "it does not answer");
            return;
        }
        match ask(|_| ()) {
            Answer::Came(()) => {}
            Answer::Refused(why) => note(Part::Bus, why),
            Answer::Silent => start_without(),
        }
    }

    /// Starts Ferry anew without the bus.
    fn start_without() {
        let Ok(program) = std::env::current_exe() else { return };
        let mut again = Command::new(program);
        again.args(std::env::args_os().skip(1)).env(ADDRESS, NONE).env(SILENT, "1");
        // Comes back only when it fails.
        let error = again.exec();
        note(Part::Bus, format!("it does not answer, and Ferry could not be started without it: {error}"));
    }

    /// Whether whoever has this name on the bus, if anybody has, does not answer.
    pub(crate) fn is_hung(name: &str) -> bool {
        let name = name.to_owned();
        let asked = ask(move |bus| {
            let pinged = bus.call_sync(
                Some(&name),
                "/",
                "org.freedesktop.DBus.Peer",
                "Ping",
                None,
                None,
                gio::DBusCallFlags::NO_AUTO_START,
                i32::try_from(LIMIT.as_millis()).unwrap_or(i32::MAX) / 2,
                gio::Cancellable::NONE,
            );
            pinged.is_err_and(|error| error.matches(gio::IOErrorEnum::TimedOut))
        });
        matches!(asked, Answer::Silent | Answer::Came(true))
    }

    /// Asks the bus something over a connection of its own, in a thread that is left behind if that never ends.
    fn ask<T: Send + 'static>(
        question: impl FnOnce(&gio::DBusConnection) -> T + Send + 'static,
    ) -> Answer<T> {
        let Some(address) = address() else { return Answer::Refused("there is none".into()) };
        let (answer, answered) = mpsc::channel();
        let asking = move || {
            let flags = gio::DBusConnectionFlags::AUTHENTICATION_CLIENT
                | gio::DBusConnectionFlags::MESSAGE_BUS_CONNECTION;
            let asked = gio::DBusConnection::for_address_sync(&address, flags, None, gio::Cancellable::NONE)
                .map(|bus| {
                    // A bus that ends would take Ferry with it.
                    bus.set_exit_on_close(false);
                    let said = question(&bus);
                    let _ = bus.close_sync(gio::Cancellable::NONE);
                    said
                });
            // Nobody waits any more.
            let _ = answer.send(asked.map_err(|error| error.message().to_owned()));
        };
        if let Err(error) = std::thread::Builder::new().name("bus".into()).spawn(asking) {
            return Answer::Refused(error.to_string());
        }
        match answered.recv_timeout(LIMIT) {
            Ok(Ok(said)) => Answer::Came(said),
            Ok(Err(why)) => Answer::Refused(why),
            Err(mpsc::RecvTimeoutError::Disconnected) => Answer::Refused("asking it failed".into()),
            Err(mpsc::RecvTimeoutError::Timeout) => Answer::Silent,
        }
    }

    /// Where the bus is. Where nothing says so, one would have to be started, which is the desktop's to do.
    fn address() -> Option<String> {
        let named = std::env::var(ADDRESS).ok().filter(|address| !address.is_empty());
        named.or_else(|| {
            let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
            let socket = Path::new(&folder).join("bus");
            socket.exists().then(|| format!("unix:path={}", socket.display()))
        })
    }
}

#[cfg(target_os = "linux")]
pub(crate) use bus::{is_hung, prepare};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_noted_once_with_its_first_reason() {
        note(Part::Links, "no file for it");
        note(Part::Links, "another reason");
        let lacks: Vec<Lack> = lacks().into_iter().filter(|lack| lack.part == Part::Links).collect();
        assert_eq!(lacks, [Lack { part: Part::Links, why: "no file for it".into() }]);
        assert!(lacks_part(Part::Links));
    }
}
