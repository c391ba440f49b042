//! What the add bar and `ferry://` links make of a text: ids of the services, links, and nothing of all the rest.

use ferry_engine::{Code, DownloadRequest, Engine, Options};

const ASSET: &str = "re_000123456789012345";
/// Samples that the sandbox holds from the start.
const VIDEO: &str = "VI100000000000000002";
const JOB: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

async fn engine(root: &std::path::Path) -> Engine {
    let mut options = Options::new(root.to_owned());
    options.keychain = false;
    Engine::open(options).await.unwrap()
}

fn readings(engine: &Engine, text: &str) -> Vec<ferry_engine::ServiceId> {
    engine.recognise(text).into_iter().map(|one| one.service).collect()
}

#[tokio::test]
async fn ids_and_links_are_told_apart_and_everything_else_is_nothing() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(root.path()).await;
    for (text, services) in [
        // The sandbox comes first: it is the default service.
        (ASSET, vec!["sandbox", "mavi"]),
        (VIDEO, vec!["sandbox", "visual-search"]),
        (JOB, vec!["sandbox", "offline-tube"]),
        ("https://example.com/file.zip", vec!["link", "sandbox"]),
        (" example.com/file.zip ", vec!["link", "sandbox"]),
        ("example.com:8443/a?b=c/d", vec!["link", "sandbox"]),
        ("bücher.example/a", vec!["link", "sandbox"]),
    ] {
        assert_eq!(readings(&engine, text), services, "{text}");
    }
    assert_eq!(engine.recognise("example.com/file.zip")[0].label, "Link to example.com");

    let long = "x".repeat(20_000);
    for junk in [
        "javascript:alert(1)",
        "../../etc/passwd",
        "./example.com/a",
        "/etc/passwd",
        "<b>x</b>",
        r"C:\Users\a.mp4",
        "C:/Users/a.mp4",
        "file:///etc/passwd",
        "data:text/html,x",
        "someone@example.com/a",
        "example.com",
        "holiday.mp4",
        "holiday 1/film.mp4",
        "photos/film.mp4",
        "1.2/3.4",
        "a..b/c",
        "hello",
        "re_",
        "re_../x",
        "VI",
        "VIDEO",
        "VI1/../2",
        "----",
        &long,
        &format!("re_{long}"),
        &format!("VI1{long}"),
    ] {
        assert!(readings(&engine, junk).is_empty(), "{}", &junk[..junk.len().min(60)]);
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn a_link_without_https_is_a_link_only_for_who_takes_links() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(root.path()).await;
    let row = async |service: Option<&str>| {
        let request = DownloadRequest {
            what: "files.invalid/film.mp4?secret=1".into(),
            service: service.map(Into::into),
            folder: Some(root.path().to_owned()),
            ..DownloadRequest::default()
        };
        let id = engine.download(request).await.unwrap();
        engine.rows(&[id]).remove(0)
    };
    let link = row(Some("link")).await;
    assert_eq!((link.service.as_str(), link.host.as_deref()), ("link", Some("files.invalid")));
    // Without a service named as well: no id has a query, and what follows it may sign the link.
    let link = row(None).await;
    assert_eq!((link.service.as_str(), link.host.as_deref()), ("link", Some("files.invalid")));
    engine.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_an_id_is_neither_asked_for_nor_kept_nor_repeated() {
    const SECRET: &str = "marked5ecret";
    let root = tempfile::tempdir().unwrap();
    let engine = engine(root.path()).await;
    for what in [
        format!("localhost/film.mp4?X-Amz-Signature={SECRET}"),
        format!("film.mp4?sig={SECRET}"),
        format!("/b/o#{SECRET}"),
        format!("b/o/{SECRET}"),
        format!("re_1&token={SECRET}"),
        format!("sig%3D{SECRET}"),
        format!("re_{SECRET}\u{202e}"),
    ] {
        for service in [None, Some("mavi"), Some("visual-search"), Some("offline-tube"), Some("sandbox")] {
            let request = DownloadRequest {
                what: what.clone(),
                service: service.map(Into::into),
                folder: Some(root.path().to_owned()),
                ..DownloadRequest::default()
            };
            let error = engine.download(request).await.expect_err(&what);
            assert_eq!(error.code(), Code::InvalidInput, "{what}");
            assert!(!error.to_string().contains(SECRET), "{error}");
            for error in [
                engine.asset_info(&what, service).await.expect_err(&what),
                engine.asset_delete(&what, service).await.expect_err(&what),
            ] {
                assert_eq!(error.code(), Code::InvalidInput, "{what}");
                assert!(!error.to_string().contains(SECRET), "{error}");
            }
        }
        assert!(readings(&engine, &what).is_empty(), "{what}");
    }
    assert!(engine.transfers(|_| true).is_empty());
    engine.shutdown().await;
}

#[tokio::test]
async fn a_ferry_link_proposes_nothing_that_the_add_bar_would_not_take() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(root.path()).await;
    let (what, offer) = engine.read_link("ferry://download?what=example.com%2Fa.mp4%3Fsecret%3D1");
    assert_eq!(what.as_deref(), Some("example.com/a.mp4?secret=1"));
    assert_eq!(offer.shown, "https://example.com/a.mp4?…");
    for junk in ["javascript%3Aalert(1)", "..%2F..%2Fetc%2Fpasswd", "hello"] {
        let (what, offer) = engine.read_link(&format!("ferry://download?what={junk}"));
        assert_eq!((what, offer.readings.len()), (None, 0), "{junk}");
    }
    engine.shutdown().await;
}
