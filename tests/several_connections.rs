//! Several connections for one download: only where they help, never a byte twice, never a wrong splice.

#[path = "support/downloads.rs"]
mod downloads;

use downloads::Downloads;
use ferry_engine::{Code, DownloadRequest, State, Verified};
use ferry_sandbox::{Fault, FaultKind, Request, Sandbox};

const SIZE: u64 = 48 * 1024 * 1024;

async fn sandbox(root: &std::path::Path) -> Sandbox {
    let options = ferry_sandbox::Options { root: root.to_owned(), port: 0, api_key: None };
    Sandbox::start(options).await.expect("a sandbox")
}

fn slow(sandbox: &Sandbox) {
    sandbox.faults().add(Fault::new(FaultKind::Slow { bytes_per_second: 2_000_000 }).on_path("/generate/"));
}

fn url(sandbox: &Sandbox) -> String {
    format!("{}/generate/{SIZE}/big.bin", sandbox.url())
}

/// What the sandbox generates, fetched outside of Ferry.
async fn right_bytes(sandbox: &Sandbox) -> Vec<u8> {
    let answer = reqwest::get(url(sandbox)).await.expect("an answer");
    answer.bytes().await.expect("a body").to_vec()
}

fn fetches(sandbox: &Sandbox) -> Vec<Request> {
    sandbox.requests().into_iter().filter(|request| request.path.contains("/generate/")).collect()
}

/// The first connection is so much slower than any other that no delay of a busy computer hides what a second one
/// brings; after that one "yes" several more are made at once.
fn slow_at_first(sandbox: &Sandbox) {
    slow_at_first_then(sandbox, 4_000_000);
}

fn slow_at_first_then(sandbox: &Sandbox, bytes_per_second: u64) {
    let slow = |bytes_per_second| Fault::new(FaultKind::Slow { bytes_per_second }).on_path("/generate/");
    sandbox.faults().add(slow(bytes_per_second / 8).once());
    sandbox.faults().add(slow(bytes_per_second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_throttles_each_connection_gets_several_and_sends_each_byte_once() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::new().await;
    let sandbox = sandbox(root.path()).await;
    let right = right_bytes(&sandbox).await;
    sandbox.clear_requests();
    slow_at_first(&sandbox);
    let row = downloads.run(&url(&sandbox)).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(row.verified, Some(Verified::Crc32c), "the whole file is proven, not its pieces");
    assert!(downloads.saved("big.bin") == right, "the pieces were joined wrongly");
    let requests = fetches(&sandbox);
    assert!(requests.len() > 3, "only {} connections", requests.len());
    assert!(
        requests.iter().filter(|request| request.range.is_none()).count() == 1,
        "the first GET is the transfer"
    );
    assert!(requests.iter().all(|request| request.range.is_none() || request.if_range.is_some()));
}

/// The checksum of what several connections brought: known from the pieces, or only by reading the file once more; right
/// or wrong.
#[tokio::test(flavor = "multi_thread")]
async fn d7_the_checksum_of_the_whole_file_decides_also_over_several_connections() {
    use sha2::Digest as _;
    let sha256 = |bytes: &[u8]| {
        use base64::Engine as _;
        let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes));
        FaultKind::Headers {
            headers: vec![("Repr-Digest".into(), format!("sha-256=:{digest}:").as_str().into())],
        }
    };
    // As a user gives it.
    let own = |bytes: &[u8]| {
        let digest = sha2::Sha256::digest(bytes);
        digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    };
    for (what, expected) in [
        ("sha-256", Some(Verified::Sha256)),
        ("wrong sha-256", None),
        ("wrong crc32c", None),
        ("the user's", Some(Verified::Sha256)),
        ("the user's, wrong", None),
    ] {
        let root = tempfile::tempdir().unwrap();
        let downloads = Downloads::new().await;
        let sandbox = sandbox(root.path()).await;
        let right = right_bytes(&sandbox).await;
        sandbox.clear_requests();
        slow_at_first(&sandbox);
        let mut request = DownloadRequest {
            what: url(&sandbox),
            folder: Some(downloads.folder()),
            ..DownloadRequest::default()
        };
        match what {
            "sha-256" => sandbox.faults().add(sha256(&right)),
            "wrong sha-256" => sandbox.faults().add(sha256(b"another file")),
            "wrong crc32c" => sandbox.faults().add(FaultKind::WrongHash),
            "the user's" => request.checksum = own(&right).parse().ok(),
            _ => request.checksum = own(b"another file").parse().ok(),
        }
        let id = downloads.engine().download(request).await.unwrap();
        let row = downloads.ended(id).await;
        let requests = fetches(&sandbox);
        assert!(requests.len() > 3, "{what}: only {} connections", requests.len());
        match expected {
            Some(verified) => {
                assert_eq!((row.state, row.verified), (State::Completed, Some(verified)), "{what}");
                assert!(downloads.saved("big.bin") == right, "{what}: the pieces were joined wrongly");
            }
            None => {
                assert_eq!(downloads::code(&row), Some(Code::IntegrityMismatch), "{what}: {:?}", row.state);
                let whole = requests.iter().filter(|request| request.range.is_none()).count();
                assert_eq!(whole, 2, "{what}: fetched once more, then given up");
                assert!(downloads.files().is_empty(), "{what}: {:?}", downloads.names());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_shows_a_stretch_for_each_connection_and_the_speed_stays_after_the_end() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::new().await;
    let sandbox = sandbox(root.path()).await;
    // For some seconds, whatever the number of connections.
    slow_at_first_then(&sandbox, 1_000_000);
    let id = downloads.add(&url(&sandbox)).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let several = loop {
        let so_far = downloads.engine().pictures(id).await.unwrap();
        // A speed is known only after a moment.
        if so_far.pieces.len() > 2 && !so_far.speeds.is_empty() {
            break so_far.pieces;
        }
        assert!(tokio::time::Instant::now() < deadline, "never more than {so_far:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(several.windows(2).all(|two| two[0].end < two[1].start), "{several:?}");
    let there: u64 = several.iter().map(|piece| piece.end - piece.start).sum();
    downloads.engine().pause(&[id]).await.unwrap();
    let paused = downloads.engine().pictures(id).await.unwrap();
    let kept: u64 = paused.pieces.iter().map(|piece| piece.end - piece.start).sum();
    assert!(kept >= there, "{kept} of {there} bytes are on the map of the journal");
    assert_eq!(kept, downloads.engine().transfer(id).unwrap().bytes);
    assert_eq!(paused.speeds.last().map(|sample| sample.speed), Some(0), "a pause is a fall to nothing");

    sandbox.faults().clear();
    downloads.engine().resume(&[id]).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    let after = downloads.engine().pictures(id).await.unwrap();
    assert_eq!(after.pieces.iter().map(|piece| (piece.start, piece.end)).collect::<Vec<_>>(), [(0, SIZE)]);
    assert!(after.speeds.len() >= paused.speeds.len() && after.speeds[0] == paused.speeds[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_server_gets_one_request() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::new().await;
    let sandbox = sandbox(root.path()).await;
    let row = downloads.run(&format!("{}/generate/3000000/small.bin", sandbox.url())).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(fetches(&sandbox).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_where_the_user_or_the_validator_says_so() {
    for weak in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let downloads =
            Downloads::with(|overrides| overrides.connections = if weak { None } else { Some(1) }).await;
        let sandbox = sandbox(root.path()).await;
        sandbox
            .faults()
            .add(Fault::new(FaultKind::Slow { bytes_per_second: 4_000_000 }).on_path("/generate/"));
        if weak {
            sandbox.faults().add(Fault::new(FaultKind::NoValidators).on_path("/generate/"));
        }
        let row = downloads.run(&format!("{}/generate/12000000/a.bin", sandbox.url())).await;
        assert_eq!(row.state, State::Completed);
        assert_eq!(fetches(&sandbox).len(), 1, "weak: {weak}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_more_connections_is_left_in_peace() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let sandbox = sandbox(root.path()).await;
    let right = right_bytes(&sandbox).await;
    sandbox.clear_requests();
    sandbox.faults().add(Fault::new(FaultKind::Slow { bytes_per_second: 12_000_000 }).on_path("/generate/"));
    let busy = FaultKind::Status { status: 429, retry_after: None, body: None, content_type: None, after: 0 };
    sandbox.faults().add(Fault::new(busy).skip(1).on_path("/generate/").times(1));
    let row = downloads.run(&url(&sandbox)).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("big.bin") == right);
    assert!(fetches(&sandbox).len() <= 3, "{} requests after a refusal", fetches(&sandbox).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_connections_brought_is_kept_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::new().await;
    let sandbox = sandbox(root.path()).await;
    let right = right_bytes(&sandbox).await;
    sandbox.clear_requests();
    slow(&sandbox);
    let id = downloads.add(&url(&sandbox)).await;
    let before = downloads.until(id, |row| row.bytes > SIZE / 2).await.bytes;
    let downloads = downloads.restart(|_| {}).await;
    let kept = downloads.engine().transfer(id).unwrap().bytes;
    assert!(kept >= before, "{kept} of {before} bytes were kept");
    sandbox.faults().clear();
    sandbox.clear_requests();
    downloads.engine().resume(&[id]).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert!(downloads.saved("big.bin") == right, "the pieces were joined wrongly");
    assert!(fetches(&sandbox).iter().all(|request| request.range.is_some()), "nothing was started over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_two_connections_is_never_spliced() {
    let root = tempfile::tempdir().unwrap();
    let downloads = Downloads::new().await;
    let sandbox = sandbox(root.path()).await;
    let before = right_bytes(&sandbox).await;
    slow(&sandbox);
    // From the third request on there is another file.
    sandbox.faults().add(Fault::new(FaultKind::Changed { revision: 2 }).skip(2).on_path("/generate/"));
    let id = downloads.add(&url(&sandbox)).await;
    downloads.until(id, |row| row.bytes > SIZE / 8).await;
    sandbox.faults().clear();
    sandbox.faults().add(Fault::new(FaultKind::Changed { revision: 2 }).on_path("/generate/"));
    let row = downloads.ended(id).await;
    assert_eq!(row.state, State::Completed);
    let (saved, after) = (downloads.saved("big.bin"), right_bytes(&sandbox).await);
    assert!(before != after);
    // The first answer may bring the whole old file, or a new start the whole new one: never some of each.
    assert!(saved == before || saved == after, "two files were mixed");
}
