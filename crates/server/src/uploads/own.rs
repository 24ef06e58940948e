//! What a job may upload with its own token: the index that it was submitted to make, and nothing else.

use super::{Ask, UploadFault};
use crate::app::App;
use crate::auth::uploader::Uploader;
use jobs::index::is_same_root;
use store::{HeldJob, NewUpload};

/// What is asked for, if whoever asks may. A job need not say which it is: that is added.
pub(super) async fn checked(app: &App, by: &Uploader, ask: Ask) -> Result<Ask, UploadFault> {
    let Uploader::Job(held) = by else { return Ok(ask) };
    match ask {
        Ask::Whole(new) => Ok(Ask::Whole(of_job(app, held, new).await?)),
        Ask::Begin(new) => Ok(Ask::Begin(of_job(app, held, new).await?)),
        Ask::Part { id, .. } | Ask::Finish { id } => {
            let row = app.store.upload(id).await?;
            let is_own = row.is_some_and(|row| row.of.associated_index_id == Some(held.id.0));
            // Another's is answered like one that is not there.
            if is_own { Ok(ask) } else { Err(UploadFault::Unknown(id)) }
        }
    }
}

async fn of_job(app: &App, held: &HeldJob, new: NewUpload) -> Result<NewUpload, UploadFault> {
    let own = app.store.job(held.id).await?;
    let id = held.id.0.to_string();
    let associated = new.associated_index_id.map_or_else(|| id.clone(), |id| id.to_string());
    for (what, own, asked) in [
        ("repository", &held.repository, &new.repository),
        ("commit", &own.commit, &new.commit),
        ("id", &id, &associated),
    ] {
        if own != asked {
            let (own, asked) = (own.clone(), asked.clone());
            return Err(UploadFault::NotTheJobs { job: held.id.0, what, own, asked });
        }
    }
    // Beside it there may be other projects in the same commit, with indexes of their own.
    let root = app.store.spec(held.id).await?.index.map(|index| index.root);
    if let Some(own) = root.filter(|own| !is_same_root(own, &new.root)) {
        return Err(UploadFault::NotTheJobs { job: held.id.0, what: "root", own, asked: new.root });
    }
    Ok(NewUpload { associated_index_id: Some(held.id.0), by_job: Some(held.id), ..new })
}
