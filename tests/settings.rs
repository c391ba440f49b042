//! Settings on their way to a file and back: what is taken over, what stays as it is here, what is refused.

use std::path::Path;

use ferry_engine::{Code, Engine, Language, Options, Settings, Theme};

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
