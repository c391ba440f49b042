//! Where the bytes go: a signed URL of the user's own, the one from before while it is good, or a new one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::asset::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::http::reach::Reach;
use crate::progress::now;
use crate::run::Run;
use crate::services::Service;
use crate::task::Task;
use crate::transfer::Stage;
use crate::upload::signed_url::SignedUrl;
use crate::words::{Peer, Phrase};

/// Clocks of computers are off by hours and time zones, hardly by more than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(48 * 3600);

/// Where the bytes go.
pub(super) struct Target {
    pub url: SignedUrl,
    /// How far it may lead: the user's own anywhere.
    pub reach: Reach,
    /// Fields that a form must carry, in the order in which the service gave them.
    pub form: Vec<(String, String)>,
    pub asset_id: Option<String>,
}

/// The signed URL to send to: the user's own, the one from before while it is good, or a new one.
pub(super) async fn target(
    run: &Run,
    service: Option<&Arc<dyn Service>>,
    name: &str,
    size: u64,
) -> Result<Target> {
    let record = run.resume_record();
    let parse = |text: &str| {
        SignedUrl::parse(text)
            .map_err(|why| Error::invalid(Phrase::NoSignedUrl).because(why).advise(Phrase::PasteWholeUrl))
    };
    let Some(service) = service else {
        let text = record.url.ok_or_else(|| Error::new(Cause::LinkExpired, Phrase::SignedUrlNotKept))?;
        let url = parse(&text)?;
        // What ended lately is for the store to judge, whose clock may be another.
        let long_ago = SystemTime::now().checked_sub(CLOCKS_DIFFER);
        if record.session.is_none() && url.expires_at().is_some_and(|end| Some(end) <= long_ago) {
            return Err(Error::new(Cause::LinkExpired, Phrase::SignedUrlExpired));
        }
        return Ok(Target { url, reach: Reach::Anywhere, form: Vec::new(), asset_id: None });
    };
    if let (Some(text), Some(asset_id)) = (&record.signed_url, &record.asset_id) {
        let is_own =
            [Some(text), record.session.as_ref()].into_iter().flatten().all(|kept| service.is_own(kept));
        if is_own && record.is_good_at(SystemTime::now()) {
            // A kill may have come between the record of this id and its place in the list and the library.
            let (id, asset_id) = (service.about().id, asset_id.clone());
            if run.row().asset_id.as_deref() != Some(asset_id.as_str())
                || run.queue().store.asset(Some(id), &asset_id).await?.is_none()
            {
                write_down_asset(run, id, &asset_id, name, size).await?;
            }
            let reach = match record.signed_reach {
                Some(reach) => reach,
                None => run.queue().services.reach_of_kept(id).await,
            };
            return Ok(Target { url: parse(text)?, reach, form: record.form, asset_id: Some(asset_id) });
        }
        run.note(Phrase::SignedAgain);
        abandon(run, service.about().id).await?;
    }
    run.stage(Stage::Signing);
    let (signing, asked, file) = (run.clone(), Arc::clone(service), name.to_owned());
    // An id that the service has given is not to be lost because the user pauses in this moment.
    let signed = run.to_its_end(async move {
        let signed = asked.sign(&file).await?;
        // From here on this asset id exists: it is on disk before the first byte is sent.
        signing
            .change_resume(|record| {
                record.signed_url = Some(signed.url.expose().to_owned());
                record.signed_reach = Some(signed.reach);
                record.form.clone_from(&signed.form);
                record.asset_id = Some(signed.asset_id.clone());
                (record.session, record.handed) = (None, None);
                record.expires_at = signed
                    .expires_at
                    .and_then(|end| end.duration_since(UNIX_EPOCH).ok())
                    .map(|since| since.as_secs());
            })
            .await?;
        write_down_asset(&signing, asked.about().id, &signed.asset_id, &file, size).await?;
        Ok(signed)
    });
    let signed = signed.await?;
    if run.stop.is_cancelled() {
        return Err(Error::canceled());
    }
    run.tell(Phrase::SignedBy { service: Peer::service(service.about().id) });
    Ok(Target { url: signed.url, reach: signed.reach, form: signed.form, asset_id: Some(signed.asset_id) })
}

/// Puts a new asset id into the library and the list.
async fn write_down_asset(run: &Run, service: &str, asset_id: &str, name: &str, size: u64) -> Result<()> {
    let asset = Asset {
        service: service.into(),
        asset_id: asset_id.into(),
        name: name.into(),
        size: Some(size),
        crc32c: None,
        // Of a transfer that was given up while the service was asked for it.
        status: if run.may_write_down() { AssetStatus::Begun } else { AssetStatus::Abandoned },
        at: now(),
    };
    // Also when nobody waits for it any more.
    let queue = run.queue();
    queue.update(run.id, |row| row.asset_id = Some(asset_id.into()));
    // Both in one commit.
    queue.save_row_soon(run.id);
    queue.store.save_asset(asset).await
}

/// Gives up what was begun at the service: its asset id will never hold this file.
pub(super) async fn abandon(run: &Run, service: &str) -> Result<()> {
    let record = run.resume_record();
    if let Some(asset_id) = &record.asset_id {
        run.queue().store.set_asset_status(service, asset_id, AssetStatus::Abandoned).await?;
        run.tell(Phrase::AssetGivenUp { id: asset_id.as_str().into() });
    }
    run.change_task(|task| {
        if let Task::Upload(upload) = task {
            upload.source = None;
        }
    })
    .await?;
    run.change_resume(|record| {
        (record.signed_url, record.session, record.asset_id, record.expires_at) = (None, None, None, None);
        // A URL that is a session itself may go on holding what it was handed: from now on that is another file's.
        (record.handed_over, record.handed) = (false, None);
        record.form.clear();
    })
    .await
}
