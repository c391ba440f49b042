//! What an upload survives: rows U1 to U9 of `docs/reliability.md`, against the strict sandbox.

#[path = "support/bad_store.rs"]
mod bad_store;
#[path = "support/uploads.rs"]
mod uploads;

use std::path::Path;
use std::time::Duration;

use bad_store::{BadStore, Reply, Request, reply};

use ferry_engine::{
    AssetStatus, Code, DownloadRequest, Header, Remedy, Secret, Stage, State, Transfer, UploadMethod,
    UploadRequest, Verified, WaitReason,
};
use ferry_sandbox::{BalanceSpelling, Fault, FaultKind, RateLimitSpelling, SignedUrls};
use uploads::{API_KEY, Uploads, code};

const MIB: usize = 1024 * 1024;

const KINDS: [SignedUrls; 7] = [
    SignedUrls::GoogleResumable,
    SignedUrls::GooglePut,
    SignedUrls::AmazonPut,
    SignedUrls::AzurePut,
    SignedUrls::Form,
    SignedUrls::PolicyForm,
    SignedUrls::Session,
];

#[tokio::test]
async fn many_files_at_once_reach_the_listeners_in_messages_of_bounded_size() {
    const FILES: usize = 6_000;
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let paths = (0..FILES).map(|number| uploads.file(&format!("{number}.txt"), 1)).collect();
    let mut changes = uploads.engine.subscribe();
    let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
    let mut missing: std::collections::HashSet<_> =
        uploads.engine.upload(request).await.unwrap().into_iter().collect();
    assert_eq!(missing.len(), FILES);
    while !missing.is_empty() {
        let message = tokio::time::timeout(Duration::from_secs(20), changes.recv());
        let message = message.await.expect("the rest of the rows").unwrap();
        assert!(message.changed.len() <= 5_000, "{} rows in one message", message.changed.len());
        for row in &message.changed {
            missing.remove(&row.id);
        }
    }
    uploads.engine.shutdown().await;
}

#[tokio::test]
async fn every_kind_of_signed_url_ends_in_a_proven_file() {
    for kind in KINDS {
        let uploads = Uploads::new(kind).await;
        let path = uploads.file("Füße – 1.mp4", 3 * MIB + 17);
        let row = uploads.run(&path).await;
        assert_eq!(row.state, State::Completed, "{kind:?}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{kind:?}: other bytes");
        assert!(
            matches!(row.verified, Some(Verified::Crc32c | Verified::Md5)),
            "{kind:?}: verified by {:?}",
            row.verified
        );
        let assets = uploads.assets().await;
        assert_eq!((assets.len(), assets[0].status), (1, AssetStatus::Confirmed), "{kind:?}");
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "{kind:?}");
        assert_eq!(uploads.resume_records(), 0, "{kind:?}");
        assert!(
            uploads
                .sandbox
                .requests()
                .iter()
                .filter(|r| !r.path.contains("/serve/api/"))
                .all(|r| !r.authorization),
            "{kind:?}: the key went to the store"
        );
    }
}

#[tokio::test]
async fn an_empty_file_goes_every_way() {
    for kind in KINDS {
        let uploads = Uploads::new(kind).await;
        let row = uploads.run(&uploads.file("empty.txt", 0)).await;
        assert_eq!(row.state, State::Completed, "{kind:?}");
        assert_eq!(uploads.stored(&row).await, b"", "{kind:?}");
    }
}

#[tokio::test]
async fn u1_an_expired_url_is_signed_anew_and_the_old_id_given_up() {
    for kind in [
        SignedUrls::GooglePut,
        SignedUrls::AmazonPut,
        SignedUrls::AzurePut,
        SignedUrls::GoogleResumable,
        SignedUrls::Form,
        SignedUrls::PolicyForm,
    ] {
        let uploads = Uploads::new(kind).await;
        uploads.fault(Fault::new(FaultKind::ExpiredUrls).once());
        let row = uploads.run(&uploads.file("a.bin", 1000)).await;
        assert_eq!(row.state, State::Completed, "{kind:?}");
        let mut states: Vec<_> = uploads.assets().await.iter().map(|asset| asset.status).collect();
        states.sort_by_key(|status| *status == AssetStatus::Abandoned);
        assert_eq!(states, [AssetStatus::Confirmed, AssetStatus::Abandoned], "{kind:?}");
    }
}

/// The states of all assets, the one that holds the file first.
async fn states(uploads: &Uploads) -> Vec<AssetStatus> {
    let mut states: Vec<_> = uploads.assets().await.iter().map(|asset| asset.status).collect();
    states.sort_by_key(|status| *status == AssetStatus::Abandoned);
    states
}

/// Good when the first byte goes out, and not any more when the store looks at it next.
#[tokio::test]
async fn u1_a_url_that_ends_while_a_file_is_sent_whole_is_signed_anew() {
    for (kind, status, code, text) in [
        (SignedUrls::GooglePut, 400, "ExpiredToken", "The provided token has expired."),
        (SignedUrls::AmazonPut, 403, "AccessDenied", "Request has expired"),
    ] {
        for refused_on_the_way in [true, false] {
            let uploads = Uploads::new(kind).await;
            if refused_on_the_way {
                let ended = FaultKind::Status {
                    status,
                    retry_after: None,
                    body: Some(format!("<Error><Code>{code}</Code><Message>{text}</Message></Error>")),
                    content_type: Some("application/xml".into()),
                    after: 100_000,
                };
                uploads.fault(Fault::new(ended).on_path("/store/").once());
            } else {
                // The line breaks first, and what is sent again is refused.
                uploads.fault(Fault::new(FaultKind::CutUpload { after: 100_000 }).once());
                uploads.fault(Fault::new(FaultKind::ExpiredUrls).skip(1).once());
            }
            let path = uploads.file("a.bin", 20 * MIB);
            let row = uploads.run(&path).await;
            let here = format!("{kind:?}, on the way: {refused_on_the_way}");
            assert_eq!(row.state, State::Completed, "{here}");
            assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{here}: other bytes");
            assert_eq!(states(&uploads).await, [AssetStatus::Confirmed, AssetStatus::Abandoned], "{here}");
            assert_eq!(uploads.requests("POST", "/upload/signed-url"), 2, "{here}");
        }
    }
}

/// Its end comes before that of any request: by the time of the next one it has ended.
const ALREADY_OVER: FaultKind = FaultKind::UrlLifetime { seconds: 30 };

/// A session that is open outlives the URL that opened it.
#[tokio::test]
async fn u1_a_session_goes_on_after_its_url_has_ended_and_is_signed_anew_when_it_is_gone() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(ALREADY_OVER);
    uploads.fault(Fault::new(FaultKind::CutUpload { after: 3_000_000 }).skip(1).once());
    let path = uploads.file("a.bin", 20 * MIB);
    let row = uploads.run(&path).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
    assert_eq!(states(&uploads).await, [AssetStatus::Confirmed]);
    assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "signed again without need");

    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(ALREADY_OVER);
    uploads.fault(Fault::new(FaultKind::SessionGone { status: 410 }).skip(1).once());
    let row = uploads.run(&path_in(&uploads)).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(path_in(&uploads)).unwrap());
    assert_eq!(states(&uploads).await, [AssetStatus::Confirmed, AssetStatus::Abandoned]);
}

/// A file of more than one chunk.
fn path_in(uploads: &Uploads) -> std::path::PathBuf {
    uploads.file("more.bin", 20 * MIB)
}

#[tokio::test]
async fn u1_a_url_that_ended_while_ferry_was_not_running_is_signed_anew_only_where_it_is_needed() {
    for (kind, signed) in [(SignedUrls::GooglePut, 2), (SignedUrls::GoogleResumable, 1)] {
        let uploads = Uploads::new(kind).await;
        uploads.fault(Fault::new(ALREADY_OVER).once());
        uploads.fault(Fault::new(FaultKind::Slow { bytes_per_second: 8_000_000 }).on_method("PUT"));
        let path = path_in(&uploads);
        let id = uploads.add(&path).await;
        uploads.until(id, |row| row.bytes > 0).await;
        let uploads = uploads.restart().await;
        uploads.sandbox.faults().clear();
        uploads.engine.resume(&[id]).await.unwrap();
        let row = uploads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{kind:?}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{kind:?}: other bytes");
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), signed, "{kind:?}");
        let given_up = states(&uploads).await.iter().filter(|s| **s == AssetStatus::Abandoned).count();
        assert_eq!(given_up, signed - 1, "{kind:?}");
    }
}

#[tokio::test]
async fn u1_an_own_url_that_has_expired_cannot_be_signed_anew() {
    let uploads = Uploads::new(SignedUrls::AmazonPut).await;
    let path = uploads.file("a.bin", 1000);
    let url = format!(
        "{}/bucket/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-Signature=00",
        uploads.sandbox.origin()
    );
    let request = UploadRequest { paths: vec![path], to: Some(url), ..UploadRequest::default() };
    let id = uploads.engine.upload(request).await.unwrap()[0];
    assert_eq!(code(&uploads.ended(id).await), Some(Code::ExpiredUrl));
    assert!(uploads.sandbox.requests().is_empty(), "known without asking");
}

#[tokio::test]
async fn u1_a_clock_that_is_off_by_a_day_costs_no_second_asset() {
    const DAY: i64 = 86_400;
    for seconds in [-DAY, DAY] {
        for kind in [SignedUrls::GooglePut, SignedUrls::AmazonPut, SignedUrls::AzurePut] {
            let uploads = Uploads::new(kind).await;
            uploads.fault(FaultKind::ClockAhead { seconds });
            uploads.fault(FaultKind::UrlLifetime { seconds: 3600 });
            uploads.fault(Fault::new(FaultKind::CutUpload { after: 1000 }).once());
            let path = uploads.file("a.bin", 100_000);
            let row = uploads.run(&path).await;
            assert_eq!(row.state, State::Completed, "{seconds} {kind:?}");
            assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "{seconds} {kind:?}: signed again");
            assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{seconds} {kind:?}");
            // What really ends, by the store's word, is signed anew whatever this clock says.
            uploads.fault(Fault::new(FaultKind::ExpiredUrls).once());
            assert_eq!(uploads.run(&uploads.file("b.bin", 10)).await.state, State::Completed);
            let given_up =
                uploads.assets().await.iter().filter(|a| a.status == AssetStatus::Abandoned).count();
            assert_eq!(given_up, 1, "{seconds} {kind:?}");
        }
    }
}

#[tokio::test]
async fn u1_an_own_url_is_not_refused_because_this_clock_is_a_day_ahead() {
    let uploads = Uploads::new(SignedUrls::AmazonPut).await;
    uploads.fault(FaultKind::ClockAhead { seconds: -86_400 });
    uploads.fault(FaultKind::UrlLifetime { seconds: 3600 });
    let answer = reqwest::Client::new()
        .post(format!("{}/upload/signed-url", uploads.sandbox.mavi_url()))
        .header("Authorization", API_KEY)
        .json(&serde_json::json!({ "original_filename": "a.bin" }))
        .send()
        .await
        .unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let request = UploadRequest {
        paths: vec![uploads.file("a.bin", 1000)],
        to: answer["data"]["signed_url"].as_str().map(str::to_owned),
        ..UploadRequest::default()
    };
    let id = uploads.engine.upload(request).await.unwrap()[0];
    assert_eq!(uploads.ended(id).await.state, State::Completed);
}

#[tokio::test]
async fn u2_a_wrong_guess_is_flipped_once_and_a_forced_way_never() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    // A store that wants no PUT at this time: 405 is how it says so.
    uploads.fault(
        Fault::new(FaultKind::Status {
            status: 405,
            retry_after: None,
            body: None,
            content_type: None,
            after: 0,
        })
        .on_method("PUT"),
    );
    let row = uploads.run(&uploads.file("a.bin", 1000)).await;
    let puts = uploads.requests("PUT", "/store/");
    let posts = uploads.requests("POST", "/store/");
    assert_eq!((puts, posts), (1, 1), "one flip, not more");
    // A Google URL takes no form: the second answer stands, and says what the store said.
    assert!(matches!(row.state, State::Failed(_)));
    uploads.sandbox.faults().clear();

    let uploads = Uploads::new(SignedUrls::Form).await;
    let forced = UploadRequest {
        paths: vec![uploads.file("b.bin", 1000)],
        service: Some("mavi".into()),
        method: Some(UploadMethod::Put),
        ..UploadRequest::default()
    };
    let id = uploads.engine.upload(forced).await.unwrap()[0];
    assert!(
        matches!(uploads.ended(id).await.state, State::Failed(_)),
        "a method that the user forces is not flipped"
    );
    let row = uploads.run(&uploads.file("c.bin", 1000)).await;
    assert_eq!(row.state, State::Completed);
}

/// The second file goes the right way at once, also after a restart.
#[tokio::test]
async fn u2_the_way_that_worked_in_the_end_is_remembered() {
    let status = |status| FaultKind::Status {
        status,
        retry_after: None,
        body: Some(String::new()),
        content_type: None,
        after: u64::MAX,
    };
    for wrong in ["POST", "PUT"] {
        let kind = if wrong == "POST" { SignedUrls::Form } else { SignedUrls::GooglePut };
        let uploads = Uploads::new(kind).await;
        uploads.fault(Fault::new(status(405)).on_method(wrong).on_path("/store/"));
        if wrong == "POST" {
            uploads.fault(FaultKind::FormKeptWhole);
        } else {
            // No store here takes a form for this URL: it is played that one does.
            uploads.fault(Fault::new(status(200)).on_method("POST").on_path("/store/"));
            uploads.fault(FaultKind::MetadataStatus { status: "SUCCESS".into() });
            uploads.fault(FaultKind::MetadataSize { by: 1000 });
        }
        let right = if wrong == "POST" { "PUT" } else { "POST" };
        assert_eq!(uploads.run(&uploads.file("a.bin", 1000)).await.state, State::Completed, "not {wrong}");
        assert_eq!((uploads.requests(wrong, "/store/"), uploads.requests(right, "/store/")), (1, 1));
        assert_eq!(uploads.run(&uploads.file("b.bin", 1000)).await.state, State::Completed, "not {wrong}");
        assert_eq!((uploads.requests(wrong, "/store/"), uploads.requests(right, "/store/")), (1, 2));
        let uploads = uploads.restart().await;
        assert_eq!(uploads.run(&uploads.file("c.bin", 1000)).await.state, State::Completed, "not {wrong}");
        assert_eq!((uploads.requests(wrong, "/store/"), uploads.requests(right, "/store/")), (1, 3));
    }
}

#[tokio::test]
async fn u2_an_answer_before_the_body_ends_is_read() {
    for kind in [SignedUrls::GooglePut, SignedUrls::Form] {
        let uploads = Uploads::new(kind).await;
        uploads.fault(
            Fault::new(FaultKind::Status {
                status: 403,
                retry_after: None,
                body: Some(
                    "<Error><Code>AccessDenied</Code><Message>No room for you</Message></Error>".into(),
                ),
                content_type: Some("application/xml".into()),
                after: 100_000,
            })
            .on_path("/store/"),
        );
        let row = uploads.run(&uploads.file("a.bin", 40 * MIB)).await;
        let State::Failed(failure) = row.state else { panic!("{kind:?}: {:?}", row.state) };
        assert!(failure.message().contains("No room for you"), "{kind:?}: {}", failure.message());
    }
}

#[tokio::test]
async fn u4_a_session_that_is_cut_goes_on_where_the_store_stands() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(Fault::new(FaultKind::CutUpload { after: 3_000_000 }).skip(1).once());
    let path = uploads.file("a.bin", 30 * MIB);
    let row = uploads.run(&path).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
    let received: u64 =
        uploads.sandbox.requests().iter().filter(|r| r.method == "PUT").map(|r| r.received).sum();
    assert!(received < 34 * MIB as u64, "{received} bytes went out for {}", 30 * MIB);
    assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "no second asset");
}

#[tokio::test]
async fn u4_a_store_that_keeps_less_than_it_was_sent_is_believed() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(Fault::new(FaultKind::KeepFewer { bytes: 300_000 }).times(2));
    let path = uploads.file("a.bin", 20 * MIB);
    let row = uploads.run(&path).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
}

#[tokio::test]
async fn u4_a_session_that_is_gone_begins_anew() {
    for status in [404, 410] {
        let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
        uploads.fault(Fault::new(FaultKind::SessionGone { status }).skip(1).once());
        let path = uploads.file("a.bin", 12 * MIB);
        let row = uploads.run(&path).await;
        assert_eq!(row.state, State::Completed, "{status}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{status}: other bytes");
        assert!(row.note.is_some_and(|note| note.to_string().contains("sent from the beginning")));
    }
}

/// 308 without a range: the store has nothing, whatever was sent.
#[tokio::test]
async fn u4_a_store_that_names_no_range_has_kept_nothing() {
    for cut in [false, true] {
        let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
        if cut {
            // Less than the store's unit: the question how far it is gets the same answer.
            uploads.fault(Fault::new(FaultKind::CutUpload { after: 100_000 }).once());
        } else {
            uploads.fault(Fault::new(FaultKind::KeepFewer { bytes: u64::MAX }).once());
        }
        let path = uploads.file("a.bin", 20 * MIB);
        let row = uploads.run(&path).await;
        assert_eq!(row.state, State::Completed, "cut: {cut}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "cut: {cut}: other bytes");
        let ranges = uploads.sandbox.requests().into_iter().filter_map(|request| request.content_range);
        let from_the_start = ranges.filter(|range| range.starts_with("bytes 0-")).count();
        assert_eq!(from_the_start, 2, "cut: {cut}: the first chunk was sent again");
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "cut: {cut}");
    }
}

#[tokio::test]
async fn u4_a_lost_last_answer_sends_nothing_twice() {
    for kind in [SignedUrls::GoogleResumable, SignedUrls::GooglePut] {
        let uploads = Uploads::new(kind).await;
        uploads.fault(Fault::new(FaultKind::LoseFinalAnswer).once());
        let path = uploads.file("a.bin", 5 * MIB);
        let row = uploads.run(&path).await;
        assert_eq!(row.state, State::Completed, "{kind:?}");
        let received: u64 =
            uploads.sandbox.requests().iter().filter(|r| r.method == "PUT").map(|r| r.received).sum();
        assert_eq!(received, 5 * MIB as u64, "{kind:?}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{kind:?}");
    }
}

#[tokio::test]
async fn u4_a_session_without_a_place_is_opened_again() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(Fault::new(FaultKind::NoLocation).once());
    let path = uploads.file("a.bin", 1000);
    let row = uploads.run(&path).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
}

#[tokio::test]
async fn u5_trouble_that_passes_is_waited_out_in_every_phase() {
    let at = |status| {
        Fault::new(FaultKind::Status {
            status,
            retry_after: Some("0".into()),
            body: None,
            content_type: None,
            after: 0,
        })
        .once()
    };
    for status in [408, 429, 500, 502, 503, 504] {
        for (phase, kind, fault) in [
            ("signing", SignedUrls::GoogleResumable, at(status).on_path("/upload/signed-url")),
            ("the session's start", SignedUrls::GoogleResumable, at(status).on_path("/store/")),
            ("a chunk", SignedUrls::GoogleResumable, at(status).on_path("/store/").on_method("PUT").skip(1)),
            // The first PUT is cut, the second asks how far the store is.
            (
                "the question",
                SignedUrls::GoogleResumable,
                at(status).on_path("/store/").on_method("PUT").skip(1),
            ),
            ("a plain PUT", SignedUrls::GooglePut, at(status).on_path("/store/")),
            ("a form", SignedUrls::Form, at(status).on_path("/store/")),
            ("the confirmation", SignedUrls::GoogleResumable, at(status).on_path("/metadata")),
        ] {
            let here = format!("{status} at {phase}");
            let uploads = Uploads::new(kind).await;
            uploads.fault(fault);
            if phase == "the question" {
                uploads.fault(Fault::new(FaultKind::CutUpload { after: 300_000 }).once());
            }
            let path = uploads.file("a.bin", if phase == "a chunk" { 9 * MIB } else { 600_000 });
            let row = uploads.run(&path).await;
            assert_eq!(row.state, State::Completed, "{here}");
            assert!(uploads.sandbox.faults().list().is_empty(), "{here}: it was never in the way");
            assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{here}: other bytes");
            assert_eq!(uploads.assets().await.len(), 1, "{here}");
            let hit =
                uploads.sandbox.requests().into_iter().find(|request| request.status == status).unwrap();
            let asks = hit.content_range.as_deref().is_some_and(|range| range.contains('*'));
            assert_eq!(asks, phase == "the question", "{here}: {hit:?}");
        }
    }
}

#[tokio::test]
async fn u6_a_source_that_changes_fails_loudly_and_can_be_sent_again() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Code, Change); 4] = [
        ("something else", Code::SourceChanged, |path| std::fs::write(path, b"something else").unwrap()),
        ("grown", Code::SourceChanged, |path| {
            use std::io::Write as _;
            std::fs::File::options().append(true).open(path).unwrap().write_all(b"more of it").unwrap();
        }),
        ("edited", Code::SourceChanged, |path| {
            use std::io::{Seek as _, SeekFrom, Write as _};
            let mut file = std::fs::File::options().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(10)).unwrap();
            file.write_all(b"other bytes of the same length").unwrap();
        }),
        ("deleted", Code::SourceMissing, |path| std::fs::remove_file(path).unwrap()),
    ];
    for kind in [SignedUrls::GoogleResumable, SignedUrls::GooglePut] {
        let each = changes.map(async |(what, expected, change)| {
            let here = format!("{kind:?}, {what}");
            let uploads = Uploads::new(kind).await;
            let path = uploads.file("a.bin", 20 * MIB);
            // The store takes no more before the change than it may, and the rest when it was made.
            uploads.fault(Fault::new(FaultKind::Slow { bytes_per_second: 4_000_000 }).on_method("PUT"));
            let id = uploads.add(&path).await;
            uploads.until(id, |row| row.bytes > 0).await;
            change(&path);
            let row = uploads.ended(id).await;
            assert_eq!(code(&row), Some(expected), "{here}: {:?}", row.state);
            assert!(
                uploads.assets().await.iter().all(|asset| asset.status != AssetStatus::Confirmed),
                "{here}"
            );
            uploads.sandbox.faults().clear();
            if !path.exists() {
                std::fs::write(&path, b"put back").unwrap();
            }
            uploads.engine.retry(&[id]).await.unwrap();
            let row = uploads.ended(id).await;
            assert_eq!(row.state, State::Completed, "{here}");
            assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "{here}: other bytes");
        });
        futures_util::future::join_all(each).await;
    }
}

#[tokio::test]
async fn u6_a_sparse_file_of_five_tebibytes_is_counted_and_not_read() {
    const SIZE: u64 = 5 << 40;
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let path = uploads.file("huge.bin", 0);
    if let Err(error) = std::fs::File::options().write(true).open(&path).unwrap().set_len(SIZE) {
        eprintln!("skipped: this file system takes no file of 5 TiB: {error}");
        return;
    }
    let began = std::time::Instant::now();
    let summary = uploads.engine.summarise(vec![path.clone()]).await.unwrap();
    assert_eq!((summary.files, summary.bytes), (1, SIZE));
    let id = uploads.add(&path).await;
    assert_eq!(uploads.engine.transfer(id).unwrap().total, Some(SIZE));
    assert!(began.elapsed() < Duration::from_secs(5), "adding it took {:?}", began.elapsed());

    let row = uploads.until(id, |row| row.bytes >= 64 << 20 || row.state.has_ended()).await;
    assert!(!row.state.has_ended() && row.total == Some(SIZE), "{row:?}");
    let began = std::time::Instant::now();
    uploads.engine.cancel(&[id]).await.unwrap();
    assert_eq!(uploads.until(id, |row| row.state.has_ended()).await.state, State::Canceled);
    assert!(began.elapsed() < Duration::from_secs(5), "canceling it took {:?}", began.elapsed());
}

#[tokio::test]
async fn d18_a_job_that_is_stuck_is_given_up() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let uploads = uploads.impatient(|limits| limits.stuck = Some(Duration::from_secs(1))).await;
    uploads.fault(FaultKind::JobStuck);
    let request = DownloadRequest {
        what: format!("{}/generate/1000/talk.mp4", uploads.sandbox.url()),
        service: Some("offline-tube".into()),
        folder: uploads.file("x", 0).parent().map(std::path::Path::to_owned),
        ..DownloadRequest::default()
    };
    let id = uploads.engine.download(request.clone()).await.unwrap();
    let row = uploads.ended(id).await;
    assert_eq!(code(&row), Some(Code::NotReady), "{:?}", row.state);
    let State::Failed(failure) = row.state else { unreachable!("it has a code") };
    assert!(failure.message().contains("no progress for 1 s"), "{}", failure.message());
    // The next attempt is a job of its own.
    uploads.sandbox.faults().clear();
    uploads.engine.retry(&[id]).await.unwrap();
    assert_eq!(uploads.ended(id).await.state, State::Completed);
    assert_eq!(uploads.requests("POST", "/api/download"), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn u6_what_cannot_be_proven_is_refused_before_anything_is_signed() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let folder = uploads.file("x", 1).parent().unwrap().to_owned();
    let fifo = folder.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink(folder.join("loop"), folder.join("loop")).unwrap();
    let empty = folder.join("empty folder");
    std::fs::create_dir(&empty).unwrap();
    for path in [fifo, folder.join("loop"), folder.join("missing"), "/dev/zero".into(), empty] {
        let request = UploadRequest {
            paths: vec![path.clone()],
            service: Some("mavi".into()),
            ..UploadRequest::default()
        };
        let error = uploads.engine.upload(request).await.expect_err("refused");
        assert!(
            matches!(error.code(), Code::InvalidInput | Code::SourceMissing | Code::PermissionDenied),
            "{path:?}: {error}"
        );
    }
    assert!(uploads.sandbox.requests().is_empty());
}

#[tokio::test]
async fn u7_a_store_or_service_that_has_something_else_is_a_loud_failure() {
    let faults = [
        (FaultKind::WrongHash, Code::IntegrityMismatch),
        (FaultKind::MetadataSize { by: 311 }, Code::IntegrityMismatch),
        (FaultKind::MetadataStatus { status: "FAILED".into() }, Code::ServiceError),
    ];
    for (fault, expected) in faults {
        let uploads = Uploads::new(SignedUrls::GooglePut).await;
        uploads.fault(Fault::new(fault.clone()));
        let row = uploads.run(&uploads.file("a.bin", 1000)).await;
        assert_eq!(code(&row), Some(expected), "{fault:?}: {:?}", row.state);
        let State::Failed(failure) = &row.state else { unreachable!("it has a code") };
        if expected == Code::IntegrityMismatch {
            assert_eq!(failure.remedy, Remedy::DeleteAsset, "{fault:?}");
            assert!(failure.advice.to_string().contains("delete the wrong asset"), "{}", failure.advice);
        }
        assert!(row.asset_id.is_some(), "{fault:?}: what is to be deleted is named");
        // The way out is one: what was begun is not begun again with what the service has refused.
        uploads.sandbox.faults().clear();
        uploads.engine.retry(&[row.id]).await.unwrap();
        let row = uploads.ended(row.id).await;
        assert_eq!(row.state, State::Completed, "{fault:?}");
        let mut states: Vec<_> = uploads.assets().await.iter().map(|asset| asset.status).collect();
        states.sort_by_key(|status| *status == AssetStatus::Abandoned);
        assert_eq!(states, [AssetStatus::Confirmed, AssetStatus::Abandoned], "{fault:?}");
    }
}

/// After two minutes; the test lets them pass.
#[tokio::test]
async fn u7_a_service_that_never_confirms_is_sent_and_not_yet_confirmed() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    uploads.fault(FaultKind::MetadataStatus { status: "WAITING".into() });
    let path = uploads.file("a.bin", 1000);
    let id = uploads.add(&path).await;
    let row = uploads.until(id, |_| uploads.requests("GET", "/metadata") > 0).await;
    assert_eq!(row.stage, Some(Stage::Confirming));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let asked = uploads.requests("GET", "/metadata");
    // One question may have been on its way; the second one shows that it goes on asking.
    uploads.until(id, |_| uploads.requests("GET", "/metadata") >= asked + 2).await;
    assert_eq!(uploads.engine.transfer(id).unwrap().stage, Some(Stage::Confirming), "not given up too early");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let row = uploads.ended(id).await;
    assert_eq!(row.state, State::Completed, "the bytes are there, by the store's own word");
    assert!(
        row.note.as_ref().is_some_and(|note| note.to_string().contains("not yet confirmed")),
        "{:?}",
        row.note
    );
    assert_eq!(uploads.assets().await[0].status, AssetStatus::Sent);
    assert_eq!(uploads.engine.asset_count().await.unwrap(), 1);
    assert_eq!(uploads.requests("PUT", "/store/"), 1, "nothing was sent twice");
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
}

/// In both places where the service is asked: after the last byte, and by a run that comes after one that was cut off there.
#[tokio::test]
async fn a_pause_or_a_cancel_during_a_confirmation_is_answered_at_once_and_loses_nothing() {
    const AT_ONCE: Duration = Duration::from_secs(1);
    for kind in [SignedUrls::GooglePut, SignedUrls::GoogleResumable] {
        let uploads = Uploads::new(kind).await;
        uploads.fault(Fault::new(FaultKind::Silence).on_path("/metadata"));
        let path = uploads.file("a.bin", 1000);
        let id = uploads.add(&path).await;
        let one = [id];
        for place in 0..2 {
            uploads.until(id, |_| uploads.requests("GET", "/metadata") > place).await;
            let pause = tokio::time::timeout(AT_ONCE, uploads.engine.pause(&one));
            pause.await.expect("the pause is answered").unwrap();
            assert_eq!(uploads.engine.transfer(id).unwrap().state, State::Paused, "{kind:?}, {place}");
            uploads.engine.resume(&[id]).await.unwrap();
        }
        uploads.until(id, |_| uploads.requests("GET", "/metadata") > 2).await;
        let cancel = tokio::time::timeout(AT_ONCE, uploads.engine.cancel(&one));
        cancel.await.expect("the cancel is answered").unwrap();
        assert_eq!(uploads.engine.transfer(id).unwrap().state, State::Canceled, "{kind:?}");

        // Another one goes to its end after the same pauses, with every byte sent once.
        let id = uploads.add(&uploads.file("b.bin", 1000)).await;
        let asked = uploads.requests("GET", "/metadata");
        for place in 0..2 {
            uploads.until(id, |_| uploads.requests("GET", "/metadata") > asked + place).await;
            uploads.engine.pause(&[id]).await.unwrap();
            if place == 1 {
                uploads.sandbox.faults().clear();
            }
            uploads.engine.resume(&[id]).await.unwrap();
        }
        let row = uploads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{kind:?}: {row:?}");
        let asked = uploads.sandbox.requests();
        let with_bytes = |asked: &&ferry_sandbox::Request| {
            asked.method == "PUT" && asked.path.contains("/store/") && asked.received > 0
        };
        assert_eq!(asked.iter().filter(with_bytes).count(), 2, "{kind:?}: one for each file");
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn a_store_that_stops_reading_is_given_up_after_the_stall_limit_and_not_after_that_for_an_answer() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let uploads = uploads.impatient(|limits| limits.stall = Some(Duration::from_secs(1))).await;
    uploads.fault(Fault::new(FaultKind::StallUpload { after: 100_000 }).once());
    let began = std::time::Instant::now();
    // More than the system takes off Ferry's hands.
    let row = uploads.run(&uploads.file("a.bin", 64 * MIB)).await;
    assert_eq!(row.state, State::Completed);
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for {:?}", began.elapsed());
}

#[tokio::test]
async fn u9_a_key_that_is_revoked_after_the_last_byte_holds_nothing_up() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    uploads.fault(Fault::new(FaultKind::KeyRevoked).on_path("/metadata"));
    let began = std::time::Instant::now();
    let row = uploads.run(&uploads.file("a.bin", 1000)).await;
    assert_eq!(row.state, State::Completed);
    assert!(
        row.note.as_ref().is_some_and(|note| note.to_string().contains("not yet confirmed")),
        "{:?}",
        row.note
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "it asked on with a refused key");
}

#[tokio::test]
async fn u7_a_form_that_was_stored_whole_is_sent_again_by_put_and_that_is_remembered() {
    // The store itself says how much it has, or only the service's metadata do.
    for silent in [false, true] {
        let uploads = Uploads::new(SignedUrls::Form).await;
        uploads.fault(FaultKind::FormKeptWhole);
        if silent {
            uploads.fault(FaultKind::NoHash);
        }
        let ways = || (uploads.requests("POST", "/store/"), uploads.requests("PUT", "/store/"));
        let path = uploads.file("film.mp4", MIB + 17);
        let row = uploads.run(&path).await;
        assert_eq!(row.state, State::Completed, "silent: {silent}");
        assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap(), "silent: {silent}: other bytes");
        assert_eq!(ways(), (1, 1), "silent: {silent}");
        let mut states: Vec<_> = uploads.assets().await.iter().map(|asset| asset.status).collect();
        states.sort_by_key(|status| *status == AssetStatus::Abandoned);
        assert_eq!(states, [AssetStatus::Confirmed, AssetStatus::Abandoned], "silent: {silent}");
        let history = uploads.engine.timeline(row.id).await.unwrap();
        assert!(history.iter().any(|entry| entry.text.to_string().contains("kept the form around the file")));

        let uploads = uploads.restart().await;
        assert_eq!(uploads.run(&uploads.file("next.mp4", 1000)).await.state, State::Completed);
        let ways = (uploads.requests("POST", "/store/"), uploads.requests("PUT", "/store/"));
        assert_eq!(ways, (1, 2), "silent: {silent}: the next file goes the right way at once");
    }
}

#[tokio::test]
async fn u7_a_second_wrong_file_and_a_forced_form_are_loud() {
    let uploads = Uploads::new(SignedUrls::Form).await;
    uploads.fault(FaultKind::FormKeptWhole);
    uploads.fault(FaultKind::MetadataSize { by: 311 });
    let row = uploads.run(&uploads.file("a.bin", 1000)).await;
    assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{:?}", row.state);
    assert_eq!((uploads.requests("POST", "/store/"), uploads.requests("PUT", "/store/")), (1, 1));

    let uploads = Uploads::new(SignedUrls::Form).await;
    uploads.fault(FaultKind::FormKeptWhole);
    let forced = UploadRequest {
        paths: vec![uploads.file("a.bin", 1000)],
        service: Some("mavi".into()),
        method: Some(UploadMethod::Post),
        ..UploadRequest::default()
    };
    let id = uploads.engine.upload(forced).await.unwrap()[0];
    assert_eq!(code(&uploads.ended(id).await), Some(Code::IntegrityMismatch));
    assert_eq!((uploads.requests("POST", "/store/"), uploads.requests("PUT", "/store/")), (1, 0));
}

#[tokio::test]
async fn u8_an_upload_goes_on_after_a_restart_with_the_same_asset() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let path = uploads.file("a.bin", 40 * MIB);
    uploads.fault(Fault::new(FaultKind::Slow { bytes_per_second: 16_000_000 }).on_method("PUT"));
    let id = uploads.add(&path).await;
    let before = uploads.until(id, |row| row.bytes > 0).await;
    let uploads = uploads.restart().await;
    let row = uploads.engine.transfer(id).unwrap();
    assert_eq!(row.state, State::Queued);
    assert!(row.bytes > 0, "never back to 0");
    uploads.sandbox.faults().clear();
    uploads.engine.resume(&[id]).await.unwrap();
    let row = uploads.ended(id).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(row.asset_id, before.asset_id);
    assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1);
    assert!(uploads.stored(&row).await == std::fs::read(&path).unwrap());
}

#[tokio::test]
async fn u9_a_refused_key_is_asked_about_once_not_for_every_file() {
    let uploads = Uploads::with(SignedUrls::GoogleResumable, "wrong").await;
    let paths: Vec<_> = (0..20).map(|n| uploads.file(&format!("{n}.bin"), 10)).collect();
    let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
    let ids = uploads.engine.upload(request).await.unwrap();
    for id in ids {
        assert_eq!(code(&uploads.ended(id).await), Some(Code::Unauthorized));
    }
    let asked = uploads.requests("POST", "/upload/signed-url");
    assert!(asked <= 3, "asked {asked} times: at most once a slot");
    let status = uploads.engine.services().into_iter().find(|s| s.id == "mavi").unwrap();
    assert!(status.problem.is_some(), "the service says why it stands still");
}

#[tokio::test]
async fn u9_a_key_that_is_removed_is_not_said_to_be_refused_any_more() {
    let uploads = Uploads::patient("wrong").await;
    let problem =
        || uploads.engine.services().into_iter().find(|service| service.id == "mavi").unwrap().problem;
    let report = uploads.engine.check("mavi").await.unwrap();
    assert_eq!(report.key_accepted, Some(false));
    assert!(problem().is_some());
    uploads.engine.remove_key("mavi").await.unwrap();
    assert_eq!(problem(), None);
    // What wants to go there says that there is none.
    let row = uploads.run(&uploads.file("a.bin", 10)).await;
    assert_eq!(code(&row), Some(Code::Unauthorized));
    let said = problem().unwrap().message();
    assert!(said.contains("needs a key and has none"), "{said}");
}

/// What no document names is read by nobody but the user, in the service's own words.
#[tokio::test]
async fn u9_a_refusal_that_no_table_knows_is_said_in_the_services_words_and_asked_about_once_a_file() {
    for status in [400, 403] {
        let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
        let full = FaultKind::Status {
            status,
            retry_after: None,
            body: Some(format!(r#"{{"code":{status},"msg":"Your storage quota is used up","data":null}}"#)),
            content_type: Some("application/json".into()),
            after: u64::MAX,
        };
        uploads.fault(Fault::new(full).on_path("/upload/signed-url"));
        let paths: Vec<_> = (0..5).map(|n| uploads.file(&format!("{n}.bin"), 10)).collect();
        let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
        let ids = uploads.engine.upload(request).await.unwrap();
        for id in &ids {
            let row = uploads.ended(*id).await;
            assert_eq!(code(&row), Some(Code::ServiceError), "{status}: {:?}", row.state);
            let State::Failed(failure) = row.state else { unreachable!("it has a code") };
            assert!(failure.message().contains("Your storage quota is used up"), "{}", failure.message());
        }
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), ids.len(), "{status}");
        assert!(uploads.assets().await.is_empty(), "{status}");
        // There is room again.
        uploads.sandbox.faults().clear();
        uploads.engine.retry(&ids).await.unwrap();
        for id in ids {
            assert_eq!(uploads.ended(id).await.state, State::Completed, "{status}");
        }
    }
}

const BALANCES: [BalanceSpelling; 3] =
    [BalanceSpelling::Http, BalanceSpelling::BadRequest, BalanceSpelling::TextCode];

fn waits_for_account(row: &ferry_engine::Transfer) -> bool {
    row.wait.as_ref().is_some_and(|wait| wait.reason == WaitReason::Quota)
}

async fn add_files(uploads: &Uploads, count: usize) -> Vec<ferry_engine::TransferId> {
    let paths = (0..count).map(|n| uploads.file(&format!("{n}.bin"), 10)).collect();
    let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
    uploads.engine.upload(request).await.unwrap()
}

#[tokio::test]
async fn u9_a_used_up_balance_in_any_spelling_is_one_question_and_all_go_on_when_the_user_says_so() {
    // The way on: whatever of them is resumed, or the one that failed is tried again.
    for (spelling, by_retry) in BALANCES.into_iter().zip([false, true, false]) {
        let uploads = Uploads::patient(API_KEY).await;
        uploads.fault(Fault::new(FaultKind::BalanceUsedUp { spelling }).on_path("/upload/signed-url"));
        let ids = add_files(&uploads, 60).await;
        let last = *ids.last().unwrap();
        let row = uploads.until(last, waits_for_account).await;
        assert!(row.wait.unwrap().message().contains("has nothing left for this account"));
        let of = |id: &ferry_engine::TransferId| uploads.engine.transfer(*id).unwrap();
        let failed: Vec<_> = ids.iter().copied().filter(|id| code(&of(id)).is_some()).collect();
        assert!((1..=16).contains(&failed.len()), "{spelling:?}: {} failures", failed.len());
        let State::Failed(failure) = of(&failed[0]).state else { unreachable!("it has a code") };
        assert_eq!((failure.code, failure.remedy), (Code::QuotaExceeded, Remedy::Retry), "{spelling:?}");
        assert!(failure.advice.to_string().contains("recharge the account at memories.ai"));
        let asked = uploads.requests("POST", "/upload/signed-url");
        assert!(asked <= 16, "{spelling:?}: asked {asked} times");
        let problem = uploads.engine.services().into_iter().find_map(|service| service.problem);
        assert_eq!(problem.map(|problem| problem.code), Some(Code::QuotaExceeded), "{spelling:?}");

        uploads.sandbox.faults().clear();
        if by_retry {
            uploads.engine.retry(&failed[..1]).await.unwrap();
        } else {
            uploads.engine.resume(&[last]).await.unwrap();
        }
        for id in ids {
            uploads.until(id, |row| row.state == State::Completed).await;
        }
        assert!(uploads.engine.services().iter().all(|service| service.problem.is_none()));
    }
}

#[tokio::test]
async fn u9_in_a_terminal_a_used_up_balance_is_asked_about_once_and_ends_the_run() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let used_up = FaultKind::BalanceUsedUp { spelling: BalanceSpelling::Http };
    uploads.fault(Fault::new(used_up).on_path("/upload/signed-url"));
    let ids = add_files(&uploads, 20).await;
    for id in &ids {
        assert_eq!(code(&uploads.ended(*id).await), Some(Code::QuotaExceeded));
    }
    let asked = uploads.requests("POST", "/upload/signed-url");
    assert!(asked <= 3, "asked {asked} times: at most once a slot");
    uploads.sandbox.faults().clear();
    uploads.engine.resume(&ids).await.unwrap();
    for id in ids {
        assert_eq!(uploads.ended(id).await.state, State::Completed);
    }
}

#[tokio::test]
async fn u9_words_that_mean_a_limit_or_a_wrong_request_are_tried_a_few_times_and_then_said() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let words = FaultKind::RateLimit { spelling: RateLimitSpelling::BadRequest, retry_after: None };
    uploads.fault(Fault::new(words).on_path("/upload/signed-url"));
    let row = uploads.run(&uploads.file("a.bin", 10)).await;
    let State::Failed(failure) = row.state else { panic!("{:?}", row.state) };
    assert_eq!(failure.code, Code::ServiceError);
    assert!(failure.message().contains("Request has exceeded the limit."), "{}", failure.message());
    assert_eq!(uploads.requests("POST", "/upload/signed-url"), 4);
}

#[tokio::test]
async fn u9_what_a_service_refuses_has_words_of_its_own() {
    for (status, words) in [
        (400, "refused"),
        (403, "does not let this account or this computer in"),
        (405, "does not take this kind of request"),
        (409, "says that this was done already"),
        (415, "does not take this type"),
    ] {
        let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
        let fault =
            FaultKind::Status { status, retry_after: None, body: None, content_type: None, after: u64::MAX };
        uploads.fault(Fault::new(fault).on_path("/upload/signed-url"));
        let row = uploads.run(&uploads.file("a.bin", 10)).await;
        let State::Failed(failure) = row.state else { panic!("{status}: {:?}", row.state) };
        assert_eq!(failure.code, Code::ServiceError, "{status}");
        assert!(failure.message().contains(words), "{status}: {}", failure.message());
        assert_eq!(uploads.requests("POST", "/upload/signed-url"), 1, "{status}");
    }
}

#[tokio::test]
async fn u9_a_second_deletion_is_done() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let asset = uploads.run(&uploads.file("a.bin", 10)).await.asset_id.unwrap();
    let duplicate =
        FaultKind::Status { status: 409, retry_after: None, body: None, content_type: None, after: 0 };
    uploads.fault(Fault::new(duplicate).on_method("DELETE"));
    uploads.engine.asset_delete(&asset, Some("mavi")).await.unwrap();
    uploads.sandbox.faults().clear();
    let wrong = uploads.engine.asset_delete("re_unknown", Some("mavi")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::NotFound);
}

#[tokio::test]
async fn u9_an_answer_that_is_only_accepted_is_asked_for_again_and_not_for_ever() {
    let not_yet = |times| {
        let status = FaultKind::Status {
            status: 202,
            retry_after: Some("0".into()),
            body: Some(String::new()),
            content_type: None,
            after: u64::MAX,
        };
        Fault { times, ..Fault::new(status).on_path("/upload/signed-url") }
    };
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(not_yet(Some(3)));
    assert_eq!(uploads.run(&uploads.file("a.bin", 10)).await.state, State::Completed);
    let uploads = uploads.impatient(|limits| limits.stuck = Some(Duration::from_secs(1))).await;
    uploads.fault(not_yet(None));
    let row = uploads.run(&uploads.file("b.bin", 10)).await;
    let State::Failed(failure) = row.state else { panic!("{:?}", row.state) };
    assert_eq!(failure.code, Code::NotReady);
    assert!(failure.message().contains("still so after 1 s of waiting"), "{}", failure.message());
}

/// Over loopback a limit is learnt by the first refusal; a service elsewhere has its published one from the start.
#[tokio::test]
async fn u9_pieces_of_one_download_keep_to_the_accounts_limit() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let (small, large) = (uploads.file("small.bin", 10), uploads.file("film.mp4", 32 * MIB));
    let folder = large.parent().unwrap().join("brought");
    std::fs::create_dir(&folder).unwrap();
    let mut ids = Vec::new();
    for path in [&small, &small, &large] {
        ids.push(uploads.run(path).await.asset_id.unwrap());
    }
    uploads.fault(FaultKind::AccountLimit { milliseconds: 950 });
    let bring = async |what: &str| {
        let request = DownloadRequest {
            what: what.to_owned(),
            service: Some("mavi".into()),
            folder: Some(folder.clone()),
            connections: Some(8),
            ..DownloadRequest::default()
        };
        uploads.sandbox.clear_requests();
        let id = uploads.engine.download(request).await.unwrap();
        assert_eq!(uploads.ended(id).await.state, State::Completed);
        let asked = uploads.sandbox.requests().into_iter().filter(|asked| asked.path.ends_with("/download"));
        let statuses: Vec<u16> = asked.map(|asked| asked.status).collect();
        (statuses.len(), statuses.into_iter().filter(|status| *status == 429).count())
    };
    assert_eq!(bring(&ids[0]).await, (1, 0));
    let (asked, refused) = bring(&ids[1]).await;
    assert!(refused >= 1 && asked == refused + 1, "refused {refused} of {asked}, and not for ever");
    tokio::time::sleep(Duration::from_secs(1)).await;
    uploads.fault(FaultKind::Slow { bytes_per_second: 2 << 20 });
    let (asked, refused) = bring(&ids[2]).await;
    assert!(std::fs::read(folder.join("film.mp4")).unwrap() == std::fs::read(&large).unwrap(), "other bytes");
    assert!(asked > 2, "it was fetched in {asked} pieces");
    assert_eq!(refused, 0, "of {asked}");
}

/// How many of these have failed when those that are left wait for another key. Whoever was refused first is still about to
/// fail when the others begin to wait.
async fn failed_for_one_key(uploads: &Uploads, ids: &[ferry_engine::TransferId]) -> usize {
    let mut failed = 0;
    for id in ids {
        let row = uploads
            .until(*id, |row| {
                row.state.has_ended() || row.wait.as_ref().is_some_and(|wait| wait.reason == WaitReason::Key)
            })
            .await;
        failed += usize::from(code(&row).is_some());
    }
    failed
}

#[tokio::test]
async fn u9_a_key_that_is_revoked_on_the_way_is_one_question() {
    let uploads = Uploads::patient(API_KEY).await;
    uploads.fault(Fault::new(FaultKind::KeyRevoked).skip(20));
    let paths: Vec<_> = (0..60).map(|n| uploads.file(&format!("{n}.bin"), 10)).collect();
    let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
    let ids = uploads.engine.upload(request).await.unwrap();
    let failed = failed_for_one_key(&uploads, &ids).await;
    // As many short ones as may run beside each other learn it at the same time, and none after them.
    assert!((1..=16).contains(&failed), "{failed} failures for one revoked key");
    let problems = uploads.engine.services().iter().filter(|service| service.problem.is_some()).count();
    assert_eq!(problems, 1);
    uploads.sandbox.faults().clear();
    uploads.engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    for id in ids {
        uploads.until(id, |row| row.state == State::Completed).await;
    }
}

#[tokio::test]
async fn u9_a_rate_limit_in_any_spelling_is_waited_out() {
    for spelling in [
        RateLimitSpelling::Http,
        RateLimitSpelling::Code,
        RateLimitSpelling::TextCode,
        RateLimitSpelling::BadRequest,
    ] {
        let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
        let limit = FaultKind::RateLimit { spelling, retry_after: Some("0".into()) };
        uploads.fault(Fault::new(limit).on_path("/upload/signed-url").times(3));
        assert_eq!(uploads.run(&uploads.file("a.bin", 10)).await.state, State::Completed, "{spelling:?}");
    }
}

#[tokio::test]
async fn u9_in_the_window_a_new_key_lets_everything_go_on() {
    let uploads = Uploads::patient("wrong").await;
    let paths: Vec<_> = (0..20).map(|n| uploads.file(&format!("{n}.bin"), 10)).collect();
    let request = UploadRequest { paths, service: Some("mavi".into()), ..UploadRequest::default() };
    let ids = uploads.engine.upload(request).await.unwrap();
    let failed = failed_for_one_key(&uploads, &ids).await;
    assert!(failed <= 3, "{failed} failures for one wrong key");
    uploads.engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    for id in ids {
        uploads.until(id, |row| row.state == State::Completed).await;
    }
    assert!(uploads.engine.services().iter().all(|service| service.problem.is_none()));
}

#[tokio::test]
async fn a_canceled_upload_leaves_an_id_that_is_known_to_be_given_up() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    uploads.fault(Fault::new(FaultKind::Slow { bytes_per_second: 4_000_000 }).on_method("PUT"));
    let id = uploads.add(&uploads.file("a.bin", 20 * MIB)).await;
    uploads.until(id, |row| row.asset_id.is_some()).await;
    uploads.engine.cancel(&[id]).await.unwrap();
    assert_eq!(uploads.engine.transfer(id).unwrap().state, State::Canceled);
    assert_eq!(uploads.assets().await[0].status, AssetStatus::Abandoned);
    assert_eq!(uploads.resume_records(), 0);
}

/// Sends a file to a signed URL of one's own.
async fn sent_to(uploads: &Uploads, path: &Path, to: String) -> Transfer {
    sent(uploads, UploadRequest { paths: vec![path.to_owned()], to: Some(to), ..UploadRequest::default() })
        .await
}

async fn sent(uploads: &Uploads, request: UploadRequest) -> Transfer {
    let id = uploads.engine.upload(request).await.unwrap()[0];
    uploads.ended(id).await
}

fn failure(row: &Transfer) -> String {
    match &row.state {
        State::Failed(failure) => failure.message(),
        other => panic!("{other:?}"),
    }
}

fn advice(row: &Transfer) -> String {
    match &row.state {
        State::Failed(failure) => failure.advice.to_string(),
        other => panic!("{other:?}"),
    }
}

fn note(row: &Transfer) -> String {
    row.note.as_ref().map(ToString::to_string).unwrap_or_default()
}

const PUT: &str = "/b/o?X-Amz-SignedHeaders=host&X-Amz-Signature=x";

#[tokio::test]
async fn u11_an_answer_before_the_last_byte_is_no_acknowledgement() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 24 * MIB);
    // Once, then as it should be: sent again.
    let store = BadStore::start(|_, number| match number {
        0 => Reply { read: 64 * 1024, close: true, ..reply("200 OK", &[], "") },
        _ => reply("200 OK", &[("x-amz-object-size", "25165824")], ""),
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    let requests = store.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].body == std::fs::read(&path).unwrap(), "other bytes");

    // Always: an error, after a few times, although bytes move each time.
    let store = BadStore::start(|_, _| Reply { read: 64 * 1024, close: true, ..reply("200 OK", &[], "") });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(code(&row), Some(Code::ServiceError), "{:?}", row.state);
    assert!(failure(&row).contains("before all of it was sent"), "{}", failure(&row));
    assert_eq!(store.requests().len(), 3);
}

/// A session as a store keeps one, that says "done" after the first chunk as often as it is to.
#[tokio::test]
async fn u11_a_session_that_is_done_after_its_first_chunk_is_not_done() {
    for lies in [1, 9] {
        let uploads = Uploads::new(SignedUrls::GooglePut).await;
        let path = uploads.file("a.bin", 20 * MIB);
        let kept = std::sync::Arc::new(std::sync::Mutex::new(0));
        let opened = std::sync::Arc::new(std::sync::Mutex::new(0));
        let store = BadStore::start(move |request, _| {
            if request.line().starts_with("POST") {
                *opened.lock().unwrap() += 1;
                *kept.lock().unwrap() = 0;
                return reply("201 Created", &[("location", "/session?upload_id=x")], "");
            }
            let range = request.header("content-range").unwrap_or_default().to_owned();
            let end = range
                .strip_prefix("bytes ")
                .and_then(|rest| rest.split(['-', '/']).nth(1)?.parse::<u64>().ok());
            let total = 20 * MIB as u64;
            let mut have = kept.lock().unwrap();
            if !range.contains('*') {
                *have = end.unwrap() + 1;
            }
            if *opened.lock().unwrap() <= lies || *have == total {
                return reply("200 OK", &[], "");
            }
            let kept = format!("bytes=0-{}", *have - 1);
            reply("308 Resume Incomplete", &[("range", &kept)], "")
        });
        let to = store.url("/b/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=x");
        let row = sent_to(&uploads, &path, to).await;
        if lies == 1 {
            assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::None)));
            let sessions: Vec<_> = store
                .requests()
                .split(|request| request.line().starts_with("POST"))
                .map(<[_]>::to_vec)
                .collect();
            let bytes: Vec<u8> = sessions[2].iter().flat_map(|request| request.body.clone()).collect();
            assert!(bytes == std::fs::read(&path).unwrap(), "other bytes");
        } else {
            assert_eq!(code(&row), Some(Code::ServiceError), "{:?}", row.state);
        }
    }
}

/// How far a session is asked after a refusal, and of one that somebody has used before: "done" is not about this file.
#[tokio::test]
async fn u11_a_session_that_calls_itself_done_when_it_is_asked_is_not_believed_without_a_reason() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let bytes = std::fs::read(&path).unwrap();
    let sent = |store: &BadStore| -> Vec<Vec<u8>> {
        store.requests().into_iter().map(|asked| asked.body).filter(|body| !body.is_empty()).collect()
    };

    let store = BadStore::start(|request, number| match (request.line().starts_with("POST"), number) {
        (true, _) => reply("201 Created", &[("location", "/session?upload_id=x")], ""),
        (false, 1) => reply("503 Service Unavailable", &[], ""),
        _ => reply("200 OK", &[], ""),
    });
    let to = store.url("/b/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=x");
    let row = sent_to(&uploads, &path, to).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::None)));
    assert_eq!(store.requests().iter().filter(|asked| asked.line().starts_with("POST")).count(), 2);
    assert_eq!(sent(&store), [bytes.clone(), bytes.clone()], "what was refused was sent again");

    let store = BadStore::start(|_, _| reply("200 OK", &[], ""));
    let row = sent_to(&uploads, &path, store.url("/session?upload_id=x")).await;
    assert_eq!(code(&row), Some(Code::ExpiredUrl), "{:?}", row.state);
    assert_eq!(
        sent(&store),
        std::slice::from_ref(&bytes),
        "it takes this file or nothing, and a bare status shows neither"
    );

    // What is named is compared.
    let length = [("x-goog-stored-content-length", "1000")];
    let store = BadStore::start(move |_, _| reply("200 OK", &length, ""));
    let row = sent_to(&uploads, &path, store.url("/session?upload_id=x")).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(sent(&store).len(), 0, "nothing was sent twice");
}

/// Before the answer to the last chunk is there it is written down that all of a large file was handed over.
#[tokio::test]
async fn u11_a_large_file_that_was_handed_over_is_not_sent_again_when_ferry_ends_before_the_answer() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let size = 20 * MIB;
    let path = uploads.file("a.bin", size);
    let store = BadStore::start(move |request, _| {
        let range = request.header("content-range").unwrap_or_default();
        let sent = range.strip_prefix("bytes ").filter(|sent| !sent.starts_with('*'));
        let last = sent.and_then(|sent| sent.split(['-', '/']).nth(1));
        match last.and_then(|last| last.parse::<usize>().ok()) {
            _ if request.line().starts_with("POST") => {
                reply("201 Created", &[("location", "/session?upload_id=x")], "")
            }
            Some(last) if last + 1 == size => Reply { answer: Vec::new(), ..reply("200 OK", &[], "") },
            Some(last) => reply("308 Resume Incomplete", &[("range", &format!("bytes=0-{last}"))], ""),
            None => reply("200 OK", &[], ""),
        }
    });
    let to = store.url("/b/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=x");
    let request = UploadRequest { paths: vec![path], to: Some(to), ..UploadRequest::default() };
    let id = uploads.engine.upload(request).await.unwrap()[0];
    uploads.until(id, |_| uploads.is_in_resume_records("handed_over")).await;
    let asked = store.requests().len();
    let uploads = uploads.restart().await;
    uploads.engine.resume(&[id]).await.unwrap();
    let row = uploads.ended(id).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::None)));
    let after: Vec<_> = store.requests().drain(asked..).map(|asked| asked.body.len()).collect();
    assert_eq!(after, [0], "it was asked how far the store is, and nothing was sent again");
}

#[tokio::test]
async fn u11_a_success_that_says_it_failed_is_the_stores_own_words() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for (url, body) in [
        (PUT, r#"{"success": false, "msg": "The bucket is full"}"#),
        ("/form", r#"{"success": false, "msg": "The bucket is full"}"#),
        (PUT, "<Error><Code>BucketClosed</Code><Message>The bucket is full</Message></Error>"),
        ("/form", r#"{"status": "error", "message": "The bucket is full"}"#),
    ] {
        let store = BadStore::start(move |_, _| reply("200 OK", &[], body));
        let row = sent_to(&uploads, &path, store.url(url)).await;
        assert_eq!(code(&row), Some(Code::ServiceError), "{body}: {:?}", row.state);
        assert!(failure(&row).contains("The bucket is full"), "{body}: {}", failure(&row));
    }
}

#[tokio::test]
async fn u11_what_a_store_names_is_compared_and_where_it_names_nothing_that_is_said() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let rows: [(&str, &str, Result<Verified, Code>); 7] = [
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=", Err(Code::IntegrityMismatch)),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", Err(Code::IntegrityMismatch)),
        ("x-amz-object-size", "999", Err(Code::IntegrityMismatch)),
        ("x-goog-stored-content-length", "1251", Err(Code::IntegrityMismatch)),
        ("x-goog-stored-content-length", "1000", Ok(Verified::Length)),
        // A host that is not known to mean an MD5 by it.
        ("etag", "\"00000000000000000000000000000000\"", Ok(Verified::None)),
        ("x-nothing", "1", Ok(Verified::None)),
    ];
    for (name, value, expected) in rows {
        let store = BadStore::start(move |_, _| reply("200 OK", &[(name, value)], ""));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        match expected {
            Err(expected) => assert_eq!(code(&row), Some(expected), "{name}: {value}: {:?}", row.state),
            Ok(proof) => {
                assert_eq!(
                    (row.state.clone(), row.verified),
                    (State::Completed, Some(proof)),
                    "{name}: {value}"
                );
                let says = note(&row).contains("nothing confirms what was stored");
                assert_eq!(says, proof == Verified::None, "{name}: {value}: {:?}", row.note);
            }
        }
    }
}

#[tokio::test]
async fn u11_bare_bytes_go_by_post_where_they_are_wanted_and_that_is_remembered() {
    // Wants the bytes bare: keeps whatever body comes, and takes no PUT.
    let wants_bare = || {
        BadStore::start(|request, _| {
            let size = request.header("content-length").unwrap_or_default().to_owned();
            if request.line().starts_with("PUT") {
                reply("405 Method Not Allowed", &[], "")
            } else {
                reply("200 OK", &[("x-amz-object-size", &size)], "")
            }
        })
    };
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let (path, next) = (uploads.file("a.bin", 1000), uploads.file("b.bin", 1000));
    let bytes = std::fs::read(&path).unwrap();
    let lines = |store: &BadStore| -> Vec<(String, bool)> {
        store.requests().iter().map(|r| (r.line()[..4].trim().to_owned(), r.body == bytes)).collect()
    };

    let store = wants_bare();
    let bare = UploadRequest {
        paths: vec![path.clone()],
        to: Some(store.url("/in")),
        method: Some(UploadMethod::PostRaw),
        ..UploadRequest::default()
    };
    let row = sent(&uploads, bare).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(lines(&store), [("POST".to_owned(), true)]);
    assert_eq!(store.requests()[0].header("content-type"), Some("application/octet-stream"));
    assert_eq!(sent_to(&uploads, &next, store.url("/in")).await.state, State::Completed);
    assert_eq!(store.requests().len(), 2, "the next goes that way at once");
    assert!(store.requests()[1].body == std::fs::read(&next).unwrap());

    // Nobody said it: the form that was kept shows itself by its length.
    let store = wants_bare();
    let row = sent_to(&uploads, &path, store.url("/in")).await;
    assert_eq!(row.state, State::Completed, "{:?}", row.state);
    let tried = lines(&store);
    assert_eq!(tried.first(), Some(&("POST".to_owned(), false)));
    assert_eq!(tried.last(), Some(&("POST".to_owned(), true)));
}

/// The store tells by its answer whether the type is the one that was signed.
#[tokio::test]
async fn u11_types_that_may_have_been_signed_are_tried_and_the_error_names_what_is_bound() {
    const REFUSAL: &str = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>";
    const BOUND: &str = "/b/o?X-Amz-SignedHeaders=content-type%3Bhost&X-Amz-Signature=x";
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.mp4", 1000);
    let store = |signed: Option<&'static str>| {
        BadStore::start(move |request, _| {
            if request.line().starts_with("PUT") && request.header("content-type") == signed {
                reply("200 OK", &[], "")
            } else {
                reply("403 Forbidden", &[("content-type", "application/xml")], REFUSAL)
            }
        })
    };
    for (signed, url, tries) in [
        (Some("video/mp4"), BOUND, 1),
        (Some("application/octet-stream"), BOUND, 2),
        (None, BOUND, 3),
        (
            Some("text/x-odd"),
            "/b/o?Content-Type=text%2Fx-odd&X-Amz-SignedHeaders=content-type%3Bhost&X-Amz-Signature=x",
            1,
        ),
        (None, "/b/o?OSSAccessKeyId=a&Expires=4102444800&Signature=x", 1),
        (Some("application/octet-stream"), "/b/o?OSSAccessKeyId=a&Expires=4102444800&Signature=x", 2),
    ] {
        let store = store(signed);
        let row = sent_to(&uploads, &path, store.url(url)).await;
        assert_eq!(row.state, State::Completed, "{signed:?} {url}");
        assert_eq!(store.requests().len(), tries, "{signed:?} {url}");
    }
    let odd = store(Some("text/x-odd"));
    let row = sent_to(&uploads, &path, odd.url(BOUND)).await;
    assert_eq!(code(&row), Some(Code::ServiceError));
    assert!(
        failure(&row).contains("type of the content") && failure(&row).contains("video/mp4"),
        "{}",
        failure(&row)
    );
    let State::Failed(failed) = &row.state else { unreachable!("it has a code") };
    assert!(failed.advice.to_string().contains("--content-type"), "{}", failed.advice);
    let named = UploadRequest {
        paths: vec![path.clone()],
        to: Some(odd.url(BOUND)),
        content_type: Some("text/x-odd".into()),
        ..UploadRequest::default()
    };
    let before = odd.requests().len();
    assert_eq!(sent(&uploads, named).await.state, State::Completed);
    assert_eq!(odd.requests().len(), before + 1);
}

#[tokio::test]
async fn u11_a_url_that_is_not_valid_yet_is_waited_for_by_the_stores_clock() {
    const REFUSAL: &str = "<Error><Code>AccessDenied</Code><Message>Request is not yet valid</Message>\
        <X-Amz-Expires>900</X-Amz-Expires><Expires>2026-11-21T12:15:01Z</Expires></Error>";
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let url = "/b/o?X-Amz-Date=21261121T120001Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=x";
    let store = BadStore::start(|_, number| match number {
        0 => reply("403 Forbidden", &[("date", "Thu, 21 Nov 2126 12:00:00 GMT")], REFUSAL),
        _ => reply("200 OK", &[], ""),
    });
    let row = sent_to(&uploads, &path, store.url(url)).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(store.requests().len(), 2);
    // An hour is a mistake, not a wait.
    let store =
        BadStore::start(|_, _| reply("403 Forbidden", &[("date", "Thu, 21 Nov 2126 11:00:00 GMT")], REFUSAL));
    let row = sent_to(&uploads, &path, store.url(url)).await;
    assert_eq!(code(&row), Some(Code::NotReady), "{:?}", row.state);
    assert_eq!(store.requests().len(), 1);
}

#[tokio::test]
async fn u11_a_url_that_was_signed_for_an_empty_file_says_so_at_once() {
    const REFUSAL: &str =
        "<Error><Code>BadDigest</Code><Message>The CRC32 you specified did not match</Message></Error>";
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for (checksum, words) in [("AAAAAA%3D%3D", "empty file"), ("y%2FQ5Jg%3D%3D", "other content")] {
        let store = BadStore::start(|_, _| reply("400 Bad Request", &[], REFUSAL));
        let url =
            store.url(&format!("{PUT}&x-amz-checksum-crc32={checksum}&x-amz-sdk-checksum-algorithm=CRC32"));
        let row = sent_to(&uploads, &path, url).await;
        assert_eq!(code(&row), Some(Code::ServiceError), "{checksum}: {:?}", row.state);
        assert!(failure(&row).contains(words), "{checksum}: {}", failure(&row));
        assert_eq!(store.requests().len(), 1, "{checksum}: it was tried again");
    }
}

#[tokio::test]
async fn u11_a_session_of_a_link_that_is_gone_is_opened_again_or_the_link_has_ended() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for status in ["404 Not Found", "410 Gone"] {
        // From the URL that opens sessions: another one, as long as it is asked.
        let store =
            BadStore::start(move |request, number| match (request.line().starts_with("POST"), number) {
                (true, _) => reply("201 Created", &[("location", "/session?upload_id=x")], ""),
                (false, 1) => reply(status, &[], ""),
                _ => reply("200 OK", &[], ""),
            });
        let to = store.url("/b/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=x");
        let row = sent_to(&uploads, &path, to).await;
        assert_eq!(row.state, State::Completed, "{status}");
        assert_eq!(store.requests().iter().filter(|r| r.line().starts_with("POST")).count(), 2, "{status}");
        // The URL is the session: it has ended, and is not asked again and again.
        let store = BadStore::start(move |_, _| reply(status, &[], ""));
        let row = sent_to(&uploads, &path, store.url("/session?upload_id=x")).await;
        assert_eq!(code(&row), Some(Code::ExpiredUrl), "{status}: {:?}", row.state);
        assert_eq!(store.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn u11_regions_and_redirects_are_followed_where_the_signature_holds_and_told_where_not() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 3 * MIB);
    let bytes = std::fs::read(&path).unwrap();
    let home = std::sync::Arc::new(BadStore::start(|_, _| reply("200 OK", &[], "")));
    let v2 = "/b/o?AWSAccessKeyId=a&Expires=4102444800&Signature=x";
    for (url, followed) in [(v2, true), (PUT, false)] {
        let place = home.url(url);
        let front = BadStore::start(move |_, _| reply("307 Temporary Redirect", &[("location", &place)], ""));
        let before = home.requests().len();
        let secret = Header { name: "x-own".into(), value: "MARKED".into() };
        let request = UploadRequest {
            paths: vec![path.clone()],
            to: Some(front.url(url)),
            headers: vec![secret],
            ..UploadRequest::default()
        };
        let row = sent(&uploads, request).await;
        assert_eq!(front.requests()[0].header("x-own"), Some("MARKED"), "{url}");
        let there = home.requests().split_off(before);
        if followed {
            assert_eq!(row.state, State::Completed, "{url}: {:?}", row.state);
            assert!(there.len() == 1 && there[0].body == bytes, "{url}");
            assert_eq!(there[0].header("x-own"), None, "a header of one's own went to another origin");
        } else {
            assert_eq!(code(&row), Some(Code::ServiceError), "{url}: {:?}", row.state);
            assert!(there.is_empty() && failure(&row).contains("127.0.0.1"), "{url}: {}", failure(&row));
        }
    }
    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; \
        expecting 'eu-west-1'</Message></Error>";
    let store = BadStore::start(move |_, _| reply("400 Bad Request", &[], body));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert!(failure(&row).contains("eu-west-1"), "{}", failure(&row));
    assert_eq!(store.requests().len(), 1);
}

#[tokio::test]
async fn u11_headers_of_ones_own_satisfy_a_signature_and_are_for_urls_only() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|_, _| reply("200 OK", &[], ""));
    let signed = "/b/o?X-Amz-SignedHeaders=content-md5%3Bhost%3Bx-amz-acl%3Bx-amz-meta-a&x-amz-acl=private&X-Amz-Signature=x";
    let row = sent_to(&uploads, &path, store.url(signed)).await;
    assert_eq!(code(&row), Some(Code::Unsupported));
    assert!(
        failure(&row).contains("x-amz-meta-a") && !failure(&row).contains("x-amz-acl"),
        "{}",
        failure(&row)
    );
    let request = UploadRequest {
        paths: vec![path.clone()],
        to: Some(store.url(signed)),
        headers: vec![Header { name: "X-Amz-Meta-A".into(), value: "b".into() }],
        ..UploadRequest::default()
    };
    assert_eq!(sent(&uploads, request.clone()).await.state, State::Completed);
    let sent = store.requests().pop().unwrap();
    assert_eq!(sent.header("x-amz-meta-a"), Some("b"));
    assert_eq!(sent.header("x-amz-acl"), Some("private"), "what the query names");
    assert!(sent.header("content-md5").is_some_and(|value| value.len() == 24), "what the file is");

    let to_service = UploadRequest { to: None, service: Some("mavi".into()), ..request.clone() };
    assert_eq!(uploads.engine.upload(to_service).await.unwrap_err().code(), Code::InvalidInput);
    for name in ["Host", "Content-Length", "a b", ""] {
        let headers = vec![Header { name: name.into(), value: "SECRET".into() }];
        let error = uploads.engine.upload(UploadRequest { headers, ..request.clone() }).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput, "{name}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn u11_a_file_that_has_more_than_its_size_is_refused_before_anything_is_signed() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let row = uploads.run(Path::new("/proc/self/status")).await;
    assert_eq!(code(&row), Some(Code::InvalidInput), "{:?}", row.state);
    assert!(failure(&row).contains("not hold as much as its size says"), "{}", failure(&row));
    assert!(uploads.sandbox.requests().is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn u13_a_file_that_has_less_than_its_size_is_refused_before_anything_is_signed() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
    if std::fs::metadata(path).is_ok_and(|facts| facts.len() > 0) {
        let row = uploads.run(path).await;
        assert_eq!(code(&row), Some(Code::InvalidInput), "{:?}", row.state);
        assert!(advice(&row).contains("copy it to a disk"), "{}", advice(&row));
        assert!(uploads.sandbox.requests().is_empty());
    }
}

#[tokio::test]
async fn u13_a_store_without_room_is_a_used_up_quota_and_is_not_sent_to_again() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|_, _| reply("507 Insufficient Storage", &[], "no room"));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(code(&row), Some(Code::QuotaExceeded), "{:?}", row.state);
    assert!(failure(&row).contains("no room"), "{}", failure(&row));
    assert_eq!(store.requests().len(), 1);
}

/// "At once" is meant for small requests.
#[tokio::test]
async fn u13_a_file_is_not_sent_whole_again_and_again_without_a_breath() {
    let uploads = &Uploads::new(SignedUrls::GooglePut).await;
    let sent = |name: &'static str, status: &'static str, asked: &'static str| async move {
        let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&times);
        let store = BadStore::start(move |_, number| {
            kept.lock().unwrap().push(std::time::Instant::now());
            match number {
                0 | 1 => reply(status, &[("retry-after", asked)], ""),
                _ => reply("200 OK", &[("x-amz-object-size", "300000")], ""),
            }
        });
        let row = sent_to(uploads, &uploads.file(name, 300_000), store.url(PUT)).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)), "{status} {asked}");
        let times = times.lock().unwrap().clone();
        let waits: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert!(waits.len() == 2 && waits[0] >= 1 && waits[1] >= 2, "{status} {asked}: {waits:?}");
    };
    tokio::join!(
        sent("a.bin", "429 Too Many Requests", "0"),
        sent("b.bin", "503 Service Unavailable", "0"),
        sent("c.bin", "429 Too Many Requests", "Sat, 21 Nov 2020 11:00:00 GMT"),
    );
}

/// What stands under a name of the store's own may be about something else: a doubt that is said, not a wrong file.
#[tokio::test]
async fn u13_what_a_store_names_in_its_own_words_is_compared() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 300_000);
    for (header, body, expected) in [
        (None, r#"{"size": 300000}"#, Some(Verified::Length)),
        (None, r#"{"size": 293, "name": "error.bin"}"#, Some(Verified::None)),
        (None, r#"{"size": 5}"#, None),
        (None, r#"{"bytes_received": 65536, "total": 300000}"#, None),
        (None, r#"{"md5": "00000000000000000000000000000000"}"#, None),
        (None, "<PutObjectResult><Size>5</Size></PutObjectResult>", None),
        (
            Some(("x-content-sha256", "0000000000000000000000000000000000000000000000000000000000000000")),
            "",
            None,
        ),
    ] {
        let store = BadStore::start(move |_, _| reply("200 OK", header.as_slice(), body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        if let Some(proof) = expected {
            assert_eq!((row.state, row.verified), (State::Completed, Some(proof)), "{body}");
        } else {
            assert_eq!(code(&row), Some(Code::ServiceError), "{header:?} {body}: {:?}", row.state);
            let said = failure(&row);
            assert!(said.contains("names something other"), "{header:?} {body}: {said}");
            assert!(advice(&row).contains("look at the store"), "{}", advice(&row));
        }
        assert_eq!(store.requests().len(), 1, "{body}");
    }
}

/// A form that a server keeps whole shows itself by its size, whatever the name under which that stands.
#[tokio::test]
async fn u13_a_form_that_was_kept_is_known_by_a_size_of_any_name() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|request, _| {
        let size = request.header("content-length").unwrap_or_default();
        reply("200 OK", &[], &format!("{{\"name\": \"o\", \"size\": {size}}}"))
    });
    let row = sent_to(&uploads, &path, store.url("/in")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)));
    let lines: Vec<_> = store.requests().iter().map(|asked| asked.line()[..4].to_owned()).collect();
    assert_eq!(lines, ["POST", "PUT "]);
    assert!(store.requests()[1].body == std::fs::read(&path).unwrap(), "other bytes");
}

/// A server that keeps whatever comes would keep the form.
#[tokio::test]
async fn u13_what_looks_signed_is_sent_bare_and_a_bare_token_stays_a_form() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for (query, verb) in [
        ("s=abcd&expires=4102444799", "PUT "),
        ("auth_key=4102444799-0-0-abc", "PUT "),
        ("hdnts=exp=4102444799~acl=/*~hmac=abc", "PUT "),
        ("token=abc&expires=4102444799", "PUT "),
        ("token=abc", "POST"),
    ] {
        let store = BadStore::start(|_, _| reply("200 OK", &[], ""));
        let row = sent_to(&uploads, &path, store.url(&format!("/b/o?{query}"))).await;
        assert_eq!(row.state, State::Completed, "{query}");
        assert_eq!(&store.requests()[0].line()[..4], verb, "{query}");
    }
}

#[tokio::test]
async fn u11_what_a_store_takes_at_most_is_known_before_the_first_byte() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 0);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(300 << 20).unwrap();
    let store = BadStore::start(|_, _| reply("201 Created", &[], ""));
    // By an old version of Azure's protocol.
    let row =
        sent_to(&uploads, &path, store.url("/c/b?sv=2018-11-09&se=2126-11-21T12:00:00Z&sr=b&sig=x")).await;
    assert_eq!(code(&row), Some(Code::FileTooLarge), "{:?}", row.state);
    // Another folder is no way out of this one.
    assert!(
        matches!(&row.state, State::Failed(failure) if failure.remedy == Remedy::Remove),
        "{:?}",
        row.state
    );
    assert!(store.requests().is_empty());
}

#[tokio::test]
async fn u11_form_fields_go_in_the_order_in_which_the_service_gave_them() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let form = std::sync::Arc::clone(&address);
    let service = BadStore::start(move |request, _| {
        let json = [("content-type", "application/json")];
        if request.line().contains("/signed-url") {
            let fields = r#"{"zeta":"1","key":"a/b","alpha":"3","policy":"p","Content-Type":"x"}"#;
            let data =
                format!(r#"{{"asset_id":"re_1","signed_url":"{}","fields":{fields}}}"#, form.get().unwrap());
            reply("200 OK", &json, &format!(r#"{{"code":200,"msg":"success","data":{data}}}"#))
        } else if request.line().contains("/metadata") {
            let asset = r#"{"asset_id":"re_1","file_size":1000,"upload_status":"SUCCESS"}"#;
            reply(
                "200 OK",
                &json,
                &format!(r#"{{"code":200,"msg":"success","data":{{"resource":[{asset}]}}}}"#),
            )
        } else {
            reply("204 No Content", &[], "")
        }
    });
    address.set(service.url("/form")).unwrap();
    let uploads = uploads.at(service.url("/v2")).await;
    let row = uploads.run(&uploads.file("a.bin", 1000)).await;
    assert_eq!(row.state, State::Completed);
    let sent = service.requests().into_iter().find(|request| request.line().contains("/form")).unwrap();
    let text = String::from_utf8_lossy(&sent.body).into_owned();
    let places = ["zeta", "key", "alpha", "policy", "Content-Type\"", "file"]
        .map(|name| text.find(&format!("name=\"{name}")).unwrap_or_else(|| panic!("{name}")));
    assert!(places.is_sorted(), "{places:?}");
}

const RESUMABLE: &str = "/b/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=x";
const SESSION: &str = "/session?upload_id=x";

/// First and last byte of a session's chunk; `None` for the question how far it is.
fn chunk(request: &Request) -> Option<(usize, usize)> {
    let (first, last) = request.header("content-range")?.strip_prefix("bytes ")?.split_once('-')?;
    Some((first.parse().ok()?, last.split('/').next()?.parse().ok()?))
}

/// How far a session is.
fn has(bytes: usize) -> Reply {
    match bytes.checked_sub(1) {
        Some(last) => reply("308 Resume Incomplete", &[("range", &format!("bytes=0-{last}"))], ""),
        None => reply("308 Resume Incomplete", &[], ""),
    }
}

fn opened() -> Reply {
    reply("201 Created", &[("location", SESSION)], "")
}

/// All chunks that a store was sent.
fn chunks(store: &BadStore) -> Vec<(usize, usize)> {
    store.requests().iter().filter_map(chunk).collect()
}

/// A URL that is a session cannot be had anew, and what it was handed before stays in it.
#[tokio::test]
async fn u12_a_link_that_is_a_session_is_not_continued_with_another_version_of_the_file() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 20 * MIB);
    let store = BadStore::start(|request, number| match chunk(request) {
        Some((0, last)) => has(last + 1),
        // Then the line is dead.
        Some(_) => Reply { answer: Vec::new(), ..has(0) },
        None => has(if number == 0 { 0 } else { 8 * MIB }),
    });
    let request =
        UploadRequest { paths: vec![path.clone()], to: Some(store.url(SESSION)), ..UploadRequest::default() };
    let id = uploads.engine.upload(request).await.unwrap()[0];
    uploads.until(id, |row| row.bytes >= 8 * MIB as u64).await;
    let uploads = uploads.restart().await;
    std::fs::write(&path, vec![7; 20 * MIB]).unwrap();
    uploads.engine.resume(&[id]).await.unwrap();
    let row = uploads.ended(id).await;
    assert_eq!(code(&row), Some(Code::ExpiredUrl), "{:?}", row.state);
    assert!(failure(&row).contains("not of this file"), "{}", failure(&row));
}

#[tokio::test]
async fn u12_a_session_has_no_more_than_this_transfer_handed_over() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 20 * MIB);

    // Somebody has sent another file through this link.
    let store = BadStore::start(|request, _| match chunk(request) {
        Some((_, last)) if last + 1 == 20 * MIB => reply("200 OK", &[], ""),
        Some((_, last)) => has(last + 1),
        None => has(8 * MIB),
    });
    let row = sent_to(&uploads, &path, store.url(SESSION)).await;
    assert_eq!(code(&row), Some(Code::ExpiredUrl), "{:?}", row.state);
    assert!(chunks(&store).is_empty());

    // A store that claims more than the first chunk, or all of a chunk that was cut, would leave a hole.
    for is_cut in [false, true] {
        let store = BadStore::start(move |request, _| match (chunk(request), is_cut) {
            _ if request.line().starts_with("POST") => opened(),
            (Some((_, last)), _) if last + 1 == 20 * MIB => reply("200 OK", &[], ""),
            (Some((0, _)), true) => Reply { read: 64 * 1024, answer: Vec::new(), close: true },
            (Some((0, _)), false) => has(15 * MIB),
            (Some((_, last)), _) => has(last + 1),
            (None, _) => has(8 * MIB),
        });
        let row = sent_to(&uploads, &path, store.url(RESUMABLE)).await;
        assert_eq!(code(&row), Some(Code::BadResponse), "{is_cut}: {:?}", row.state);
        assert!(failure(&row).contains("more than it was sent"), "{}", failure(&row));
    }
}

#[tokio::test]
async fn u12_a_session_that_forgets_again_and_again_comes_to_an_end() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 20 * MIB);
    let store = BadStore::start(|request, _| match chunk(request) {
        _ if request.line().starts_with("POST") => opened(),
        Some((0, last)) => has(last + 1),
        _ => has(0),
    });
    let request =
        UploadRequest { paths: vec![path], to: Some(store.url(RESUMABLE)), ..UploadRequest::default() };
    let mut settings = uploads.engine.settings();
    settings.retries = 0;
    uploads.engine.save_settings(settings).await.unwrap();
    let row = sent(&uploads, request).await;
    assert_eq!(code(&row), Some(Code::ServiceError), "{:?}", row.state);
    assert!(chunks(&store).len() < 8, "{:?}", chunks(&store));
}

/// Every kit has another way to say "200, but no".
#[tokio::test]
async fn u12_a_success_that_says_it_failed_is_read_in_every_spelling() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for body in [
        r#"{"status": false, "message": "No room"}"#,
        r#"{"error": 1, "message": "No room"}"#,
        r#"{"errors": [{"message": "No room"}], "data": null}"#,
        r#"{"code": 50001, "message": "No room"}"#,
        r#"{"errcode": 40001, "errmsg": "No room"}"#,
        r#"{"statusCode": "403", "message": "No room"}"#,
        r#"{"Success": false, "Message": "No room"}"#,
        r#"{"detail": "No room"}"#,
        r#"[{"error": "No room"}]"#,
        "<?xml version=\"1.0\"?><!-- x --><Error><Message>No room</Message></Error>",
        "<ErrorResponse><Error><Message>No room</Message></Error></ErrorResponse>",
        "<a:Error xmlns:a=\"x\"><a:Message>No room</a:Message></a:Error>",
        "Error: No room",
        r#"{"files": [{"name": "a.bin", "error": "No room"}]}"#,
        r#"{"success": true, "data": {"state": "FAILED", "reason": "No room"}}"#,
        r#"{"uploaded": false, "reason": "No room"}"#,
        r#"{"status": "quota_exceeded", "message": "No room"}"#,
        r#"{"resultCode": "E001", "resultMsg": "No room"}"#,
        "cb({\"success\": false, \"msg\": \"No room\"});",
        ")]}'\n{\"success\": false, \"msg\": \"No room\"}",
        "{\"progress\": 50}\n{\"success\": false, \"msg\": \"No room\"}\n",
        "event: error\ndata: {\"message\": \"No room\"}\n\n",
        "Upload failed: No room",
        "<response><status>error</status><message>No room</message></response>",
        "<result success=\"false\"><error>No room</error></result>",
        "<html><body><h1>Upload failed: No room</h1></body></html>",
    ] {
        let store = BadStore::start(move |_, _| reply("200 OK", &[], body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!(code(&row), Some(Code::ServiceError), "{body}: {:?}", row.state);
        assert!(failure(&row).contains("No room"), "{body}: {}", failure(&row));
        assert_eq!(store.requests().len(), 1, "{body}");
    }
    let parts = "<d:multistatus xmlns:d=\"DAV:\"><d:status>HTTP/1.1 507 Insufficient Storage</d:status></d:multistatus>";
    let store = BadStore::start(move |_, _| reply("207 Multi-Status", &[], parts));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(code(&row), Some(Code::ServiceError), "{:?}", row.state);
}

#[tokio::test]
async fn u12_a_success_in_any_spelling_is_one() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for body in [
        r#"{"code": 201, "msg": "created"}"#,
        r#"{"code": "SUCCESS", "msg": "x"}"#,
        r#"{"code": "00000", "msg": "x"}"#,
        r#"{"code": 1, "msg": "x", "success": true}"#,
        r#"{"code": 10000, "msg": "Success"}"#,
        r#"{"error": {"code": 0, "message": ""}, "success": true}"#,
        r#"{"error": "none"}"#,
        r#"{"errors": [], "deleted": false, "isPublic": false, "name": "error.mp4"}"#,
        r#"{"files": [{"name": "failed.mp4", "error": ""}]}"#,
        "https://files.example/error.log",
    ] {
        let store = BadStore::start(move |_, _| reply("201 Created", &[], body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!(row.state, State::Completed, "{body}");
    }
}

/// Words that are neither a yes nor a no prove nothing, and are for the user to read.
#[tokio::test]
async fn u13_what_nobody_understands_is_completed_without_a_proof_and_shown() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for (body, shown) in [
        ("It works!\u{1b}[31m Have a nice day", "The store said: It works! Have a nice day"),
        ("<html><head><title>My own files</title></head></html>", "The store said: My own files"),
        (r#"{"message": "Come back tomorrow"}"#, "The store said: Come back tomorrow"),
    ] {
        let store = BadStore::start(move |_, _| reply("200 OK", &[], body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::None)), "{body}");
        assert!(note(&row).ends_with(shown), "{body}: {}", note(&row));
    }
    let store = BadStore::start(|_, _| reply("200 OK", &[], r#"{"id": 1, "delete_token": "MARKED-SECRET"}"#));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(row.state, State::Completed);
    assert!(!note(&row).contains("MARKED"), "{}", note(&row));
}

/// Success, but not of the whole file, or not now.
#[tokio::test]
async fn u13_a_status_for_later_or_for_a_part_is_not_stored_unless_something_shows_it() {
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let rows: [Row; 4] = [
        ("202 Accepted", &[("location", "/status/1")], r#"{"status": "processing"}"#),
        ("202 Accepted", &[("retry-after", "1")], ""),
        ("205 Reset Content", &[], ""),
        ("206 Partial Content", &[("content-range", "bytes 0-99/1000")], ""),
    ];
    for (status, headers, body) in rows {
        let store = BadStore::start(move |_, _| reply(status, headers, body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!(code(&row), Some(Code::ServiceError), "{status}: {:?}", row.state);
        assert!(advice(&row).contains("look at the store"), "{status}: {}", advice(&row));
        assert_eq!(store.requests().len(), 1, "{status}");
        let named = [headers, &[("x-amz-object-size", "1000")]].concat();
        let store = BadStore::start(move |_, _| reply(status, &named, body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)), "{status}");
    }
}

/// A website that took a form leads to a page; nothing says whether it kept the file.
#[tokio::test]
async fn u13_a_store_that_leads_to_a_page_may_have_the_file() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for (url, status) in [("/form", "303 See Other"), ("/form", "302 Found"), (PUT, "303 See Other")] {
        let store = BadStore::start(move |_, _| reply(status, &[("location", "/thanks?token=x")], ""));
        let row = sent_to(&uploads, &path, store.url(url)).await;
        assert_eq!(code(&row), Some(Code::ServiceError), "{url} {status}: {:?}", row.state);
        let said = failure(&row);
        assert!(said.contains("may be there") && said.contains("/thanks"), "{url} {status}: {said}");
        assert!(!said.contains("token"), "{url} {status}: {said}");
        assert!(advice(&row).contains("look at the store"), "{url} {status}: {}", advice(&row));
        assert_eq!(store.requests().len(), 1, "{url} {status}: nothing is sent again");
    }
    // One to sign in at has nothing, and another host was never asked.
    for (place, shown) in [("/login", "login page"), ("https://elsewhere.example/thanks", "leads to")] {
        let store = BadStore::start(move |_, _| reply("302 Found", &[("location", place)], ""));
        let row = sent_to(&uploads, &path, store.url("/form")).await;
        assert!(failure(&row).contains(shown), "{place}: {}", failure(&row));
    }
}

#[tokio::test]
async fn u12_a_page_or_half_an_answer_is_no_acknowledgement() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let page = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head></html>";
    let store = BadStore::start(move |_, _| reply("200 OK", &[("content-type", "text/html")], page));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(code(&row), Some(Code::BadResponse), "{:?}", row.state);
    assert!(failure(&row).contains("login page"), "{}", failure(&row));

    // What a store would have said is lost with the connection: once, and then it is heard.
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"state\": \"we have".to_vec();
    let store = BadStore::start(move |_, number| match number {
        0 => Reply { answer: half.clone(), close: true, ..has(0) },
        _ => reply("200 OK", &[("x-amz-object-size", "1000")], ""),
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(store.requests().len(), 2);

    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\nThe file is".to_vec();
    let store = BadStore::start(move |_, number| match number {
        0 => Reply { answer: half.clone(), close: true, ..has(0) },
        _ => reply("200 OK", &[("x-amz-object-size", "1000")], ""),
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(store.requests().len(), 2, "words that broke off are lost, too");

    let none = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n".to_vec();
    let store = BadStore::start(move |_, number| match number {
        0 => Reply { answer: none.clone(), close: true, ..has(0) },
        _ => reply("200 OK", &[("x-amz-object-size", "1000")], ""),
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(store.requests().len(), 2, "and so are those that broke off before their first byte");
}

/// Nothing was sent yet when a session is opened: words beside its place are not about the file.
#[tokio::test]
async fn u13_a_session_that_is_opened_with_words_of_any_kind_is_open() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|request, _| {
        if request.line().starts_with("POST") {
            reply("201 Created", &[("location", SESSION)], r#"{"uploaded": false, "status": "incomplete"}"#)
        } else {
            reply("200 OK", &[("x-goog-stored-content-length", "1000")], "")
        }
    });
    let row = sent_to(&uploads, &path, store.url(RESUMABLE)).await;
    assert_eq!((row.state.clone(), row.verified), (State::Completed, Some(Verified::Length)));
}

/// A signature is for one method; a server that keeps anything would keep a form instead of the file.
#[tokio::test]
async fn u12_a_signed_put_does_not_become_a_form_after_a_404_and_the_first_refusal_is_told() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for status in ["404 Not Found", "415 Unsupported Media Type"] {
        let store = BadStore::start(move |_, number| match number {
            0 => reply(status, &[], ""),
            _ => reply("200 OK", &[], ""),
        });
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert!(code(&row).is_some(), "{status}: {:?}", row.state);
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!(row.state, State::Completed);
        let lines: Vec<_> = store.requests().iter().map(|asked| asked.line()[..3].to_owned()).collect();
        assert_eq!(lines, ["PUT", "PUT"], "{status}");
    }
    let store = BadStore::start(|request, _| {
        let is_put = request.line().starts_with("PUT");
        let words = if is_put { "only GET is allowed here" } else { "csrf" };
        reply(if is_put { "405 Method Not Allowed" } else { "403 Forbidden" }, &[], words)
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert!(failure(&row).contains("only GET"), "{}", failure(&row));
}

#[tokio::test]
async fn u12_a_form_that_nothing_proves_is_not_remembered() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|request, number| match (request.line().starts_with("PUT"), number) {
        (true, 0) => reply("405 Method Not Allowed", &[], ""),
        _ => reply("200 OK", &[], ""),
    });
    for _ in 0..2 {
        assert_eq!(sent_to(&uploads, &path, store.url(PUT)).await.state, State::Completed);
    }
    let lines: Vec<_> = store.requests().iter().map(|asked| asked.line()[..4].to_owned()).collect();
    assert_eq!(lines, ["PUT ", "POST", "PUT "]);
}

#[tokio::test]
async fn u12_a_url_for_one_part_is_refused_before_a_byte() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|_, _| reply("201 Created", &[], ""));
    for url in [
        "/c/b?comp=block&blockid=MDAw&sv=2022-11-02&sr=b&se=2030-01-01&sig=x",
        "/fs/a?action=append&position=0&sv=2022-11-02&sr=b&se=2030-01-01&sig=x",
        "/b/o?partNumber=1&uploadId=u&X-Amz-SignedHeaders=host&X-Amz-Signature=x",
        "/files/24e533e02ec3bc40c387f1a0e460e216",
    ] {
        let row = sent_to(&uploads, &path, store.url(url)).await;
        assert_eq!(code(&row), Some(Code::Unsupported), "{url}: {:?}", row.state);
    }
    assert!(store.requests().is_empty());
    let session = "/drives/b/items/01/uploadSession?guid=a&tempauth=x";
    assert_eq!(sent_to(&uploads, &path, store.url(session)).await.state, State::Completed);
    let asked = &store.requests()[0];
    assert_eq!((asked.header("content-range"), asked.body.len()), (Some("bytes 0-999/1000"), 1000));
}

#[tokio::test]
async fn u12_a_signature_of_an_unknown_kind_that_covers_the_type_is_tried_without_one() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let wrong = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>";
    let store = BadStore::start(move |request, _| match request.header("content-type") {
        Some(_) => reply("403 Forbidden", &[], wrong),
        None => reply("200 OK", &[], ""),
    });
    let row =
        sent_to(&uploads, &path, store.url("/b/o?NOSAccessKeyId=a&Expires=4102444800&Signature=x")).await;
    assert_eq!(row.state, State::Completed, "{:?}", row.state);
    assert_eq!(store.requests().len(), 2);
}

/// To delete what is there because of a digest that is of something else is the worst advice.
#[tokio::test]
async fn u12_a_digest_of_the_answer_or_of_a_chunk_is_not_the_files() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let of_empty = "1B2M2Y8AsgTpgAmY7PhCfg==";
    let of_ok = "sha-256=:QGLtr3UPuAdOfoPgyQKMlOMkaKi28WFHdDKO8EUVD5M=:";
    for (name, value, body) in [
        ("content-md5", of_empty, ""),
        ("digest", "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ""),
        ("repr-digest", of_ok, r#"{"ok":true}"#),
    ] {
        let store = BadStore::start(move |_, _| reply("200 OK", &[(name, value)], body));
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)), "{name}");
    }
    let wrong = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    let store = BadStore::start(move |_, _| reply("200 OK", &wrong, ""));
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(code(&row), Some(Code::IntegrityMismatch), "one that fits neither is of another file");

    let path = uploads.file("b.bin", 12 * MIB);
    let store = BadStore::start(move |request, _| match chunk(request) {
        _ if request.line().starts_with("POST") => opened(),
        Some((0, last)) => has(last + 1),
        _ => reply("200 OK", &wrong, ""),
    });
    let row = sent_to(&uploads, &path, store.url(RESUMABLE)).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)));
}

/// A refusal after an answer that got lost may be about the file that is there.
#[tokio::test]
async fn u12_a_refusal_after_a_lost_answer_says_that_the_file_may_be_there() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    for status in ["409 Conflict", "412 Precondition Failed", "404 Not Found", "405 Method Not Allowed"] {
        let store = BadStore::start(move |_, number| match number {
            0 => Reply { answer: Vec::new(), close: true, ..has(0) },
            _ => reply(status, &[], ""),
        });
        let row = sent_to(&uploads, &path, store.url(PUT)).await;
        assert!(failure(&row).contains("may be there"), "{status}: {}", failure(&row));
        assert_eq!(store.requests().len(), 2, "{status}");
    }
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let store = BadStore::start(move |request, _| match chunk(request) {
        Some(_) => {
            gone.store(true, std::sync::atomic::Ordering::Relaxed);
            Reply { answer: Vec::new(), close: true, ..has(0) }
        }
        None if gone.load(std::sync::atomic::Ordering::Relaxed) => reply("404 Not Found", &[], ""),
        None => has(0),
    });
    let row = sent_to(&uploads, &path, store.url(SESSION)).await;
    assert_eq!(code(&row), Some(Code::ExpiredUrl), "{:?}", row.state);
    assert!(failure(&row).contains("may be there"), "{}", failure(&row));
}

/// Who leads on names another place the next time, where the first one is out of order.
#[tokio::test]
async fn u12_a_place_that_fails_is_not_asked_again_but_who_led_there() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let path = uploads.file("a.bin", 1000);
    let store = BadStore::start(|request, number| match request.line() {
        line if line.contains("/b/o") => {
            let place = if number == 0 { "/node1?X-Amz-Signature=x" } else { "/node2?X-Amz-Signature=x" };
            reply("307 Temporary Redirect", &[("location", place)], "")
        }
        line if line.contains("/node1") => reply("503 Service Unavailable", &[("retry-after", "0")], ""),
        _ => reply("200 OK", &[], ""),
    });
    let row = sent_to(&uploads, &path, store.url(PUT)).await;
    assert_eq!(row.state, State::Completed, "{:?}", row.state);
    assert_eq!(store.requests().len(), 4);
}

/// A service may be slower with its word than the store with its refusal.
#[tokio::test]
async fn u12_a_file_that_exists_after_a_lost_answer_is_the_services_to_confirm() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let sent = AtomicUsize::new(0);
    let confirms = std::sync::Arc::new(AtomicBool::new(false));
    let is_told = std::sync::Arc::clone(&confirms);
    let store = BadStore::start(move |request, _| {
        let line = request.line();
        if line.contains("/signed-url") {
            let host = request.header("host").unwrap_or_default();
            let url = format!("http://{host}{PUT}");
            let data =
                format!(r#"{{"asset_id": 12, "signed_url": "{url}", "expires_in": 3600, "fields": []}}"#);
            return reply("200 OK", &[], &format!(r#"{{"code": 200, "msg": "", "data": {data}}}"#));
        }
        if line.contains("/metadata") {
            let state = if is_told.load(Ordering::Relaxed) { "SUCCESS" } else { "WAITING" };
            let data = format!(
                r#"{{"resource": [{{"asset_id": "12", "file_size": 1000, "upload_status": "{state}"}}]}}"#
            );
            return reply("200 OK", &[], &format!(r#"{{"code": 200, "msg": "", "data": {data}}}"#));
        }
        if sent.fetch_add(1, Ordering::Relaxed) == 0 {
            return Reply { answer: Vec::new(), close: true, ..has(0) };
        }
        reply("412 Precondition Failed", &[], "")
    });
    let uploads = Uploads::new(SignedUrls::GooglePut).await.at(store.url("/api")).await;
    let path = uploads.file("a.bin", 1000);
    let id = uploads.add(&path).await;
    let is_said = |row: &Transfer| {
        row.wait.as_ref().is_some_and(|wait| wait.what.to_string().contains("the service is asked"))
    };
    uploads.until(id, is_said).await;
    confirms.store(true, Ordering::Relaxed);
    let row = uploads.ended(id).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)));
    assert_eq!(row.wait, None);
    let asked = |word: &str| store.requests().iter().filter(|asked| asked.line().contains(word)).count();
    assert_eq!((asked("/signed-url"), asked("/b/o")), (1, 2));
}

/// A slow uplink, or a proxy in front of one: nothing is handed over for longer than any limit, and all of it is acknowledged.
async fn goes_through_a_slow_line(length: usize, per_second: usize) {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let uploads = uploads.impatient(|limits| limits.stall = Some(Duration::from_secs(3))).await;
    let store = slow_store(per_second);
    let url = format!("{}{PUT}", store.0);
    let began = std::time::Instant::now();
    let row = sent_to(&uploads, &uploads.file("a.bin", length), url).await;
    assert_eq!(row.state, State::Completed, "after {:?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(12), "it was no slow line");
    assert_eq!(store.1.load(std::sync::atomic::Ordering::Relaxed), 1, "it was sent once");
}

#[tokio::test]
async fn a_line_of_two_kilobytes_a_second_is_never_called_dead() {
    goes_through_a_slow_line(40_000, 2_000).await;
}

#[tokio::test]
async fn a_slow_line_whose_system_takes_megabytes_at_once_is_never_called_dead() {
    goes_through_a_slow_line(8_000_000, 400_000).await;
}

/// Takes so many bytes a second, and tells how often it was connected to.
fn slow_store(per_second: usize) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::io::{Read as _, Write as _};

    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Little is taken ahead, in pieces as they are on a real line.
    socket.set_recv_buffer_size((per_second / 4).max(4096)).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(8).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connected = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let counted = std::sync::Arc::clone(&connected);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            std::thread::spawn(move || {
                let (mut seen, mut piece) = (Vec::new(), vec![0; (per_second / 10).max(1)]);
                let mut wanted = usize::MAX;
                while seen.len() < wanted {
                    match stream.read(&mut piece) {
                        Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
                        _ => return,
                    }
                    if wanted == usize::MAX
                        && let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n")
                    {
                        let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
                        let length = head.split("content-length: ").nth(1).unwrap();
                        wanted = end + 4 + length.lines().next().unwrap().trim().parse::<usize>().unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            });
        }
    });
    (url, connected)
}

/// `{"code":"0401","msg":"The bucket is closed for the night"}`, packed by gzip.
const PACKED_REFUSAL: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 206, 79, 73, 85, 178, 82, 50, 48, 49, 48, 84, 210, 81, 202,
    45, 78, 7, 114, 66, 50, 82, 21, 146, 74, 147, 179, 83, 75, 20, 50, 139, 21, 146, 115, 242, 139, 83, 83,
    20, 210, 242, 139, 20, 74, 128, 18, 121, 153, 233, 25, 37, 74, 181, 0, 6, 37, 220, 45, 58, 0, 0, 0,
];

#[tokio::test]
async fn u12_a_refusal_that_came_packed_is_said_in_the_stores_own_words() {
    for status in ["403 Forbidden", "503 Service Unavailable", "200 OK"] {
        let store = BadStore::start(move |_, _| {
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-encoding: gzip\r\ncontent-type: application/json\r\n\r\n",
                PACKED_REFUSAL.len()
            );
            Reply { read: usize::MAX, answer: [head.as_bytes(), PACKED_REFUSAL].concat(), close: false }
        });
        let uploads = Uploads::new(SignedUrls::GooglePut).await;
        let uploads = uploads.impatient(|limits| limits.retries = Some(0)).await;
        let row = sent_to(&uploads, &uploads.file("a.bin", 1000), store.url(PUT)).await;
        assert!(failure(&row).contains("The bucket is closed for the night"), "{status}: {}", failure(&row));
    }
}
