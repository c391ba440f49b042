//! Settings on their way to a file and back: what is taken over, what stays as it is here, what is refused.

#[path = "support/bad_server.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod bad_server;

use std::path::Path;
use std::time::Duration;

use bad_server::{BadServer, Step, response};
use ferry_engine::{
    Code, DownloadRequest, Engine, FirstContact, KeyState, Language, Options, Secret, ServiceStatus,
    Settings, SettingsPatch, State, Theme, UploadRequest,
};
use ferry_sandbox::Sandbox;

/// What the sandbox takes for a key.
const API_KEY: &str = "sk-settings";

async fn engine(data: &Path) -> Engine {
    Engine::open(Options::new(data.to_owned())).await.unwrap()
}

/// As one who uses Ferry daily would have them.
fn unusual(folder: &Path) -> Settings {
    Settings {
        downloads_folder: Some(folder.to_owned()),
        concurrent_uploads: 7,
        limit_down: Some(3_000_000),
        retries: 9,
        connections: 2,
        default_service: "mavi".into(),
        theme: Theme::Dark,
        language: Language::Es,
        start_at_login: true,
        close_to_tray: true,
        welcomed: true,
        told_of_tray: true,
        ..Settings::default()
    }
    .with("mavi_url", "https://mavi.example/serve/api/v2")
    .with("visual_search_url", "https://search.example/serve/api/v1")
    .with("offline_tube_url", "https://media.example")
    .with("quality", "best")
}

#[tokio::test]
async fn exported_settings_are_taken_over_but_where_files_and_keys_go() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("ferry-settings.json");
    let there = engine(&root.path().join("there")).await;
    there.save_settings(unusual(root.path())).await.unwrap();
    there.export_settings(&file).await.unwrap();

    let here = engine(&root.path().join("here")).await;
    let before = here.settings();
    let after = here.import_settings(&file).await.unwrap();
    assert_eq!(after, here.settings(), "what it says is in force");
    let wanted = Settings {
        downloads_folder: before.downloads_folder,
        default_service: before.default_service,
        of_services: before.of_services.with("quality", "best"),
        start_at_login: false,
        welcomed: false,
        told_of_tray: false,
        ..unusual(root.path())
    };
    assert_eq!(after, wanted);

    here.shutdown().await;
    drop(here);
    assert_eq!(engine(&root.path().join("here")).await.settings(), wanted, "also after a new start");
}

#[tokio::test]
async fn a_file_that_holds_no_settings_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    engine.save_settings(unusual(root.path())).await.unwrap();
    let file = root.path().join("chosen.json");
    for (what, content) in [
        ("no JSON", "a letter".to_owned()),
        ("a list", "[1, 2]".to_owned()),
        ("another type", r#"{"retries": "many"}"#.to_owned()),
        ("a value that cannot work", r#"{"concurrent_uploads": 0}"#.to_owned()),
        ("larger than any settings", format!(r#"{{"theme": "{}"}}"#, "x".repeat(2 << 20))),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = engine.import_settings(&file).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput, "{what}: {error:?}");
        assert_eq!(engine.settings(), unusual(root.path()), "{what}");
    }
    let error = engine.import_settings(&root.path().join("not there")).await.unwrap_err();
    assert_eq!(error.code(), Code::SourceMissing);
}

#[tokio::test]
async fn a_reset_leaves_where_files_and_keys_go() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    let mine = unusual(root.path());
    engine.save_settings(mine.clone()).await.unwrap();
    let after = engine.reset_settings().await.unwrap();
    assert_eq!(after, engine.settings());
    assert_eq!(
        after,
        Settings {
            downloads_folder: mine.downloads_folder,
            default_service: mine.default_service,
            of_services: mine.of_services.with("quality", "720p"),
            start_at_login: mine.start_at_login,
            welcomed: true,
            told_of_tray: true,
            ..Settings::default()
        }
    );
}

fn patch(text: &str) -> SettingsPatch {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_change_leaves_alone_what_it_does_not_name() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    engine.save_settings(unusual(root.path())).await.unwrap();
    let after = engine.patch_settings(patch(r#"{"retries": 2, "limit_down": null}"#)).await.unwrap();
    assert_eq!(after, Settings { retries: 2, limit_down: None, ..unusual(root.path()) });
    assert_eq!(after, engine.settings());
    let error = engine.patch_settings(patch(r#"{"retries": 101}"#)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidInput);
    let error = engine.patch_settings(patch(r#"{"no_such_setting": 1}"#)).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert_eq!(after, engine.settings(), "what is refused changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_are_all_in_force_and_all_written() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let here = engine(&data).await;
    let fields = [
        r#"{"retries": 7}"#,
        r#"{"connections": 3}"#,
        r#"{"concurrent_uploads": 9}"#,
        r#"{"quality": "best"}"#,
        r#"{"theme": "dark"}"#,
        r#"{"unique_id": "mine"}"#,
        r#"{"density": "compact"}"#,
        r#"{"keep_awake": false}"#,
    ];
    for _ in 0..10 {
        here.save_settings(Settings::default()).await.unwrap();
        let changes = fields.map(|field| {
            let here = here.clone();
            tokio::spawn(async move { here.patch_settings(patch(field)).await.map(drop) })
        });
        for change in changes {
            change.await.unwrap().unwrap();
        }
        let mut wanted = Settings::default();
        (wanted.retries, wanted.connections, wanted.concurrent_uploads) = (7, 3, 9);
        wanted = wanted.with("quality", "best").with("unique_id", "mine");
        (wanted.theme, wanted.keep_awake) = (Theme::Dark, false);
        wanted.density = ferry_engine::Density::Compact;
        assert_eq!(here.settings(), wanted);
        let written: Settings =
            serde_json::from_slice(&std::fs::read(data.join("settings.json")).unwrap()).unwrap();
        assert_eq!(written, wanted);
    }
}

#[tokio::test]
async fn who_listens_hears_of_every_change_of_the_settings() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    let mut changes = engine.subscribe();
    engine.change_settings(|settings| settings.retries = 3).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(settings) = &changes.recv().await.unwrap().settings {
                return settings.retries;
            }
        }
    });
    assert_eq!(told.await.unwrap(), 3);
}

async fn with_mavi(root: &Path) -> (Engine, Sandbox) {
    let options =
        ferry_sandbox::Options { root: root.join("sandbox"), port: 0, api_key: Some(API_KEY.to_owned()) };
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut options = Options::new(root.join("data"));
    options.keychain = false;
    let engine = Engine::open(options).await.unwrap();
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", sandbox.mavi_url()))
        .await
        .unwrap();
    (engine, sandbox)
}

#[tokio::test]
async fn a_service_becomes_the_default_when_its_key_is_accepted_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let (engine, _sandbox) = with_mavi(root.path()).await;
    let default = || engine.settings().default_service;

    engine.set_key("mavi", Secret::new("a wrong one")).await.unwrap();
    assert_eq!(default(), "sandbox", "nobody knows yet whether it is any good");
    let check = engine.check("mavi").await.unwrap();
    assert_eq!((check.key_accepted, check.now_default), (Some(false), false));
    assert_eq!(default(), "sandbox", "it is refused");

    let mut changes = engine.subscribe();
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    assert_eq!(default(), "sandbox");
    let check = engine.check("mavi").await.unwrap();
    assert_eq!((check.key_accepted, check.now_default), (Some(true), true));
    assert_eq!(default(), "mavi");
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        while changes.recv().await.unwrap().settings.as_ref().is_none_or(|it| it.default_service != "mavi") {}
    });
    told.await.expect("who listens hears of it");

    // Later checks leave alone what the user chose since.
    engine.patch_settings(patch(r#"{"default_service": "sandbox"}"#)).await.unwrap();
    let check = engine.check("mavi").await.unwrap();
    assert_eq!((check.key_accepted, check.now_default), (Some(true), false));
    assert_eq!(default(), "sandbox");
}

#[tokio::test]
async fn an_accepted_key_takes_the_place_of_nothing_but_the_sandbox() {
    let root = tempfile::tempdir().unwrap();
    let (engine, _sandbox) = with_mavi(root.path()).await;
    engine.change_settings(|settings| settings.default_service = "visual-search".into()).await.unwrap();
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    assert!(!engine.check("mavi").await.unwrap().now_default);
    assert_eq!(engine.settings().default_service, "visual-search");
}

// ---- a key belongs to the address that it was given for ----

/// Somebody else's server, which takes whatever it is sent.
fn stranger() -> BadServer {
    BadServer::start(|_, _| {
        let body = br#"{"code":200,"msg":"success","data":{"resource":[]}}"#;
        let length = body.len().to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        vec![Step::Send(response("200 OK", &headers, body))]
    })
}

#[track_caller]
fn was_not_asked(stranger: &BadServer) {
    assert_eq!(stranger.requests(), Vec::<String>::new(), "nobody there was to be asked");
}

fn mavi(engine: &Engine) -> ServiceStatus {
    engine.services().into_iter().find(|service| service.id == "mavi").unwrap()
}

#[track_caller]
fn has_no_key_for_it(engine: &Engine, report: &ferry_engine::CheckReport, own: &str) {
    let problem = report.problem.as_ref().expect("a problem");
    assert_eq!((problem.code, report.key_accepted, report.reached_in), (Code::Unauthorized, None, None));
    assert!(problem.message().contains("no key for this address"), "{problem:?}");
    assert!(own.starts_with(mavi(engine).key_belongs_to.as_deref().unwrap()), "{:?}", mavi(engine));
    assert!(!mavi(engine).ready);
}

#[tokio::test]
async fn a_key_stays_with_its_address_whoever_writes_another_one_into_the_settings() {
    let root = tempfile::tempdir().unwrap();
    let (engine, sandbox) = with_mavi(root.path()).await;
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    assert_eq!(engine.check("mavi").await.unwrap().key_accepted, Some(true));
    assert_eq!(mavi(&engine).key_belongs_to, None);
    let mine = engine.settings();

    let stranger = stranger();
    // By each of its names.
    for address in [stranger.url("/serve/api/v2"), stranger.url("/v2").replace("127.0.0.1", "localhost")] {
        engine.change_settings(|settings| settings.of_services.set("mavi_url", address)).await.unwrap();
        let report = engine.check("mavi").await.unwrap();
        has_no_key_for_it(&engine, &report, mine.of_services.text("mavi_url"));
        assert_eq!(engine.asset_info("re_1", Some("mavi")).await.unwrap_err().code(), Code::Unauthorized);
        assert_eq!(engine.asset_delete("re_1", Some("mavi")).await.unwrap_err().code(), Code::Unauthorized);
        assert_eq!(mavi(&engine).key, KeyState::Memory, "the key is still there");
    }
    was_not_asked(&stranger);

    // Undone: the address is the key's own again.
    engine.save_settings(mine).await.unwrap();
    assert_eq!(engine.check("mavi").await.unwrap().key_accepted, Some(true));
    assert!(mavi(&engine).ready && mavi(&engine).key_belongs_to.is_none());

    // Entered anew, it belongs to the new address, and no longer to the old one.
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", stranger.url("/v2")))
        .await
        .unwrap();
    engine.set_key("mavi", Secret::new("sk-for-it")).await.unwrap();
    assert!(mavi(&engine).ready);
    engine.check("mavi").await.unwrap();
    let asked = stranger.requests();
    assert!(
        asked.iter().any(|head| head.contains("sk-for-it"))
            && !asked.iter().any(|head| head.contains(API_KEY))
    );
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", sandbox.mavi_url()))
        .await
        .unwrap();
    let report = engine.check("mavi").await.unwrap();
    has_no_key_for_it(&engine, &report, &stranger.url(""));
}

#[tokio::test]
async fn neither_an_imported_file_nor_a_reset_takes_a_key_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let (engine, _sandbox) = with_mavi(root.path()).await;
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    let stranger = stranger();
    let file = root.path().join("theirs.json");
    let theirs = Settings::default().with("mavi_url", stranger.url("/v2"));
    std::fs::write(&file, serde_json::to_vec(&theirs).unwrap()).unwrap();
    engine.import_settings(&file).await.unwrap();
    assert_eq!(engine.check("mavi").await.unwrap().key_accepted, Some(true));
    engine.reset_settings().await.unwrap();
    assert_eq!(engine.check("mavi").await.unwrap().key_accepted, Some(true));
    // The way that no guard of the fields stands in.
    engine.save_settings(theirs).await.unwrap();
    assert_eq!(engine.check("mavi").await.unwrap().key_accepted, None);
    was_not_asked(&stranger);
}

#[tokio::test]
async fn a_key_that_was_given_goes_to_the_address_beside_it_and_to_none_of_the_settings() {
    let root = tempfile::tempdir().unwrap();
    let stranger = stranger();
    let data = root.path().join("data");
    engine(&data).await.shutdown().await;
    let planted = Settings::default().with("mavi_url", stranger.url("/v2"));
    std::fs::write(data.join("settings.json"), serde_json::to_vec(&planted).unwrap()).unwrap();
    let mut options = Options::new(data.clone());
    options.keys.insert("mavi".into(), Secret::new(API_KEY));
    let engine = Engine::open(options.clone()).await.unwrap();
    let report = engine.check("mavi").await.unwrap();
    has_no_key_for_it(&engine, &report, Settings::default().of_services.text("mavi_url"));
    was_not_asked(&stranger);
    engine.shutdown().await;
    drop(engine);

    options.addresses.insert("mavi".into(), stranger.url("/v2"));
    let engine = Engine::open(options).await.unwrap();
    engine.check("mavi").await.unwrap();
    assert!(stranger.requests().iter().any(|head| head.contains(API_KEY)), "whoever gives both means it");
}

#[tokio::test]
async fn what_waits_for_a_key_goes_on_when_one_is_entered_for_its_address() {
    let root = tempfile::tempdir().unwrap();
    let options = ferry_sandbox::Options {
        root: root.path().join("sandbox"),
        port: 0,
        api_key: Some(API_KEY.to_owned()),
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut options = Options::new(root.path().join("data"));
    (options.keychain, options.resume_unfinished) = (false, true);
    let engine = Engine::open(options).await.unwrap();
    let stranger = stranger();
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", stranger.url("/v2")))
        .await
        .unwrap();
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", sandbox.mavi_url()))
        .await
        .unwrap();
    let request = DownloadRequest {
        what: "re_0123456789".into(),
        service: Some("mavi".into()),
        folder: Some(root.path().to_owned()),
        ..DownloadRequest::default()
    };
    let id = engine.download(request).await.unwrap();
    let until = async |what: &str, is_so: &dyn Fn(&State, bool) -> bool| {
        for _ in 0..2000 {
            let row = engine.transfer(id).unwrap();
            if is_so(&row.state, row.wait.is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", engine.transfer(id));
    };
    until("it stands still", &|state, waits| matches!(state, State::Failed(_)) || waits).await;
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    // The sandbox does not have it, and said so: it was asked, with a key that it takes.
    until(
        "it was asked",
        &|state, _| matches!(state, State::Failed(failure) if failure.code == Code::NotFound),
    )
    .await;
    was_not_asked(&stranger);
}

// ---- what was given to a service goes to no other address ----

#[tokio::test]
async fn a_transfer_keeps_the_address_that_it_was_given_for() {
    let root = tempfile::tempdir().unwrap();
    let (engine, sandbox) = with_mavi(root.path()).await;
    let file = root.path().join("private.txt");
    std::fs::write(&file, "for one service").unwrap();
    let request = || UploadRequest {
        paths: vec![file.clone()],
        service: Some("mavi".into()),
        ..UploadRequest::default()
    };
    let has_failed = async |id, code| {
        for _ in 0..2000 {
            let row = engine.transfer(id).unwrap();
            match row.state {
                State::Failed(failure) if failure.code == code => return failure,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("{:?}", engine.transfer(id));
    };
    let brought = DownloadRequest {
        what: "re_0123456789".into(),
        service: Some("mavi".into()),
        folder: Some(root.path().to_owned()),
        ..DownloadRequest::default()
    };
    let sent = engine.upload(request()).await.unwrap()[0];
    let brought = engine.download(brought).await.unwrap();
    // Nothing goes without a key.
    has_failed(sent, Code::Unauthorized).await;
    has_failed(brought, Code::Unauthorized).await;

    // Whoever has the settings in hand, and a key for the place of his choice.
    let stranger = stranger();
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", stranger.url("/v2")))
        .await
        .unwrap();
    engine.set_key("mavi", Secret::new("of-the-stranger")).await.unwrap();
    engine.resume(&[sent, brought]).await.unwrap();
    let failure = has_failed(sent, Code::Unsupported).await;
    has_failed(brought, Code::Unsupported).await;
    assert!(failure.message().contains("another address"), "{failure:?}");
    assert!(sandbox.mavi_url().starts_with(failure.why.unwrap().to_string().rsplit(' ').next().unwrap()));
    engine.retry(&[sent, brought]).await.unwrap();
    has_failed(sent, Code::Unsupported).await;
    was_not_asked(&stranger);

    // Set back, it goes on.
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", sandbox.mavi_url()))
        .await
        .unwrap();
    engine.set_key("mavi", Secret::new(API_KEY)).await.unwrap();
    engine.retry(&[brought]).await.unwrap();
    has_failed(brought, Code::NotFound).await;

    // Given anew, it is for the address that there is then: as another transfer.
    engine
        .change_settings(|settings| settings.of_services.set("mavi_url", stranger.url("/v2")))
        .await
        .unwrap();
    let again = engine.upload(request()).await.unwrap()[0];
    assert_ne!(again, sent);
    engine.shutdown().await;
}

#[tokio::test]
async fn whom_a_download_would_contact_is_said_as_the_engine_understands_it() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    let contact = |what: &str, service: Option<&str>| {
        let request = DownloadRequest {
            what: what.into(),
            service: service.map(Into::into),
            ..DownloadRequest::default()
        };
        engine.first_contact(&request).unwrap()
    };
    for (what, service, address) in [
        ("http://127.0.0.1:1/x", None, "http://127.0.0.1:1/x"),
        ("a.localhost:18141/x", None, "https://a.localhost:18141/x"),
        ("nas.local/x", Some("link"), "https://nas.local/x"),
    ] {
        let expected = FirstContact { carries_words: true, address: Some(address.into()) };
        assert_eq!(contact(what, service), expected, "{what}");
    }
    let nobody = FirstContact { carries_words: false, address: None };
    assert_eq!(contact("re_1", Some("mavi")), nobody, "it is at its built-in address");
    assert_eq!(contact("https://video.example/w?v=1", Some("sandbox")), nobody);
    for address in ["http://127.0.0.1:9/tube", "https://anybody.example"] {
        engine
            .change_settings(|settings| {
                settings.of_services.set("offline_tube_url", address);
                settings.of_services.set("mavi_url", address);
            })
            .await
            .unwrap();
        for (what, service) in [("https://video.example/w?v=1", "offline-tube"), ("re_1", "mavi")] {
            assert_eq!(contact(what, Some(service)).address.as_deref(), Some(address), "{service}");
        }
    }
    assert!(contact("https://video.example/w?v=1", Some("offline-tube")).carries_words);
}

#[tokio::test]
async fn what_a_change_entrusts_to_others_is_known_before_it_is_made() {
    let root = tempfile::tempdir().unwrap();
    let engine = engine(&root.path().join("data")).await;
    let entrusts = |text: &str| {
        let entrusted = engine.entrusts(&patch(text)).unwrap();
        (entrusted.origins, entrusted.removes_there)
    };
    for (change, service, origin) in [
        (r#"{"mavi_url": "https://Evil.example/serve/api/v2"}"#, "mavi", "https://evil.example"),
        (
            r#"{"visual_search_url": "https://api.memories.ai:8443/"}"#,
            "visual-search",
            "https://api.memories.ai:8443",
        ),
        (r#"{"offline_tube_url": "http://127.0.0.1:80/x"}"#, "offline-tube", "http://127.0.0.1"),
    ] {
        assert_eq!(entrusts(change), (vec![(service.into(), origin.to_owned())], false));
    }
    assert_eq!(entrusts(r#"{"remove_after": true}"#), (vec![], true));
    engine
        .patch_settings(patch(r#"{"offline_tube_url": "https://mine.example/", "remove_after": true}"#))
        .await
        .unwrap();
    for nothing_new in [
        r#"{"offline_tube_url": "https://mine.example/tube", "remove_after": true}"#,
        r#"{"offline_tube_url": "", "retries": 3}"#,
        r#"{"mavi_url": "https://mavi-backend.memories.ai/serve/api/v3"}"#,
    ] {
        assert_eq!(entrusts(nothing_new), (vec![], false), "{nothing_new}");
    }
    assert!(engine.entrusts(&patch(r#"{"mavi_url": "ftp://x"}"#)).is_err());
}
