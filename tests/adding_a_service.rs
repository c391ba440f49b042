//! A service is its one file and its one line: what is promised of one that is added so (docs/adding-a-service.md), seen by
//! `tests/fixtures/echo.rs`, which nothing outside its file knows. A part of the engine's own tests: what a service
//! implements is nobody else's.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ServicePlace, ServiceStatus, SettingInput};
use crate::engine::{DownloadRequest, Engine, Options, UploadRequest};
use crate::error::Code;
use crate::secret::Secret;
use crate::secrets::KeyState;
use crate::service::{self, Input, Links};
use crate::settings::Settings;
use crate::transfer::{State, Transfer, TransferId, Verified};

const KEY: &str = "ec-key-1";
const CONTENT: &[u8] = b"hello, hello";

/// The service itself, listening.
#[derive(Default)]
struct Heard {
    /// What it was sent, by id.
    files: HashMap<String, (String, Option<Vec<u8>>)>,
    /// The voice that it was last asked for.
    voice: Option<String>,
}

type Shared = Arc<Mutex<Heard>>;

fn heard(shared: &Shared) -> std::sync::MutexGuard<'_, Heard> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listening() -> (String, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let (shared, origin) = (Shared::default(), base.replace("/api", ""));
    let answering = Arc::clone(&shared);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream, Arc::clone(&answering), origin.clone()));
        }
    });
    (base, shared)
}

/// Reads one request and answers it.
async fn answer(mut stream: TcpStream, shared: Shared, origin: String) {
    let mut request = Vec::new();
    let head_ends = loop {
        let end = request.windows(4).position(|window| window == b"\r\n\r\n");
        match end {
            Some(end) => break end + 4,
            None if stream.read_buf(&mut request).await.unwrap_or(0) == 0 => return,
            None => {}
        }
    };
    let head = String::from_utf8_lossy(&request[..head_ends]).into_owned();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
    while request.len() < head_ends + length {
        stream.read_buf(&mut request).await.unwrap();
    }
    let body = &request[head_ends..];
    let has_key = field("authorization").as_deref() == Some(KEY);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut of_type = "application/json";
    let (status, content) = match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        ["api", ..] if !has_key => (401, json!({"code": 401, "msg": "who are you?"}).to_string().into()),
        ["api", "hello"] => (200, json!({"code": 200, "data": {}}).to_string().into()),
        ["api", "sign"] => {
            let wanted: Value = serde_json::from_slice(body).unwrap();
            let mut heard = heard(&shared);
            let id = format!("ec_{}", heard.files.len() + 1);
            heard.files.insert(id.clone(), (wanted["name"].as_str().unwrap().to_owned(), None));
            heard.voice = wanted["voice"].as_str().map(str::to_owned);
            let url = format!("{origin}/store/{id}?signature=abc");
            (200, json!({"code": 200, "data": {"id": id, "url": url}}).to_string().into())
        }
        ["store", place] => {
            let id = place.split('?').next().unwrap();
            if let Some((_, content)) = heard(&shared).files.get_mut(id) {
                *content = Some(body.to_vec());
            }
            (200, Vec::new())
        }
        ["api", "heard", id] => match heard(&shared).files.get(id) {
            Some((name, content)) => {
                let size = content.as_ref().map(Vec::len);
                (200, json!({"code": 200, "data": {"name": name, "size": size}}).to_string().into())
            }
            None => (400, json!({"code": "silence", "msg": "nothing left to say"}).to_string().into()),
        },
        ["api", "said", id] => {
            of_type = "video/mp4";
            (200, heard(&shared).files[id].1.clone().unwrap())
        }
        _ => (404, Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {of_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    let _ = stream.write_all(&[head.into_bytes(), content].concat()).await;
}

async fn engine(root: &Path) -> Engine {
    let mut options = Options::new(root.join("data"));
    options.keychain = false;
    let engine = Engine::open(options).await.unwrap();
    let folder = Some(root.to_owned());
    engine.change_settings(|settings| settings.downloads_folder = folder).await.unwrap();
    engine
}

fn card(engine: &Engine) -> ServiceStatus {
    engine.services().into_iter().find(|status| status.id == "echo").unwrap()
}

async fn ended(engine: &Engine, id: TransferId) -> Transfer {
    let mut changes = engine.subscribe();
    loop {
        let row = engine.transfer(id).unwrap();
        if row.state.has_ended() {
            return row;
        }
        let _ = changes.recv().await;
    }
}

#[tokio::test]
async fn a_file_goes_to_an_added_service_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let (address, shared) = listening().await;
    let engine = engine(root.path()).await;
    engine.change_settings(|all| all.of_services.set("echo_url", address)).await.unwrap();
    engine.set_key("echo", Secret::new(KEY)).await.unwrap();
    let report = engine.check("echo").await.unwrap();
    assert!(report.key_accepted == Some(true) && report.now_default, "{report:?}");
    engine.change_settings(|all| all.of_services.set("echo_voice", "loud")).await.unwrap();

    let source = root.path().join("voice.mp4");
    fs::write(&source, CONTENT).unwrap();
    // No service is named: its first key has made it the default one.
    let upload = UploadRequest { paths: vec![source], ..UploadRequest::default() };
    let [sent] = engine.upload(upload).await.unwrap()[..] else { panic!("one file") };
    let sent = ended(&engine, sent).await;
    assert_eq!((&sent.state, &*sent.service), (&State::Completed, "echo"));
    assert_eq!(sent.verified, Some(Verified::Length), "{sent:?}");
    assert_eq!(heard(&shared).voice.as_deref(), Some("loud"), "what is set on its card");
    let id = sent.asset_id.unwrap();
    assert_eq!(engine.asset_info(&id, None).await.unwrap().size, Some(CONTENT.len() as u64));

    let reading = engine.recognise(&id).swap_remove(0);
    assert_eq!((&*reading.service, &*reading.label, reading.ready), ("echo", "Echo of a file", true));
    let folder = root.path().join("back");
    fs::create_dir(&folder).unwrap();
    let download =
        DownloadRequest { what: id.to_string(), folder: Some(folder.clone()), ..DownloadRequest::default() };
    let brought = engine.download(download).await.unwrap();
    let brought = ended(&engine, brought).await;
    assert_eq!(brought.state, State::Completed, "{brought:?}");
    assert_eq!(fs::read(folder.join("voice.mp4")).unwrap(), CONTENT);

    // What its refusals mean stands in its file; sentences call it by its name.
    let refused = engine.asset_info("ec_9", Some("echo")).await.unwrap_err();
    assert_eq!(refused.code(), Code::QuotaExceeded);
    assert!(refused.to_string().starts_with("Echo: ") || refused.to_string().contains("Echo"), "{refused}");
    assert!(refused.to_string().contains("echo.example"), "{refused}");
}

#[tokio::test]
async fn the_card_of_an_added_service_says_what_can_be_set() {
    let root = tempfile::tempdir().unwrap();
    let here = engine(root.path()).await;
    let before = card(&here);
    assert_eq!((&*before.name, &*before.description), ("Echo", "Gives back what it was sent"));
    assert!(before.uploads && before.may_be_default && !before.is_at_first && !before.ready);
    assert_eq!((before.place, before.address_setting.as_deref()), (ServicePlace::Address, Some("echo_url")));
    assert_eq!(before.key, KeyState::Missing);
    let [method, voice] = &before.settings[..] else { panic!("{:?}", before.settings) };
    assert_eq!(
        (&*method.name, &method.input, &method.value),
        ("echo_method", &SettingInput::Method, &json!("auto"))
    );
    let of = vec!["plain".to_owned(), "loud".to_owned()];
    assert_eq!((&voice.input, &voice.value), (&SettingInput::Choice { of }, &json!("plain")));

    let patch = |text: &str| serde_json::from_str(text).unwrap();
    let changed =
        here.patch_settings(patch(r#"{"echo_method": "put", "echo_voice": "loud"}"#)).await.unwrap();
    assert_eq!(changed.upload_method("echo"), crate::upload_method::UploadMethod::Put);
    assert_eq!(card(&here).settings[1].value, json!("loud"));
    for wrong in
        [r#"{"echo_method": "fax"}"#, r#"{"echo_voice": 3}"#, r#"{"echo_url": "ftp://x"}"#, r#"{"echo": 1}"#]
    {
        assert!(here.patch_settings(patch(wrong)).await.is_err(), "{wrong}");
    }
    here.shutdown().await;
    // In the file as it is in that of the other services.
    let text = fs::read_to_string(root.path().join("data/settings.json")).unwrap();
    assert!(text.contains(r#""echo_voice": "loud""#) && text.contains(r#""mavi_url": "#), "{text}");
    drop(here);
    assert_eq!(card(&engine(root.path()).await).settings[1].value, json!("loud"));
}

#[tokio::test]
async fn a_key_of_an_added_service_goes_to_the_address_that_it_was_given_for_and_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let ((mine, _), (other, _)) = (listening().await, listening().await);
    let mut options = Options::new(root.path().join("data"));
    options.keychain = false;
    options.addresses.insert("echo".into(), mine.clone());
    options.keys.insert("echo".into(), Secret::new(KEY));
    let engine = Engine::open(options).await.unwrap();
    let card_now = card(&engine);
    assert!(card_now.address == mine && card_now.address_from_variable && card_now.ready, "{card_now:?}");
    assert_eq!(engine.settings().default_service, "echo", "its key is there: it is set up");
    assert_eq!(engine.check("echo").await.unwrap().key_accepted, Some(true));
    engine.shutdown().await;
    drop(engine);

    let engine = self::engine(root.path()).await;
    assert_eq!(engine.settings().default_service, "sandbox", "and without the key it is not");
    engine.change_settings(|all| all.of_services.set("echo_url", mine.clone())).await.unwrap();
    engine.set_key("echo", Secret::new(KEY)).await.unwrap();
    engine.change_settings(|all| all.of_services.set("echo_url", other)).await.unwrap();
    let report = engine.check("echo").await.unwrap();
    assert_eq!((report.key_accepted, card(&engine).ready), (None, false), "{report:?}");
    assert_eq!(card(&engine).key_belongs_to.as_deref(), Some(mine.trim_end_matches("/api")));
    // An import and a reset leave addresses where they are.
    engine.reset_settings().await.unwrap();
    assert_ne!(engine.settings().of_services.text("echo_url"), "");
}

#[test]
fn settings_of_services_that_are_no_more_are_passed_over_and_the_others_count() {
    let text = r#"{"default_service": "echo", "ftp_url": "ftp://x", "quality": "best", "retries": 7}"#;
    let settings = Settings::parse(text.as_bytes()).unwrap();
    assert_eq!((settings.retries, settings.of_services.text("quality")), (7, "best"));
    assert_eq!(settings.address("mavi"), service::about("mavi").unwrap().built_in());
    for wrong in [r#"{"quality": 1}"#, r#"{"remove_after": "yes"}"#, r#"{"default_service": "link"}"#] {
        assert!(Settings::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

/// Places where the word means something else.
const OTHER_MEANINGS: [(&str, &str, &str); 2] = [
    ("engine/src/files/own_folder.rs", "sandbox", "a folder in the data folder"),
    ("cli/src/commands/upload.rs", "link", "a link in a folder that is sent"),
];

/// The sources of a tree, without those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Made by a tool from ui/messages.
            if !path.ends_with("paraglide") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs" || end == "ts" || end == "svelte") {
            found.push(path);
        }
    }
}

/// The code of a source: no comments, and no tests at its end.
fn code(text: &str) -> String {
    let text = text.find("\nmod tests {").map_or(text, |at| &text[..at]);
    let is_code = |line: &&str| !["//", "*", "/*"].iter().any(|start| line.trim_start().starts_with(start));
    text.lines().filter(is_code).map(|line| format!("{line}\n")).collect()
}

#[test]
fn no_service_is_named_outside_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for tree in ["src-tauri/engine/src", "src-tauri/cli/src", "src-tauri/src", "ui/src"] {
        sources(&root.join(tree), &mut files);
    }
    assert!(files.len() > 200, "the sources are elsewhere: {}", files.len());
    let mut named = Vec::new();
    for about in service::all() {
        let file_of_its_own = format!("engine/src/services/{}.rs", about.id.replace('-', "_"));
        let names = about.address_names().into_iter().flat_map(|(setting, variable)| [setting, variable]);
        let names: Vec<&str> =
            names.chain(about.key_variable).chain(about.settings.iter().map(|one| one.name)).collect();
        for file in &files {
            let path = file.to_string_lossy().replace('\\', "/");
            let text = code(&fs::read_to_string(file).unwrap());
            let is_page = path.contains("/ui/src/");
            let quote = if is_page { '\'' } else { '"' };
            let is_named = |name: &str| {
                let is_key = |line: &str| line.trim_start().starts_with(&format!("{name}:"));
                text.contains(&format!("{quote}{name}{quote}")) || (is_page && text.lines().any(is_key))
            };
            if path.ends_with(&file_of_its_own) {
                assert!(is_named(about.id), "the search finds nothing in {path}");
                continue;
            }
            let has_other = OTHER_MEANINGS.iter().any(|(end, id, _)| path.ends_with(end) && *id == about.id);
            let id = [about.id].into_iter().filter(|_| !has_other);
            // What the page asks for itself has fields of these names.
            let names = names.iter().copied().filter(|_| !path.ends_with("/types.ts"));
            named.extend(id.chain(names).filter(|name| is_named(name)).map(|name| format!("{path}: {name}")));
        }
    }
    assert!(named.is_empty(), "{named:#?}");
}

#[test]
fn the_page_calls_services_as_the_engine_does_and_in_each_language_or_none() {
    let messages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/messages");
    let languages: Vec<(String, serde_json::Map<String, Value>)> = fs::read_dir(messages)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap())
        })
        .collect();
    let mut english = HashMap::new();
    for about in service::all() {
        let mut of = |what: &str, words: &str| {
            let words = words.to_owned();
            english.insert(format!("service_{what}_{}", about.id.replace('-', "_")), words);
        };
        of("name", about.name);
        of("about", about.description);
        of("label", about.label);
        match about.links {
            Links::Pages(label) | Links::Any(label) => of("link", label),
            Links::None => {}
        }
        for setting in about.settings {
            english.insert(format!("setting_{}", setting.name), setting.label.to_owned());
            if let Input::Switch { yes, no, .. } = setting.input {
                english.insert(format!("setting_{}_yes", setting.name), yes.to_owned());
                english.insert(format!("setting_{}_no", setting.name), no.to_owned());
            }
        }
    }
    let kinds = ["service_name_", "service_about_", "service_label_", "service_link_", "setting_"];
    for (language, all) in &languages {
        for (name, words) in all.iter().filter(|(name, _)| kinds.iter().any(|kind| name.starts_with(kind))) {
            let wanted = english.get(name).unwrap_or_else(|| panic!("{name} is of no service"));
            assert!(language != "en" || words == wanted, "{name}: {words}, and the engine says {wanted}");
            assert!(
                languages.iter().all(|(_, all)| all.contains_key(name)),
                "{name} is not in every language"
            );
        }
    }
    assert!(languages.len() > 2 && languages[0].1.contains_key("service_about_mavi"));
}
