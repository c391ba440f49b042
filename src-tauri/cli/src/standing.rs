//! How a transfer stands, in words.

use ferry_engine::{Size, Stage, Transfer, WaitReason};

use crate::size;

/// How a transfer stands, in words: `45 %, 12 MB of 27 MB, 5.1 MB/s, 3 s left`.
pub fn standing(transfer: &Transfer) -> String {
    let mut words = Vec::new();
    if let Some(wait) = &transfer.wait {
        words.push(waiting(wait.reason, wait.until));
        words.push(wait.message());
    } else if let Some(stage) = transfer.stage {
        let percent = transfer.stage_percent.map_or_else(String::new, |percent| format!(" {percent:.0} %"));
        words.push(format!("{}{percent}", stage_word(stage)));
    }
    if transfer.bytes > 0 {
        words.push(match transfer.total {
            Some(total) if total > 0 => format!(
                "{} %, {} of {}",
                transfer.bytes.saturating_mul(100) / total,
                Size(transfer.bytes),
                Size(total)
            ),
            _ => Size(transfer.bytes).to_string(),
        });
    }
    if let Some(speed) = transfer.speed.filter(|speed| *speed > 0) {
        words.push(format!("{}/s", Size(speed)));
    }
    if let Some(seconds) = transfer.seconds_left {
        words.push(format!("{} left", size::show_seconds(seconds)));
    }
    if words.is_empty() { transfer.state.word().to_owned() } else { words.join(", ") }
}

fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Preparing => "the server prepares it",
        Stage::Checking => "checking what is here",
        Stage::Fetching => "fetching",
        Stage::Signing => "signing",
        Stage::Sending => "sending",
        Stage::Verifying => "verifying",
        Stage::Confirming => "waiting for the service to confirm",
        Stage::Publishing => "publishing",
        Stage::Removing => "removing it from the server",
    }
}

fn waiting(reason: WaitReason, until: Option<u64>) -> String {
    let what = match reason {
        WaitReason::Retry => "trying again",
        WaitReason::RateLimit => "the service asked for a pause",
        WaitReason::Network => "waiting for the network",
        WaitReason::Key => "waiting for a key",
        WaitReason::Quota => "waiting for the account to be recharged",
        WaitReason::Space => "waiting for room on the disk",
        WaitReason::Answer => "waiting for the server to get the file ready",
        WaitReason::Folder => "waiting for its folder to answer",
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64);
    match until {
        Some(until) if until > now => {
            format!("{what} in {}", size::show_seconds((until - now).div_ceil(1000)))
        }
        _ => what.to_owned(),
    }
}
