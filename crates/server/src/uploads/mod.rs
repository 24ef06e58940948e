//! Indexes that jobs upload: compressed with gzip, whole or in numbered parts that come in any order.

mod ask;
mod check;
mod fault;
mod own;

pub(crate) use ask::Ask;
pub(crate) use fault::{UploadFault, of_store};

use crate::app::App;
use crate::auth::uploader::Uploader;
use crate::disk_floor::Growing;
use crate::intake;
use crate::peer::Peer;
use crate::repository;
use crate::share::{Room, Total};
use crate::slots::{Turn, sharing};
use axum::body::Body;
use jobs::{JobId, Namespace};
use store::{FILE_CHARGE, NewObject, NewUpload, StoreError, UploadPartRow};

/// What keys of indexes begin with.
const KEYS: &str = "uploads/index";
/// What they end with.
const ENDING: &str = ".gz";

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// An upload was taken whole, or begun: this is its id.
    Accepted(i64),
    /// A part was taken, or the upload is complete.
    Noted,
}

/// Does what a call asks. Run it to its end, whoever hangs up.
pub(crate) async fn serve(
    app: &App,
    (by, from): (Uploader, Peer),
    ask: Ask,
    body: Body,
) -> Result<Done, UploadFault> {
    match own::checked(app, &by, ask).await? {
        Ask::Whole(about) => {
            let new = named(app, about).await?;
            // Held until it is unpacked as well, which costs more than taking it.
            let slot = slot(app, from, &new.namespace).await?;
            let object = take(app, &slot, (&new.namespace, FILE_CHARGE), body).await?;
            let done = keep_whole(app, &slot, new, &object).await;
            if done.is_err() {
                intake::give_up(app, &object.key).await;
            }
            done.map(Done::Accepted)
        }
        Ask::Begin(about) => {
            let new = named(app, about).await?;
            app.disk_floor.check(Growing::Database)?;
            room(app, &new.namespace, u64::from(new.parts) * FILE_CHARGE).await?;
            Ok(Done::Accepted(app.store.begin_upload(new).await?))
        }
        Ask::Part { id, index } => {
            let known = app.store.upload(id).await?.filter(|row| row.finished_at.is_none());
            let known = known.ok_or(UploadFault::Unknown(id))?;
            let of = &known.of.namespace;
            // It counts already for as much as its parts do at least.
            let object = take(app, &slot(app, from, of).await?, (of, 1), body).await?;
            let key = object.key.clone();
            let added = app.store.add_upload_part(id, index, object).await;
            if added.is_err() {
                intake::give_up(app, &key).await;
            }
            Ok(added.map(|()| Done::Noted)?)
        }
        Ask::Finish { id } => {
            finish(app, from, id).await?;
            Ok(Done::Noted)
        }
    }
}

/// Looks the repository up; whose the upload is depends on it.
async fn named(app: &App, mut new: NewUpload) -> Result<NewUpload, UploadFault> {
    let owner = match new.associated_index_id {
        Some(job) => owner(app, JobId(job)).await?,
        None => None,
    };
    let row = repository::meant(app, owner.as_deref(), &new.repository).await?;
    let row = row.ok_or_else(|| UploadFault::UnknownRepository(new.repository.clone()))?;
    new.namespace = row.namespace;
    Ok(new)
}

/// Whose a job is, while it is known.
async fn owner(app: &App, job: JobId) -> Result<Option<String>, StoreError> {
    match app.store.job(job).await {
        Ok(job) => Ok(Some(job.owner)),
        Err(StoreError::UnknownJob(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

async fn slot(app: &App, from: Peer, of: &Namespace) -> Result<Turn, UploadFault> {
    let turn = app.results_in.take(from, sharing(&of.key()), app.limits.upload_queue).await;
    turn.ok_or(UploadFault::Busy)
}

async fn take(
    app: &App,
    _: &Turn,
    (of, least): (&Namespace, u64),
    body: Body,
) -> Result<NewObject, UploadFault> {
    let Room { bytes, beyond } = room(app, of, least).await?;
    let limit = app.limits.index_part.min(bytes);
    match intake::receive(app, body, (KEYS, ENDING), limit).await {
        Err(intake::IntakeFault::TooLarge { .. }) if limit < app.limits.index_part => Err(beyond.into()),
        taken => Ok(taken?),
    }
}

/// What still fits, which is so much at least.
async fn room(app: &App, of: &Namespace, least: u64) -> Result<Room, UploadFault> {
    let (limit, kept) = (app.limits.indexes_total, app.store.uploads_size().await?);
    let total = Total { what: "uploaded indexes", limit, kept };
    let largest = app.limits.index_part.max(least);
    let room = total.room(of, largest, app.store.uploads_size_of(of)).await?;
    if room.bytes < least { Err(room.beyond.into()) } else { Ok(room) }
}

async fn keep_whole(app: &App, _: &Turn, new: NewUpload, object: &NewObject) -> Result<i64, UploadFault> {
    check::is_gzip(app, std::slice::from_ref(object)).await?;
    Ok(app.store.add_upload(new, object.clone()).await?)
}

async fn finish(app: &App, from: Peer, id: i64) -> Result<(), UploadFault> {
    let row = app.store.upload(id).await?.ok_or(UploadFault::Unknown(id))?;
    if row.finished_at.is_some() {
        // The answer to the first such call was lost.
        return Ok(());
    }
    let _slot = slot(app, from, &row.of.namespace).await?;
    let parts: Vec<UploadPartRow> = app.store.upload_parts(id).await?;
    let (there, parts_told) = (parts.len() as u64, u64::from(row.of.parts));
    if there < parts_told {
        return Err(UploadFault::Missing { there, parts: parts_told });
    }
    let objects: Vec<NewObject> = parts.into_iter().map(|part| part.object).collect();
    check::is_gzip(app, &objects).await?;
    Ok(app.store.finish_upload(id, &objects).await?)
}
