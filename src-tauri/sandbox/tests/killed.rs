//! A sandbox that is killed without warning goes on where it stood.

mod running;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ferry_sandbox::{Options, Sandbox};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use running::{UNIT, bytes, client, header};
use serde_json::{Value, json};

const ROOT: &str = "FERRY_SANDBOX_TO_BE_KILLED";

/// Not a test: the process that the test below starts again and again.
#[tokio::test]
async fn serve_until_killed() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let sandbox = Sandbox::start(Options { root: root.into(), port: 0, api_key: None }).await.unwrap();
    writeln!(std::io::stdout(), "listening on {} {}", sandbox.origin(), sandbox.mavi_url()).unwrap();
    std::future::pending::<()>().await;
}

/// Starts the process and waits until it listens: where it does, and MAVI's base URL in this run.
fn serve(root: &Path) -> (Child, String, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve_until_killed", "--nocapture"])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The test runner writes the test's name on the same line.
    let told = lines.find_map(|line| line.split_once("listening on ").map(|(_, told)| told.to_owned()));
    let told = told.expect("the sandbox says where it listens");
    let (origin, mavi) = told.split_once(' ').unwrap();
    (child, origin.to_owned(), mavi.to_owned())
}

#[tokio::test]
async fn a_killed_sandbox_loses_nothing_that_it_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, origin, mut mavi) = serve(folder.path());
    let http = client();
    let sign = http.post(format!("{mavi}/upload/signed-url")).header("Authorization", "k");
    let signed = sign.json(&json!({"original_filename": "a.bin"})).send().await.unwrap();
    let data = signed.json::<Value>().await.unwrap()["data"].take();
    let start = http.post(data["signed_url"].as_str().unwrap()).header("x-goog-resumable", "start");
    let started = start.header(CONTENT_LENGTH, 0).send().await.unwrap();
    let session = header(&started, "location").to_owned();

    let content = bytes(40 * UNIT + 17);
    let total = content.len();
    let mut confirmed = 0;
    for round in 0_u64.. {
        assert!(round < 200, "no progress any more");
        // The connections of the one before died with the process, which a client learns only by using them.
        let http = client();
        let query =
            http.put(&session).header(CONTENT_RANGE, format!("bytes */{total}")).header(CONTENT_LENGTH, 0);
        let state = query.send().await.unwrap();
        if state.status() == 200 {
            break;
        }
        assert_eq!(state.status(), 308);
        let kept = header(&state, RANGE.as_str())
            .strip_prefix("bytes=0-")
            .map_or(0, |last| last.parse::<usize>().unwrap() + 1);
        assert!(kept >= confirmed, "{kept} bytes are kept, {confirmed} were confirmed before the kill");
        confirmed = kept;

        let chunk = http
            .put(&session)
            .header(CONTENT_RANGE, format!("bytes {kept}-{}/{total}", total - 1))
            .body(content[kept..].to_vec());
        let sending = tokio::spawn(chunk.send());
        // Later and later, so that every stage is hit on a quick machine and on a slow one.
        tokio::time::sleep(Duration::from_millis(2 + round * 3)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = sending.await;
        let (next, again, address) = serve(folder.path());
        (child, mavi) = (next, address);
        assert_eq!(again, origin, "the same port");
    }

    let http = client();
    let download = format!("{mavi}/{}/download", data["asset_id"].as_str().unwrap());
    let download = http.get(download).header("Authorization", "k").send().await.unwrap();
    assert!(download.bytes().await.unwrap() == content);
    child.kill().unwrap();
    child.wait().unwrap();
}
