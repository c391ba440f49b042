//! What the page may ask for: parse, call the engine, return. Errors cross as [`Failure`].
#![expect(clippy::needless_pass_by_value, reason = "Tauri hands every argument over by value")]

use std::path::{Path, PathBuf};

use ferry_engine::{
    AddedDownload, AddedUploads, Asset, AssetInfo, Can, Cause, CheckReport, DownloadRequest, Engine, Error,
    Failure, Foreign, Hidden, Hour, ImportedAssets, KeyState, Kind, LinkOffer, ListWindow, Listing, Look,
    Opening, PathSummary, Phrase, Pictures, Recognised, Secret, ServiceId, Settings, SettingsPatch,
    State as Stands, TakenBack, TimelineEntry, Transfer, TransferId, UploadRequest, Where,
};
use rfd::AsyncFileDialog;
use serde::{Deserialize, Serialize};
use tauri::{AppHandle, Manager as _, State, WebviewWindow};
use tauri_plugin_autostart::ManagerExt as _;
use tauri_plugin_opener::OpenerExt as _;

use crate::context_menu::{MenuEntry, MenuPlace};
use crate::deep_link::Proposed;
use crate::granted_paths::GrantedPaths;
use crate::openable::{self, Opening as Opens};
use crate::questions::{self, Question};
use crate::spoken::Spoken;
use crate::spoken::fill;
use crate::thumbnails::{self, Thumbnails};
use crate::{background, clipboard, context_menu, disk, drag_out, presses, report, show_theme};

type Answer<T> = Result<T, Failure>;

/// The engine's error as the page shows it.
fn failure(error: Error) -> Failure {
    Failure::from(&error)
}

/// Everything that the page needs to draw itself.
#[tauri::command(async)]
pub(crate) fn open(list: State<'_, ListWindow>, look: Look, fresh: bool) -> Opening {
    list.open(look, fresh)
}

/// The list from another place, or another view of it.
#[tauri::command(async)]
pub(crate) fn look(list: State<'_, ListWindow>, look: Look) -> Listing {
    list.look(look)
}

/// These rows.
#[tauri::command(async)]
pub(crate) fn rows(list: State<'_, ListWindow>, ids: Vec<TransferId>) -> Vec<Transfer> {
    list.rows(&ids)
}

/// Those of these, or of all, with which this can be done.
#[tauri::command(async)]
pub(crate) fn which(list: State<'_, ListWindow>, ids: Option<Vec<TransferId>>, can: Can) -> Vec<TransferId> {
    list.which(ids.as_deref(), can)
}

/// The shown rows from one to the other.
#[tauri::command(async)]
pub(crate) fn between(
    list: State<'_, ListWindow>,
    from: Option<TransferId>,
    to: Option<TransferId>,
) -> Vec<TransferId> {
    list.between(from, to)
}

/// Takes rows out of sight until their removal is final.
#[tauri::command]
pub(crate) async fn hide(list: State<'_, ListWindow>, ids: Vec<TransferId>) -> Answer<Hidden> {
    list.hide(&ids).await.map_err(failure)
}

/// Shows hidden rows again.
#[tauri::command(async)]
pub(crate) fn unhide(list: State<'_, ListWindow>, ids: Vec<TransferId>) {
    list.unhide(&ids);
}

/// Bytes completed since each of these moments and before the next.
#[tauri::command(async)]
pub(crate) fn day(list: State<'_, ListWindow>, hours: Vec<u64>) -> Vec<Hour> {
    list.day(&hours)
}

/// Lets the user choose files, or folders; empty = the dialog was closed.
#[tauri::command]
pub(crate) async fn pick_files(app: AppHandle, window: WebviewWindow, folders: bool) -> Answer<Vec<String>> {
    presses::require(&app)?;
    let (dialog, words) = (dialog(&window), words(&window));
    let picked = if folders {
        dialog.set_title(&words.shell_upload_folders).pick_folders().await
    } else {
        dialog.set_title(&words.shell_upload_files).pick_files().await
    };
    let mut paths = Vec::new();
    for handle in picked.into_iter().flatten() {
        paths.push(text_of(handle.path())?);
    }
    app.state::<GrantedPaths>().grant(paths.iter().map(PathBuf::from));
    Ok(paths)
}

/// Counts what lies below dropped, hovering or chosen paths.
#[tauri::command]
pub(crate) async fn summarise(
    granted: State<'_, GrantedPaths>,
    engine: State<'_, Engine>,
    paths: Vec<PathBuf>,
) -> Answer<PathSummary> {
    granted.require_visible(&paths)?;
    engine.summarise(paths).await.map_err(failure)
}

/// Sends files that the user dropped or chose, or answers with a question about those that were sent before. What is sent
/// is not sent again until it is dropped or chosen again.
#[tauri::command]
pub(crate) async fn upload(
    granted: State<'_, GrantedPaths>,
    engine: State<'_, Engine>,
    request: UploadRequest,
) -> Answer<AddedUploads> {
    if request.to.is_some() {
        return Err(failure(Error::new(Cause::PermissionDenied, Phrase::WindowSendsToServices)));
    }
    let taken = granted.take(&request.paths)?;
    let added = engine.add_uploads(request).await.map_err(failure)?;
    if added.question.is_none() {
        taken.use_up();
    }
    Ok(added)
}

/// Ends the comparison of files with what was sent before.
#[tauri::command(async)]
pub(crate) fn stop_comparing(engine: State<'_, Engine>) {
    engine.stop_comparing();
}

/// Brings a file into the Downloads folder. The page does not choose the folder. A link carries words to its server: one
/// that nobody pressed anything for is not followed, and into the own network only once the user has agreed.
#[tauri::command]
pub(crate) async fn download(
    app: AppHandle,
    engine: State<'_, Engine>,
    request: DownloadRequest,
) -> Answer<AddedDownload> {
    if request.folder.is_some() {
        let error = Error::new(Cause::PermissionDenied, Phrase::WindowSavesToDownloads)
            .advise(Phrase::ChooseDownloadsFolder);
        return Err(failure(error));
    }
    // What is removed at a service was agreed to in the settings, or is not.
    let request = DownloadRequest { remove_after: request.remove_after.filter(|wanted| !wanted), ..request };
    fetch(&app, &engine, request).await
}

/// Downloads what the page asks for, once the user has agreed to whom that contacts.
async fn fetch(app: &AppHandle, engine: &Engine, request: DownloadRequest) -> Answer<AddedDownload> {
    let contact = engine.first_contact(&request).map_err(failure)?;
    if contact.carries_words || contact.address.is_some() {
        presses::require(app)?;
    }
    if let Some(address) = &contact.address {
        questions::inward_fetch(app, address).await?;
    }
    engine.add_download(request).await.map_err(failure)
}

/// What the add bar's text could be, best first.
#[tauri::command(async)]
pub(crate) fn recognise(engine: State<'_, Engine>, text: &str) -> Vec<Recognised> {
    engine.recognise(text)
}

/// Stops these where they stand.
#[tauri::command]
pub(crate) async fn pause(engine: State<'_, Engine>, ids: Vec<TransferId>) -> Answer<()> {
    engine.pause(&ids).await.map_err(failure)
}

/// Goes on with these.
#[tauri::command]
pub(crate) async fn resume(engine: State<'_, Engine>, ids: Vec<TransferId>) -> Answer<()> {
    engine.resume(&ids).await.map_err(failure)
}

/// Gives these up.
#[tauri::command]
pub(crate) async fn cancel(engine: State<'_, Engine>, ids: Vec<TransferId>) -> Answer<()> {
    engine.cancel(&ids).await.map_err(failure)
}

/// Tries these again.
#[tauri::command]
pub(crate) async fn retry(engine: State<'_, Engine>, ids: Vec<TransferId>) -> Answer<()> {
    engine.retry(&ids).await.map_err(failure)
}

/// Takes these off the list.
#[tauri::command]
pub(crate) async fn remove(engine: State<'_, Engine>, ids: Vec<TransferId>) -> Answer<()> {
    engine.remove(&ids).await.map_err(failure)
}

/// Moves these among what is still to be done.
#[tauri::command]
pub(crate) async fn move_rows(list: State<'_, ListWindow>, ids: Vec<TransferId>, to: Where) -> Answer<()> {
    list.move_rows(&ids, to).await.map_err(failure)
}

/// Puts these behind another one of what is still to be done, or to its front.
#[tauri::command]
pub(crate) async fn move_behind(
    list: State<'_, ListWindow>,
    ids: Vec<TransferId>,
    above: Option<TransferId>,
) -> Answer<()> {
    list.move_behind(&ids, above).await.map_err(failure)
}

/// Takes these, which had just come onto the list, off it again, and answers how many.
#[tauri::command]
pub(crate) async fn take_back(list: State<'_, ListWindow>, ids: Vec<TransferId>) -> Answer<TakenBack> {
    list.take_back(&ids).await.map_err(failure)
}

/// A transfer's history.
#[tauri::command]
pub(crate) async fn timeline(engine: State<'_, Engine>, id: TransferId) -> Answer<Vec<TimelineEntry>> {
    engine.timeline(id).await.map_err(failure)
}

/// What the details of a transfer draw.
#[tauri::command]
pub(crate) async fn pictures(engine: State<'_, Engine>, id: TransferId) -> Answer<Pictures> {
    engine.pictures(id).await.map_err(failure)
}

/// Shows a transfer's file in the system's file manager.
#[tauri::command]
pub(crate) async fn show_in_folder(app: AppHandle, engine: State<'_, Engine>, id: TransferId) -> Answer<()> {
    presses::require(&app)?;
    reveal(app, file_of(&engine, id).await?).await
}

/// Opens a transfer's file with the program for its kind: at once if it is something to look at, else after a question of
/// the desktop's. What would run is shown in its folder instead.
#[tauri::command]
pub(crate) async fn open_file(app: AppHandle, engine: State<'_, Engine>, id: TransferId) -> Answer<()> {
    presses::require(&app)?;
    let path = file_of(&engine, id).await?;
    let looked_at = path.clone();
    match disk::ask(move || openable::opening(&looked_at)).await.ok_or_else(|| silent(&path))? {
        Opens::Opens => {}
        Opens::Asks => {
            let words = Spoken::now(&app);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let question = Question {
                title: fill(&words.shell_open_title, &[("name", &name)]),
                text: words.shell_open_text.clone(),
                yes: words.shell_open_do.clone(),
                no: words.shell_open_keep.clone(),
            };
            if !questions::agreed(&app, question).await {
                return Ok(());
            }
        }
        Opens::Shows => return reveal(app, path).await,
    }
    app.opener().open_path(text_of(&path)?, None::<&str>).map_err(|error| {
        failure(
            Error::internal(Phrase::FileNotOpened).because(error.to_string()).advise(Phrase::ShowInFolder),
        )
    })
}

/// A small picture of a finished image or video, as a `data:` URL; nothing where there is none to be had.
#[tauri::command]
pub(crate) async fn thumbnail(
    engine: State<'_, Engine>,
    thumbnails: State<'_, Thumbnails>,
    id: TransferId,
) -> Answer<Option<String>> {
    let transfer = engine.transfer(id).filter(|transfer| transfer.state == Stands::Completed);
    let Some(path) = transfer.as_ref().and_then(finished_path) else { return Ok(None) };
    Ok(thumbnails.of(path).await.map(|bytes| thumbnails::as_url(&bytes)))
}

/// Whether a transfer's file is still where it was: it may have been moved, or its drive may be gone.
#[tauri::command]
pub(crate) async fn file_there(engine: State<'_, Engine>, id: TransferId) -> Answer<bool> {
    Ok(file_of(&engine, id).await.is_ok())
}

/// Whether a download can be had once more without a new link.
#[tauri::command(async)]
pub(crate) fn can_download_again(engine: State<'_, Engine>, id: TransferId) -> bool {
    engine.can_download_again(id)
}

/// Downloads the same once more.
#[tauri::command]
pub(crate) async fn download_again(
    app: AppHandle,
    engine: State<'_, Engine>,
    id: TransferId,
) -> Answer<AddedDownload> {
    presses::require(&app)?;
    fetch(&app, &engine, engine.request_again(id).map_err(failure)?).await
}

/// The library.
#[tauri::command]
pub(crate) async fn assets(engine: State<'_, Engine>, search: String) -> Answer<Vec<Asset>> {
    engine.assets(&search).await.map_err(failure)
}

/// How many files the library knows.
#[tauri::command]
pub(crate) async fn asset_count(engine: State<'_, Engine>) -> Answer<u64> {
    engine.asset_count().await.map_err(failure)
}

/// What the service says about an asset just now.
#[tauri::command]
pub(crate) async fn asset_info(
    engine: State<'_, Engine>,
    asset_id: String,
    service: Option<ServiceId>,
) -> Answer<AssetInfo> {
    engine.asset_info(&asset_id, service.as_deref()).await.map_err(failure)
}

/// An asset, and where it is.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(export, export_to = "window.ts"))]
pub(crate) struct AssetAt {
    asset_id: String,
    #[cfg_attr(test, ts(type = "ServiceId"))]
    service: ServiceId,
}

/// What became of assets that were to be deleted.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(export, export_to = "window.ts"))]
pub(crate) struct Deleted {
    /// The ids of those that are gone. None = the user thought better of it.
    gone: Vec<String>,
    /// Why the others are still there.
    #[cfg_attr(test, ts(type = "Failure | null"))]
    failure: Option<Failure>,
}

/// Deletes assets of a service there, once the user has agreed in a dialog of the desktop's.
#[tauri::command]
pub(crate) async fn asset_delete(
    app: AppHandle,
    engine: State<'_, Engine>,
    assets: Vec<AssetAt>,
) -> Answer<Deleted> {
    presses::require(&app)?;
    let Some(first) = assets.first() else { return Ok(Deleted::default()) };
    let words = Spoken::now(&app);
    let label = name_of(&first.service);
    // Every one of them is deleted where the question says.
    if assets.iter().any(|asset| asset.service != first.service) {
        return Err(failure(Error::invalid(Phrase::NotAgreedTo)));
    }
    let title = if assets.len() == 1 {
        // The page does not choose the name that is asked about.
        let known = engine.assets(&first.asset_id).await.map_err(failure)?;
        let known =
            known.into_iter().find(|one| one.asset_id == first.asset_id && one.service == first.service);
        let name = known.map_or_else(|| first.asset_id.clone(), |asset| asset.name.to_string());
        fill(&words.asset_delete_title, &[("name", &name), ("service", &label)])
    } else {
        let count = assets.len().to_string();
        fill(&words.shell_delete_many, &[("n", &count), ("service", &label)])
    };
    let question = Question {
        title,
        text: words.asset_delete_text.clone(),
        yes: fill(&words.asset_delete_confirm, &[("service", &label)]),
        no: words.shell_delete_keep.clone(),
    };
    let mut deleted = Deleted::default();
    if !questions::agreed(&app, question).await {
        return Ok(deleted);
    }
    for AssetAt { asset_id, service } in assets {
        match engine.asset_delete(&asset_id, Some(&service)).await {
            Ok(()) => deleted.gone.push(asset_id),
            Err(error) => {
                deleted.failure = Some(failure(error));
                break;
            }
        }
    }
    Ok(deleted)
}

/// Writes the library to a file of the user's choice; nothing = the dialog was closed.
#[tauri::command]
pub(crate) async fn export_assets(
    window: WebviewWindow,
    engine: State<'_, Engine>,
) -> Answer<Option<String>> {
    presses::require(window.app_handle())?;
    let words = words(&window);
    let dialog = dialog(&window)
        .set_title(&words.shell_export_library)
        .set_file_name("ferry-library.csv")
        .add_filter(&words.shell_table, &["csv"])
        .add_filter("JSON", &["json"]);
    let Some(chosen) = dialog.save_file().await else { return Ok(None) };
    engine.export_assets(chosen.path()).await.map_err(failure)?;
    Ok(Some(chosen.path().display().to_string()))
}

/// Takes in a library from a file of the user's choice; nothing = the dialog was closed.
#[tauri::command]
pub(crate) async fn import_assets(
    window: WebviewWindow,
    engine: State<'_, Engine>,
) -> Answer<Option<ImportedAssets>> {
    presses::require(window.app_handle())?;
    let words = words(&window);
    let dialog = dialog(&window)
        .set_title(&words.shell_import_library)
        .add_filter(&words.shell_library, &["csv", "json"]);
    let Some(chosen) = dialog.pick_file().await else { return Ok(None) };
    engine.import_assets(chosen.path()).await.map(Some).map_err(failure)
}

/// Checks a service, live.
#[tauri::command]
pub(crate) async fn check(engine: State<'_, Engine>, service: ServiceId) -> Answer<CheckReport> {
    engine.check(service).await.map_err(failure)
}

/// Keeps a key. It never comes back.
#[tauri::command]
pub(crate) async fn set_key(engine: State<'_, Engine>, service: ServiceId, key: String) -> Answer<KeyState> {
    engine.set_key(service, Secret::new(key)).await.map_err(failure)
}

/// Forgets a key.
#[tauri::command]
pub(crate) async fn remove_key(engine: State<'_, Engine>, service: ServiceId) -> Answer<()> {
    engine.remove_key(service).await.map_err(failure)
}

/// Changes settings, except for what the page has no say in: the Downloads folder, which only the user's own choice in a
/// dialog changes, and what was said once. To whom files go, and that they are removed at a service, the user agrees in a dialog
/// of the desktop's; to be started with the desktop takes a press. Gives what is in force now.
#[tauri::command]
pub(crate) async fn save_settings(
    window: WebviewWindow,
    engine: State<'_, Engine>,
    changes: SettingsPatch,
) -> Answer<Settings> {
    let before = engine.settings();
    let changes = changes.without("downloads_folder").without("told_of_tray");
    let app = window.app_handle();
    if !before.start_at_login && changes.is_on("start_at_login") {
        presses::require(app)?;
    }
    let entrusted = engine.entrusts(&changes).map_err(failure)?;
    for (service, origin) in &entrusted.origins {
        presses::require(app)?;
        questions::new_address(app, &name_of(service), origin).await?;
    }
    if entrusted.removes_there {
        presses::require(app)?;
        questions::removal_there(app).await?;
    }
    let after = engine.patch_settings(changes).await.map_err(failure)?;
    if after.start_at_login != before.start_at_login
        && let Err(refused) = start_with_desktop(window.app_handle(), after.start_at_login)
    {
        let back = |settings: &mut Settings| settings.start_at_login = before.start_at_login;
        engine.change_settings(back).await.map_err(failure)?;
        return Err(refused);
    }
    if after.theme != before.theme {
        show_theme(&window, after.theme);
    }
    Ok(after)
}

/// Whether the window may be closed and Ferry go on: whether a tray icon is there to bring it back.
#[tauri::command(async)]
pub(crate) fn tray_there(app: AppHandle) -> bool {
    background::has_way_back(&app)
}

fn start_with_desktop(app: &AppHandle, wanted: bool) -> Answer<()> {
    let launcher = app.autolaunch();
    let outcome = if wanted { launcher.enable() } else { launcher.disable() };
    outcome.map_err(|error| {
        let error = Error::new(Cause::PermissionDenied, Phrase::DesktopRefused).because(error.to_string());
        failure(error.advise(Phrase::SetInDesktop))
    })
}

/// Everything as it was at first, but where files and keys go. Gives what is in force now.
#[tauri::command]
pub(crate) async fn reset_settings(window: WebviewWindow, engine: State<'_, Engine>) -> Answer<Settings> {
    let settings = engine.reset_settings().await.map_err(failure)?;
    show_theme(&window, settings.theme);
    Ok(settings)
}

/// Writes the settings to a file of the user's choice; false = the dialog was closed.
#[tauri::command]
pub(crate) async fn export_settings(window: WebviewWindow, engine: State<'_, Engine>) -> Answer<bool> {
    presses::require(window.app_handle())?;
    let dialog = dialog(&window)
        .set_title(&words(&window).shell_export_settings)
        .set_file_name("ferry-settings.json")
        .add_filter("JSON", &["json"]);
    let Some(chosen) = dialog.save_file().await else { return Ok(false) };
    engine.export_settings(chosen.path()).await.map_err(failure)?;
    Ok(true)
}

/// Takes settings over from a file of the user's choice; nothing = the dialog was closed.
#[tauri::command]
pub(crate) async fn import_settings(
    window: WebviewWindow,
    engine: State<'_, Engine>,
) -> Answer<Option<Settings>> {
    presses::require(window.app_handle())?;
    let dialog =
        dialog(&window).set_title(&words(&window).shell_import_settings).add_filter("JSON", &["json"]);
    let Some(chosen) = dialog.pick_file().await else { return Ok(None) };
    let settings = engine.import_settings(chosen.path()).await.map_err(failure)?;
    show_theme(&window, settings.theme);
    Ok(Some(settings))
}

/// What a `ferry://` link proposes, if one waits for an answer.
#[tauri::command(async)]
pub(crate) fn link_offer(proposed: State<'_, Proposed>) -> Option<LinkOffer> {
    proposed.offer()
}

/// The user's answer to what a link proposes: by which service, or not at all. Only what was offered is started, and only
/// once the user has agreed in a dialog of the desktop's: what the page says is not enough.
#[tauri::command]
pub(crate) async fn answer_link(
    app: AppHandle,
    engine: State<'_, Engine>,
    proposed: State<'_, Proposed>,
    shown: String,
    service: Option<ServiceId>,
) -> Answer<Option<TransferId>> {
    let Some(request) = proposed.answer(&shown, service) else { return Ok(None) };
    let words = Spoken::now(&app);
    let by = name_of(&request.service.clone().unwrap_or_default());
    let by = fill(&words.shell_link_by, &[("service", &by)]);
    let question = Question {
        title: words.link_title.clone(),
        text: format!("{shown}\n{by}\n\n{}", words.link_text),
        yes: words.add_download.clone(),
        no: words.link_decline.clone(),
    };
    if !questions::agreed_in_turn(&app, question).await {
        return Ok(None);
    }
    engine.download(request).await.map(Some).map_err(failure)
}

/// Opens the menu of a row. Answers what was chosen; nothing = the menu was closed.
#[tauri::command]
pub(crate) async fn open_menu(
    window: WebviewWindow,
    groups: Vec<Vec<MenuEntry>>,
    at: Option<MenuPlace>,
) -> Answer<Option<String>> {
    context_menu::open(&window, groups, at).await
}

/// What is in the menu bar of a Mac: the page's commands, and the system's own by name.
#[cfg(target_os = "macos")]
#[tauri::command(async)]
pub(crate) fn set_menu_bar(app: AppHandle, menus: Vec<context_menu::BarMenu>) -> Answer<()> {
    crate::menu_bar::show(&app, menus).map_err(|error| failure(Error::internal(error.to_string())))
}

/// Puts text on the clipboard.
#[tauri::command(async)]
pub(crate) fn copy_text(window: WebviewWindow, text: String) -> Answer<()> {
    clipboard::put(&window, text).map_err(|why| failure(Error::internal(Phrase::NotCopied).because(why)))
}

/// The text on the clipboard; nothing = there is none. One look for each press.
#[tauri::command]
pub(crate) async fn paste_text(window: WebviewWindow) -> Answer<Option<String>> {
    presses::require_one(window.app_handle())?;
    clipboard::take(&window).await.map_err(|why| failure(Error::internal(Phrase::NotPasted).because(why)))
}

/// Lets finished files be dragged to another program. False where the system cannot.
#[tauri::command]
pub(crate) async fn drag_out(
    window: WebviewWindow,
    engine: State<'_, Engine>,
    ids: Vec<TransferId>,
) -> Answer<bool> {
    let paths = ids.into_iter().filter_map(|id| engine.transfer(id).as_ref().and_then(finished_path));
    let paths: Vec<PathBuf> = paths.collect();
    // Of all of them in one question: the pointer is still down.
    let there = disk::ask(move || paths.into_iter().filter(|path| path.exists()).collect::<Vec<_>>()).await;
    Ok(there.is_some_and(|there| !there.is_empty() && drag_out::begin(&window, &there)))
}

/// Lets the user choose the Downloads folder and saves it; nothing = the dialog was closed.
#[tauri::command]
pub(crate) async fn pick_downloads_folder(
    window: WebviewWindow,
    engine: State<'_, Engine>,
) -> Answer<Option<String>> {
    presses::require(window.app_handle())?;
    let dialog =
        near_downloads(dialog(&window), &engine).await.set_title(&words(&window).shell_downloads_folder);
    let Some(chosen) = dialog.pick_folder().await else { return Ok(None) };
    let folder = chosen.path().to_owned();
    let change = |settings: &mut Settings| settings.downloads_folder = Some(folder);
    engine.change_settings(change).await.map_err(failure)?;
    Ok(Some(chosen.path().display().to_string()))
}

/// Lets the user choose another folder for a download, which goes on there; nothing = the dialog was closed.
#[tauri::command]
pub(crate) async fn choose_folder_for(
    window: WebviewWindow,
    engine: State<'_, Engine>,
    id: TransferId,
) -> Answer<Option<String>> {
    presses::require(window.app_handle())?;
    let dialog = near_downloads(dialog(&window), &engine).await.set_title(&words(&window).shell_save_to);
    let Some(chosen) = dialog.pick_folder().await else { return Ok(None) };
    engine.move_download(id, chosen.path()).await.map_err(failure)?;
    Ok(Some(chosen.path().display().to_string()))
}

/// A report for the people who maintain Ferry, without keys, names or addresses.
#[tauri::command(async)]
pub(crate) fn diagnostics(engine: State<'_, Engine>, thumbnails: State<'_, Thumbnails>) -> String {
    #[cfg(target_os = "linux")]
    let page = crate::web_sandbox::why_without();
    // The webviews of the other systems are always in theirs.
    #[cfg(not(target_os = "linux"))]
    let page = None;
    let cages = report::Cages { page, videos: thumbnails.missing_for_videos() };
    report::write(&engine.snapshot(), &cages, &crate::desktop::lacks())
}

fn words(window: &WebviewWindow) -> &'static Spoken {
    Spoken::now(window.app_handle())
}

/// What people call a service.
fn name_of(id: &ServiceId) -> String {
    id.about().map_or_else(|| id.to_string(), |about| about.name.to_owned())
}

/// A file dialog in front of the window.
fn dialog(window: &WebviewWindow) -> AsyncFileDialog {
    let dialog = AsyncFileDialog::new();
    if cfg!(any(windows, target_os = "macos")) { dialog.set_parent(window) } else { dialog }
}

/// Opens in the Downloads folder, or as near to it as there is something: GTK stands still for half a minute over a path
/// that it cannot open.
async fn near_downloads(dialog: AsyncFileDialog, engine: &Engine) -> AsyncFileDialog {
    let folder = engine.downloads_folder();
    let find = move || folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned);
    match disk::ask(find).await.flatten() {
        Some(there) => dialog.set_directory(there),
        None => dialog,
    }
}

/// A path for the page, which knows text only.
fn text_of(path: &Path) -> Answer<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let error = Error::invalid(Phrase::NameNotText { path: Foreign::path(path) }).advise(Phrase::Rename);
        failure(error)
    })
}

/// The file behind a row: the source of an upload, or a download that is complete.
async fn file_of(engine: &Engine, id: TransferId) -> Answer<PathBuf> {
    let transfer =
        engine.transfer(id).ok_or_else(|| failure(Error::invalid(Phrase::TransferUnknown { id })))?;
    let path = finished_path(&transfer)
        .ok_or_else(|| failure(Error::invalid(Phrase::NotCompleteYet).advise(Phrase::WaitUntilComplete)))?;
    let looked_for = path.clone();
    if !disk::ask(move || looked_for.exists()).await.ok_or_else(|| silent(&path))? {
        let error = Error::new(Cause::SourceMissing, Phrase::FileGone { path: Foreign::path(&path) });
        // There is nothing to choose here: the details know whether it can be downloaded again.
        return Err(failure(error.advise(Phrase::PutItBack)));
    }
    Ok(path)
}

fn finished_path(transfer: &Transfer) -> Option<PathBuf> {
    let there = transfer.kind == Kind::Upload || transfer.state == Stands::Completed;
    transfer.path.as_ref().filter(|_| there).map(PathBuf::from)
}

async fn reveal(app: AppHandle, path: PathBuf) -> Answer<()> {
    let shown = path.clone();
    // The file manager may take its time to start, and does not hold up anything.
    let reveal = move || app.opener().reveal_item_in_dir(shown).map_err(|error| error.to_string());
    let revealed = tauri::async_runtime::spawn_blocking(reveal).await;
    revealed.map_err(|error| error.to_string()).flatten().map_err(|why| {
        let error = Error::internal(Phrase::FolderNotShown).because(why);
        failure(error.advise(Phrase::LookInFileManager { path: Foreign::path(&path) }))
    })
}

/// The failure for a file whose disk does not say whether it is there.
fn silent(path: &Path) -> Failure {
    let folder = Foreign::path(path.parent().unwrap_or(path));
    failure(
        Error::new(Cause::PermissionDenied, Phrase::FolderSilent { folder }).advise(Phrase::WaitForFolder),
    )
}
