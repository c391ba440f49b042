//! The report that a user copies for the people who maintain Ferry. It holds no key, no name of a file, no address.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ferry_engine::{Settings, Snapshot, State, is_private_setting};

use crate::desktop::Lack;

/// Why what takes hostile bytes apart is not shut in, where it is not.
#[derive(Debug, Default)]
pub(crate) struct Cages<'why> {
    pub page: Option<&'why str>,
    pub videos: Option<&'why str>,
}

/// Version, system, cages, settings that were changed, and counts.
pub(crate) fn write(snapshot: &Snapshot, cages: &Cages<'_>, lacks: &[Lack]) -> String {
    let mut report = format!(
        "Ferry {} ({}) on {} {}, webview {}\n",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "debug" } else { "release" },
        std::env::consts::OS,
        std::env::consts::ARCH,
        tauri::webview_version().unwrap_or_else(|_| "unknown".into()),
    );
    let _ = match cages.page {
        None => writeln!(report, "The page's process: in its sandbox"),
        Some(why) => writeln!(report, "The page's process: without a sandbox ({why})"),
    };
    let _ = match cages.videos {
        None => writeln!(report, "Pictures of videos: made in a cage"),
        Some(why) => writeln!(report, "Pictures of videos: none ({why})"),
    };
    for Lack { part, why } in lacks {
        let _ = writeln!(report, "Missing of the desktop: {} ({why})", part.name());
    }
    settings(&mut report, &snapshot.settings);
    services(&mut report, snapshot);
    transfers(&mut report, snapshot);
    report
}

fn settings(report: &mut String, settings: &Settings) {
    // Addresses and folders say who and where somebody is: only that they were changed is told.
    let is_private = |name: &str| name == "downloads_folder" || is_private_setting(name);
    let (Ok(serde_json::Value::Object(now)), Ok(usual)) =
        (serde_json::to_value(settings), serde_json::to_value(Settings::default()))
    else {
        return;
    };
    let _ = writeln!(report, "\nSettings that differ from the defaults:");
    for (name, value) in now {
        if usual.get(&name) != Some(&value) {
            let shown = if is_private(&name) { "(changed)".to_owned() } else { value.to_string() };
            let _ = writeln!(report, "  {name}: {shown}");
        }
    }
}

fn services(report: &mut String, snapshot: &Snapshot) {
    let _ = writeln!(report, "\nServices:");
    for service in &snapshot.services {
        let problem = service.problem.as_ref().map_or("none", |failure| failure.code.as_str());
        let _ = writeln!(
            report,
            "  {}: ready {}, key {:?}, address from a variable {}, problem {problem}",
            service.id, service.ready, service.key, service.address_from_variable
        );
    }
}

fn transfers(report: &mut String, snapshot: &Snapshot) {
    let mut counts = BTreeMap::<String, usize>::new();
    for transfer in &snapshot.transfers {
        let state = match &transfer.state {
            State::Failed(failure) => format!("failed {}", failure.code),
            other => other.word().to_owned(),
        };
        *counts.entry(format!("{} {} {state}", transfer.service, transfer.kind.as_str())).or_default() += 1;
    }
    let _ = writeln!(report, "\nTransfers: {}", snapshot.transfers.len());
    for (what, count) in counts {
        let _ = writeln!(report, "  {what}: {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_no_address_and_no_folder() {
        let settings = Settings {
            downloads_folder: Some("/home/someone/secret".into()),
            connections: 3,
            ..Settings::default()
        }
        .with("mavi_url", "https://mavi.internal.example")
        .with("unique_id", "someone");
        let snapshot = Snapshot {
            revision: 1,
            transfers: Vec::new(),
            services: Vec::new(),
            settings,
            downloads_folder: "/home/someone/secret".into(),
            notices: Vec::new(),
        };
        let cages = Cages { page: Some("no namespaces"), videos: None };
        let lacks = [Lack { part: crate::desktop::Part::Tray, why: "no library".into() }];
        let report = write(&snapshot, &cages, &lacks);
        assert!(report.contains("Missing of the desktop: tray icon (no library)\n"), "{report}");
        assert!(report.contains("The page's process: without a sandbox (no namespaces)\n"), "{report}");
        assert!(report.contains("Pictures of videos: made in a cage\n"), "{report}");
        assert!(write(&snapshot, &Cages::default(), &[]).contains("The page's process: in its sandbox\n"));
        assert!(!report.contains("someone") && !report.contains("internal.example"), "{report}");
        assert!(report.contains("connections: 3") && report.contains("mavi_url: (changed)"), "{report}");
    }
}
