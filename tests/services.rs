//! Each service against a real part of it: Starlette's file answers, an S3 that verifies, nginx's ranges; and a real
//! video through all of them, compared byte by byte.
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "names must arrive letter by letter")]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferry_sandbox::SignedUrls;
use support::files::{assert_holds, assert_nowhere_below, noise};
use support::home::{Home, wait_until};
use support::peers::{Server, free_port, peer, python};
use support::service::Service;

const MIB: usize = 1 << 20;

/// A video that plays, made by ffmpeg; without it, bytes that at least begin like one.
fn video(folder: &Path) -> PathBuf {
    let path = folder.join("film.mp4");
    if let Some(ffmpeg) = peer("FERRY_TEST_FFMPEG") {
        let made = Command::new(ffmpeg)
            .args(["-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=6"])
            .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=6", "-pix_fmt", "yuv420p", "-shortest"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
    } else {
        let mut bytes = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
        bytes.extend(noise(1, 500_000));
        std::fs::write(&path, bytes).unwrap();
    }
    path
}

#[test]
fn a_real_video_is_the_same_after_every_way_through_the_sandbox() {
    let service = Service::start();
    let home = Home::with(&service);
    let path = video(home.path());
    let bytes = std::fs::read(&path).unwrap();

    let mut last = String::new();
    // Every kind of signed URL, by what it says itself.
    for (folder, kind) in [
        ("google-resumable", SignedUrls::GoogleResumable),
        ("google-put", SignedUrls::GooglePut),
        ("amazon-put", SignedUrls::AmazonPut),
        ("azure-put", SignedUrls::AzurePut),
        ("form", SignedUrls::Form),
        ("policy-form", SignedUrls::PolicyForm),
        ("session", SignedUrls::Session),
    ] {
        service.sign_with(kind);
        let run = home.ferry(["upload", "film.mp4", "--service", "mavi"]).exits(0);
        last = run.asset_ids().remove(0);
        let run = home.ferry(["download", &last, "--service", "mavi", "--dir", folder]).exits(0);
        let saved = home.path().join(folder).join("film.mp4");
        assert_eq!(run.lines(), [saved.to_str().unwrap()]);
        assert_holds(&saved, &bytes);
    }

    // The same store by Visual Search and as a plain link.
    service.put_file("film.mp4", &bytes);
    let link = format!("{}/files/film.mp4", service.url());
    // The sandbox shows every asset as a video of the same number.
    let video = format!("VI{}", last.strip_prefix("re_").unwrap());
    for (folder, what, by) in
        [("visual-search", video.as_str(), "visual-search"), ("link", link.as_str(), "link")]
    {
        let run = home.ferry(["download", what, "--service", by, "--dir", folder]).exits(0);
        assert_holds(Path::new(run.lines()[0]), &bytes);
    }
}

// ---- Media downloader ----

fn media_server(home: &Home, source: &Path) -> Option<Server> {
    let program = peer("FERRY_TEST_PYTHON")?;
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/media_server.py");
    let mut command = Command::new(program);
    command.arg(script).arg(port.to_string()).arg(source).arg(home.path().join("served"));
    Some(Server::start(&mut command, port))
}

#[test]
fn the_media_downloader_on_starlette_prepares_streams_and_removes() {
    let mut home = Home::new();
    let path = video(home.path());
    let Some(server) = media_server(&home, &path) else { return };
    home.set("FERRY_OFFLINE_TUBE_URL", &format!("http://127.0.0.1:{}", server.port));
    home.ferry(["check", "offline-tube"]).exits(0);

    let page = "https://videos.example/watch?v=1";
    let run = home.ferry(["download", page, "--service", "offline-tube"]).exits(0);
    let saved = PathBuf::from(run.lines()[0]);
    let name = saved.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("Überfahrt – 渡し船__") && name.ends_with(".mp4"), "{name}");
    assert_holds(&saved, &std::fs::read(&path).unwrap());
    assert_eq!(support::files::names(&home.path().join("served")).len(), 1, "it stays until it is removed");

    let run = home.ferry(["download", page, "--service", "offline-tube", "--remove-after"]).exits(0);
    assert_holds(Path::new(run.lines()[0]), &std::fs::read(&path).unwrap());
    assert_eq!(support::files::names(&home.path().join("served")).len(), 1, "the second one was removed");

    let page = "https://videos.example/broken";
    let run =
        home.ferry(["download", page, "--service", "offline-tube"]).exits(1).says_error("service_error");
    assert!(run.stderr.contains("Video unavailable"), "{}", run.stderr);
    let unknown = "00000000-0000-4000-8000-000000000000";
    home.ferry(["download", unknown, "--service", "offline-tube"]).exits(1).says_error("not_found");
}

// ---- Signed URLs ----

const ACCESS_KEY: &str = "FERRYTESTACCESSKEY";
const SECRET_KEY: &str = "ferry-test-secret-key";

#[test]
fn s3_takes_what_amazons_library_signed_and_refuses_what_was_changed() {
    let (Some(program), Some(signer)) = (peer("FERRY_TEST_S3S_FS"), peer("FERRY_TEST_PYTHON")) else {
        return;
    };
    let home = Home::new();
    let path = video(home.path());
    let store = home.path().join("store");
    std::fs::create_dir_all(store.join("films")).unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(&store);
    let _server = Server::start(&mut command, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let sign = |key: &str, seconds: &str| {
        let url = python(&signer, "sign_s3.py", &[&endpoint, "films", key, ACCESS_KEY, SECRET_KEY, seconds]);
        url.trim().to_owned()
    };
    let signature = |url: &str| url.split_once("X-Amz-Signature=").unwrap().1[..64].to_owned();
    let send = |url: &str| home.ferry_with_input(["upload", "film.mp4", "--to", "-"], url.as_bytes());

    // A name with everything that must go through byte for byte.
    let url = sign("Über fahrt/a+b%20c.mp4", "600");
    let run = send(&url).exits(0).hides(&signature(&url));
    assert_eq!(run.stdout, "-\tfilm.mp4\n");
    assert_holds(&store.join("films/Über fahrt/a+b%20c.mp4"), &std::fs::read(&path).unwrap());

    let url = sign("tampered.mp4", "600");
    let mut wrong = signature(&url);
    wrong.replace_range(..1, if wrong.starts_with('0') { "1" } else { "0" });
    let tampered = url.replace(&signature(&url), &wrong);
    send(&tampered).exits(1).hides(&wrong);
    let elsewhere = url.replace("tampered.mp4", "elsewhere.mp4");
    send(&elsewhere).exits(1).hides(&signature(&url));

    let url = sign("late.mp4", "1");
    std::thread::sleep(Duration::from_millis(2500));
    send(&url).exits(1).says_error("expired_url").hides(&signature(&url));

    for name in ["tampered.mp4", "elsewhere.mp4", "late.mp4"] {
        assert!(!store.join("films").join(name).exists(), "{name} was stored");
    }
    assert_nowhere_below(&home.data(), "X-Amz-Signature", &["resume"]);
}

// ---- Plain links ----

#[test]
fn a_killed_download_from_nginx_goes_on_by_range() {
    let Some(nginx) = peer("FERRY_TEST_NGINX") else { return };
    let home = Home::new();
    let content = noise(3, 24 * MIB);
    home.file("www/a.bin", &content);
    let link;
    {
        let server = Server::nginx(&nginx, &home.path().join("www"), "2m");
        link = format!("http://127.0.0.1:{}/a.bin", server.port);
        let running = home.start(["download", &link, "--connections", "1"]);
        wait_until("bytes are saved", || home.downloaded() == ["a.bin.ferrypart"]);
        std::thread::sleep(Duration::from_millis(6500));
        running.kill();
        assert_eq!(home.downloaded(), ["a.bin.ferrypart"]);
        let run = home.ferry(["resume", "--limit-rate", "100M"]).exits(0);
        assert_eq!(run.lines(), [home.downloads().join("a.bin").to_str().unwrap()]);
        assert_holds(&home.downloads().join("a.bin"), &content);
    }
    let log = std::fs::read_to_string(home.path().join("www.nginx/access.log")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains("\" 206 "), "the second run asked for the rest: {log}");
    let sent: usize = last.split("\" 206 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(sent < content.len() - 4 * MIB, "{sent} bytes were sent again");
}

#[test]
fn a_file_that_changed_between_two_runs_is_never_spliced() {
    let Some(nginx) = peer("FERRY_TEST_NGINX") else { return };
    let home = Home::new();
    home.file("www/a.bin", &noise(3, 24 * MIB));
    let server = Server::nginx(&nginx, &home.path().join("www"), "2m");
    let link = format!("http://127.0.0.1:{}/a.bin", server.port);
    let running = home.start(["download", &link, "--connections", "1"]);
    wait_until("bytes are saved", || home.downloaded() == ["a.bin.ferrypart"]);
    std::thread::sleep(Duration::from_millis(6500));
    running.kill();
    let other = noise(4, 6 * MIB);
    home.file("www/a.bin", &other);
    let run = home.ferry(["resume"]).exits(0);
    assert_holds(Path::new(run.lines()[0]), &other);
    assert!(
        run.stderr.to_lowercase().contains("changed at the source"),
        "a new beginning is said: {}",
        run.stderr
    );
}
