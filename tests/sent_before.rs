//! "Sent before?": the same content is recognised, asked about once, and reused, sent again or left out.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "support/uploads.rs"]
mod uploads;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ferry_engine::{
    AddedUploads, AssetStatus, Code, Engine, IfSent, Options, Phrase, State, Transfer, UploadRequest,
    Verified, Words,
};
use ferry_sandbox::{Fault, FaultKind, SignedUrls};
use uploads::{API_KEY, Uploads};

const SIZE: usize = 300_000;

async fn add(uploads: &Uploads, paths: &[&Path], if_sent: IfSent) -> AddedUploads {
    let request = UploadRequest {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        service: Some("mavi".into()),
        if_sent,
        ..UploadRequest::default()
    };
    uploads.engine.add_uploads(request).await.expect("an answer")
}

/// Adds one file that is to be reused, and gives its end.
async fn reuse(uploads: &Uploads, path: &Path) -> Transfer {
    let added = add(uploads, &[path], IfSent::Reuse).await;
    assert_eq!((added.ids.len(), added.reused, added.question), (1, 1, None));
    uploads.ended(added.ids[0]).await
}

async fn asks(uploads: &Uploads, path: &Path) -> bool {
    let added = add(uploads, &[path], IfSent::Ask).await;
    added.ids.iter().for_each(|id| assert!(uploads.engine.transfer(*id).is_some()));
    added.question.is_some()
}

/// The same file under another name.
fn copy_of(path: &Path, name: &str) -> PathBuf {
    let copy = path.with_file_name(name);
    std::fs::copy(path, &copy).unwrap();
    copy
}

/// Other bytes of the same length, in the same file.
fn overwrite(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len() as usize;
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(&vec![7; length]).unwrap();
}

fn set_time(path: &Path, time: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn long_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

/// The name of the sentence that a row shows.
fn note(row: &Transfer) -> Option<&Phrase> {
    match row.note.as_ref()? {
        Words::Own(phrase) => Some(phrase),
        Words::Said(text) => panic!("no sentence: {text}"),
    }
}

#[tokio::test]
async fn the_same_content_is_recognised_under_any_name_and_asked_about_in_one_question() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let empty = uploads.file("empty.txt", 0);
    let sent = uploads.run(&film).await;
    uploads.run(&empty).await;
    let renamed = copy_of(&film, "renamed.mp4");
    let other = copy_of(&film, "other.mp4");
    overwrite(&other);
    let longer = uploads.file("longer.mp4", SIZE + 1);

    let all = [&*other, &renamed, &longer, &film, &empty];
    let added = add(&uploads, &all, IfSent::Ask).await;
    let question = added.question.expect("a question");
    assert_eq!((question.files, question.sent, question.bytes), (5, 2, 2 * SIZE as u64));
    let names: Vec<_> = question.examples.iter().map(|one| (&*one.name, &*one.asset.name)).collect();
    assert_eq!(names, [("renamed.mp4", "film.mp4"), ("film.mp4", "film.mp4")]);
    assert!(question.examples.iter().all(|one| Some(&one.asset.asset_id) == sent.asset_id.as_ref()));
    assert_eq!(added.ids, []);
    assert_eq!(uploads.engine.transfers(|_| true).len(), 2, "nothing is added before the answer");

    let added = add(&uploads, &all, IfSent::Skip).await;
    assert_eq!((added.ids.len(), added.skipped, added.reused), (3, 2, 0));
    let names = added.ids.iter().map(|id| uploads.engine.transfer(*id).unwrap().name);
    assert_eq!(names.collect::<Vec<_>>(), ["other.mp4", "longer.mp4", "empty.txt"]);
    let added = add(&uploads, &all, IfSent::Again).await;
    assert_eq!((added.ids.len(), added.skipped, added.reused, added.question), (5, 0, 0, None));
}

#[tokio::test]
async fn what_was_never_sent_there_is_added_without_a_question() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let first = add(&uploads, &[&film], IfSent::Ask).await;
    assert_eq!((first.ids.len(), first.question), (1, None));
    // On its way, not sent: it goes on.
    let again = add(&uploads, &[&film], IfSent::Ask).await;
    let sent = uploads.ended(first.ids[0]).await;
    assert!(again.ids == first.ids || again.question.is_some(), "{again:?}");
    assert!(asks(&uploads, &film).await);
    // Another service knows nothing of it.
    let request = UploadRequest {
        paths: vec![film.clone()],
        service: Some("sandbox".into()),
        if_sent: IfSent::Ask,
        ..UploadRequest::default()
    };
    let elsewhere = uploads.engine.add_uploads(request).await.unwrap();
    assert_eq!((elsewhere.ids.len(), elsewhere.question), (1, None));
    // What was deleted with Ferry is not there.
    uploads.engine.asset_delete(sent.asset_id.as_deref().unwrap(), Some("mavi")).await.unwrap();
    assert!(!asks(&uploads, &film).await);
}

#[tokio::test]
async fn reuse_ends_with_the_asset_that_is_there_and_sends_nothing() {
    let uploads = Uploads::new(SignedUrls::GoogleResumable).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let signed = uploads.requests("POST", "/upload/signed-url");

    let row = reuse(&uploads, &copy_of(&film, "copy.mp4")).await;
    assert_eq!((&row.state, &row.asset_id), (&State::Completed, &sent.asset_id));
    assert_eq!(
        (row.bytes, row.total, row.verified),
        (SIZE as u64, Some(SIZE as u64), Some(Verified::Length))
    );
    assert!(matches!(note(&row), Some(Phrase::SentBefore { .. })), "{:?}", row.note);
    assert_eq!(uploads.requests("POST", "/upload/signed-url"), signed, "nothing was signed");
    assert_eq!(uploads.assets().await.len(), 1);

    // The row is still there after a restart.
    let id = row.id;
    let uploads = uploads.restart().await;
    let row = uploads.engine.transfer(id).unwrap();
    assert_eq!((&row.state, &row.asset_id), (&State::Completed, &sent.asset_id));
}

#[tokio::test]
async fn what_the_service_no_longer_has_is_said_and_sent_again() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let old = sent.asset_id.clone().unwrap();
    // Somebody deletes it there; Ferry is not told.
    let url = format!("{}/{old}", uploads.sandbox.mavi_url());
    let deleted = reqwest::Client::new().delete(url).header("Authorization", API_KEY).send().await.unwrap();
    assert!(deleted.status().is_success());
    assert!(asks(&uploads, &film).await, "as far as the library knows");

    let row = reuse(&uploads, &film).await;
    assert_eq!(row.state, State::Completed);
    assert_ne!(row.asset_id, sent.asset_id);
    assert!(matches!(note(&row), Some(Phrase::GoneThere { .. })), "{:?}", row.note);
    assert!(uploads.stored(&row).await == std::fs::read(&film).unwrap());
    let assets = uploads.assets().await;
    let gone = assets.iter().find(|asset| asset.asset_id == old).unwrap();
    assert_eq!(gone.status, AssetStatus::Deleted);
    // From now on the new one is known.
    assert_eq!(reuse(&uploads, &film).await.asset_id, row.asset_id);
}

#[tokio::test]
async fn trouble_at_the_service_neither_sends_again_nor_invents_an_end() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let trouble =
        FaultKind::Status { status: 503, retry_after: None, body: None, content_type: None, after: 0 };
    uploads.fault(Fault::new(trouble).on_path("/metadata").times(2));
    let row = reuse(&uploads, &film).await;
    assert_eq!((&row.state, &row.asset_id), (&State::Completed, &sent.asset_id));
    assert_eq!(uploads.assets().await.len(), 1);
}

#[tokio::test]
async fn what_was_to_be_reused_can_still_be_decided_otherwise() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let trouble =
        FaultKind::Status { status: 503, retry_after: None, body: None, content_type: None, after: 0 };
    uploads.fault(Fault::new(trouble).on_path("/metadata"));
    let id = add(&uploads, &[&film], IfSent::Reuse).await.ids[0];
    uploads.until(id, |row| row.wait.is_some()).await;

    assert!(asks(&uploads, &film).await);
    let skipped = add(&uploads, &[&film], IfSent::Skip).await;
    assert_eq!((skipped.ids.len(), skipped.skipped), (0, 1));
    let reused = add(&uploads, &[&film], IfSent::Reuse).await;
    assert_eq!((reused.ids, reused.reused), (vec![id], 1));
    let again = add(&uploads, &[&film], IfSent::Again).await;
    assert_eq!((again.ids, again.reused), (vec![id], 0));
    uploads.sandbox.faults().clear();
    let row = uploads.ended(id).await;
    assert_eq!(row.state, State::Completed);
    assert_ne!(row.asset_id, sent.asset_id);
    assert!(uploads.stored(&row).await == std::fs::read(&film).unwrap());
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_compared_is_sent() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let trouble =
        FaultKind::Status { status: 503, retry_after: None, body: None, content_type: None, after: 0 };
    uploads.fault(Fault::new(trouble).on_path("/metadata"));
    let added = add(&uploads, &[&film], IfSent::Reuse).await;
    uploads.until(added.ids[0], |row| row.wait.is_some()).await;
    overwrite(&film);
    uploads.sandbox.faults().clear();
    let row = uploads.ended(added.ids[0]).await;
    assert_eq!(row.state, State::Completed);
    assert_ne!(row.asset_id, sent.asset_id);
    assert!(matches!(note(&row), Some(Phrase::ChangedSinceCompared)), "{:?}", row.note);
    assert!(uploads.stored(&row).await == std::fs::read(&film).unwrap());
}

/// Whether the engine has written down what is in this file, so that it need not read it again.
async fn is_known(uploads: &Uploads, path: &Path) -> bool {
    // What nobody waits for is written with what somebody does.
    uploads.assets().await;
    let copy = tempfile::tempdir().unwrap();
    for name in ["ferry.db", "ferry.db-wal"] {
        std::fs::copy(path.with_file_name("data").join(name), copy.path().join(name)).unwrap();
    }
    let database = rusqlite::Connection::open(copy.path().join("ferry.db")).unwrap();
    let known = "SELECT count(*) FROM contents WHERE path = ?1";
    database.query_row(known, [path.to_str()], |row| row.get::<_, i64>(0)).unwrap() == 1
}

/// Longer than a file may change without its time telling.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(2100)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_read_once_unless_anything_about_it_changed() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let copy = copy_of(&film, "copy.mp4");
    set_time(&film, long_ago());
    set_time(&copy, long_ago());
    settle().await;
    uploads.run(&film).await;
    assert!(is_known(&uploads, &film).await, "its upload has read it");
    assert!(!is_known(&uploads, &copy).await);
    assert!(asks(&uploads, &copy).await);
    assert!(is_known(&uploads, &copy).await, "the question has read it");

    // In place, and its time set back: as some containers and tools do.
    let time = std::fs::metadata(&film).unwrap().modified().unwrap();
    overwrite(&film);
    set_time(&film, time);
    assert!(!asks(&uploads, &film).await, "it is read again");
    assert!(asks(&uploads, &copy).await);
}

#[tokio::test]
async fn what_may_have_changed_unseen_while_it_was_sent_is_not_known() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let fresh = uploads.file("fresh.mp4", SIZE);
    let trouble =
        FaultKind::Status { status: 503, retry_after: None, body: None, content_type: None, after: 0 };
    uploads.fault(Fault::new(trouble).on_path("/metadata"));
    let id = uploads.add(&fresh).await;
    settle().await;
    assert!(!uploads.engine.transfer(id).unwrap().state.has_ended(), "the service has not said what it has");
    uploads.sandbox.faults().clear();
    assert_eq!(uploads.ended(id).await.state, State::Completed);
    assert!(!is_known(&uploads, &fresh).await, "it changed less than two seconds before it was read");
}

#[tokio::test]
async fn a_file_that_changed_just_now_is_compared_when_its_time_would_tell() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    uploads.run(&film).await;
    let fresh = copy_of(&film, "fresh.mp4");
    let change = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Within a step of a disk that counts in two seconds.
        let time = std::fs::metadata(&fresh).unwrap().modified().unwrap();
        overwrite(&fresh);
        set_time(&fresh, time);
    };
    let (asked, ()) = tokio::join!(asks(&uploads, &fresh), change);
    assert!(!asked, "another file by now");
    // A time to come never tells.
    let tomorrow = copy_of(&film, "tomorrow.mp4");
    set_time(&tomorrow, SystemTime::now() + Duration::from_secs(86_400));
    assert!(!asks(&uploads, &tomorrow).await);
}

#[tokio::test]
async fn a_comparison_ends_when_nobody_wants_it_any_more() {
    const HUGE: u64 = 4 << 40;
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let huge = root.path().join("huge.img");
    std::fs::File::create(&huge).unwrap().set_len(HUGE).unwrap();
    set_time(&huge, long_ago());
    let mut options = Options::new(data.clone());
    options.keychain = false;
    Engine::open(options.clone()).await.unwrap().shutdown().await;
    // As if a file of that size had been sent.
    rusqlite::Connection::open(data.join("ferry.db"))
        .unwrap()
        .execute(
            "INSERT INTO assets VALUES ('mavi', 're_1', 'huge.img', ?1, NULL, 'confirmed', 1, zeroblob(32))",
            [HUGE],
        )
        .unwrap();
    let engine = Engine::open(options).await.unwrap();
    let request = UploadRequest {
        paths: vec![huge],
        service: Some("mavi".into()),
        if_sent: IfSent::Ask,
        ..UploadRequest::default()
    };
    let asking = tokio::spawn({
        let engine = engine.clone();
        async move { engine.add_uploads(request).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asking.is_finished(), "four TiB are not read so fast");
    engine.stop_comparing();
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await.expect("soon").unwrap();
    assert_eq!(answer.unwrap_err().code(), Code::Canceled);
    assert!(engine.transfers(|_| true).is_empty());
    engine.shutdown().await;
}

#[tokio::test]
async fn neither_a_crc_nor_an_imported_line_keeps_a_file_from_being_sent() {
    let uploads = Uploads::new(SignedUrls::GooglePut).await;
    let film = uploads.file("film.mp4", SIZE);
    let sent = uploads.run(&film).await;
    let stored = uploads.assets().await.remove(0);
    let crc32c = stored.crc32c.clone().unwrap();

    // A line with the size and the CRC32C of a file that was never sent: from anybody's library, or a list of the Ferry
    // that knew nothing else.
    let other = uploads.file("other.mp4", SIZE / 2);
    let of_other = uploads.run(&other).await;
    let line = |id: &str, size: usize, crc32c: &str| {
        format!(
            r#"{{"service":"mavi","asset_id":"{id}","name":"x","size":{size},"crc32c":"{crc32c}","status":"confirmed","at":9}}"#
        )
    };
    let assets = uploads.assets().await;
    let crc_of_other = assets.iter().find(|asset| Some(&asset.asset_id) == of_other.asset_id.as_ref());
    let crc_of_other = crc_of_other.unwrap().crc32c.clone().unwrap();
    uploads.engine.asset_delete(of_other.asset_id.as_deref().unwrap(), Some("mavi")).await.unwrap();
    let file = film.with_file_name("library.json");
    let lines = [line("re_forged1", SIZE / 2, &crc_of_other), line("re_forged2", SIZE, &crc32c)];
    std::fs::write(&file, format!("[{}]", lines.join(","))).unwrap();
    assert_eq!(uploads.engine.import_assets(&file).await.unwrap().new, 2);

    let added = add(&uploads, &[&other], IfSent::Skip).await;
    assert_eq!((added.ids.len(), added.skipped, &added.question), (1, 0, &None), "{added:?}");
    let row = uploads.ended(added.ids[0]).await;
    assert_eq!(row.state, State::Completed);
    assert!(uploads.stored(&row).await == std::fs::read(&other).unwrap());
    // What was sent from here is known by what it holds, and never by the line that says more.
    let question = add(&uploads, &[&film], IfSent::Ask).await.question.expect("a question");
    assert_eq!(Some(&question.examples[0].asset.asset_id), sent.asset_id.as_ref());
}
