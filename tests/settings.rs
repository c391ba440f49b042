//! Settings on their way to a file and back: what is taken over, what stays as it is here, what is refused.

use std::path::Path;
use std::time::Duration;

use ferry_engine::{Code, Engine, Language, Options, Secret, Settings, SettingsPatch, Theme};
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
        mavi_url: "https://mavi.example/serve/api/v2".into(),
        visual_search_url: "https://search.example/serve/api/v1".into(),
        offline_tube_url: "https://media.example".into(),
        theme: Theme::Dark,
        language: Language::Es,
        start_at_login: true,
        close_to_tray: true,
        welcomed: true,
        told_of_tray: true,
        ..Settings::default()
    }
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
        mavi_url: before.mavi_url,
        visual_search_url: before.visual_search_url,
        offline_tube_url: before.offline_tube_url,
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
            mavi_url: mine.mavi_url,
            visual_search_url: mine.visual_search_url,
            offline_tube_url: mine.offline_tube_url,
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
        (wanted.quality, wanted.unique_id) = ("best".into(), "mine".into());
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
    engine.change_settings(|settings| settings.mavi_url = sandbox.mavi_url()).await.unwrap();
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
