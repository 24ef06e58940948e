//! `executor upload`.

use super::{print, save};
use crate::args::UploadCommand;
use crate::client::{Client, with_query};
use crate::exit::{Exit, Failure, Outcome};
use jobs::Namespace;
use serde_json::json;
use server::api::{Page, UploadView};
use std::path::PathBuf;
use wire::upload::{LSIF, SCIP};

/// Digits of a commit that people are shown.
const SHORT_COMMIT: usize = 12;
const HEAD: [&str; 8] = ["NUMBER", "WHEN", "REPOSITORY", "COMMIT", "ROOT", "KIND", "INDEXER", "SIZE"];

pub(crate) async fn run(client: &Client, command: UploadCommand) -> Outcome {
    match command {
        UploadCommand::List { repo, namespace, job, limit, before, json } => {
            let is_filtered = repo.is_some() || namespace.is_some() || job.is_some() || before.is_some();
            let none = if is_filtered { "no such uploads" } else { "nothing was uploaded yet" };
            let asked = [
                ("limit", Some(limit.to_string())),
                ("repository", repo),
                ("namespace", namespace.map(|of: Namespace| of.to_string())),
                ("job", job.map(|id| id.to_string())),
                ("cursor", before.map(|id| id.to_string())),
            ];
            list(client, &with_query("/api/v1/uploads", asked), none, json).await
        }
        UploadCommand::Show { id, json } => show(client, id, json).await,
        UploadCommand::Download { id, output, force, json } => {
            let upload = one(client, id).await?;
            let output = output.unwrap_or_else(|| PathBuf::from(format!("index-{id}.{}.gz", kind(&upload))));
            save::save(client, &format!("/api/v1/uploads/{id}/content"), &output, None, force).await?;
            let saved = json!({ "file": output, "size": upload.size });
            print::tell(json, &saved, &format!("{}: {}", output.display(), print::bytes(upload.size)))
        }
    }
}

async fn list(client: &Client, path: &str, none: &str, json: bool) -> Outcome {
    let page: Page<UploadView> = client.get(path).await?;
    print::page(json, &page, &HEAD, none, row)
}

fn row(upload: &UploadView) -> Vec<String> {
    vec![
        upload.id.to_string(),
        upload.finished_at.map(print::moment).unwrap_or_default(),
        upload.repository.clone(),
        upload.commit.chars().take(SHORT_COMMIT).collect(),
        upload.root.clone(),
        kind(upload).to_owned(),
        indexer(upload),
        print::bytes(upload.size),
    ]
}

async fn one(client: &Client, id: i64) -> Result<UploadView, Failure> {
    client.get(&format!("/api/v1/uploads/{id}")).await
}

async fn show(client: &Client, id: i64, json: bool) -> Outcome {
    let upload = one(client, id).await?;
    if json {
        print::json(&upload)?;
        return Ok(Exit::Success);
    }
    let whole = || "the whole repository".to_owned();
    print::facts([
        ("upload", upload.id.to_string()),
        ("namespace", upload.namespace.to_string()),
        ("repository", upload.repository.clone()),
        ("commit", upload.commit.clone()),
        ("root", Some(upload.root.clone()).filter(|root| !root.is_empty()).unwrap_or_else(whole)),
        ("kind", kind(&upload).to_owned()),
        ("size", print::bytes(upload.size)),
        ("begun", print::moment(upload.started_at)),
    ])?;
    let optional = [
        ("complete", upload.finished_at.map(print::moment)),
        ("indexer", Some(indexer(&upload)).filter(|indexer| !indexer.is_empty())),
        ("job", upload.associated_index_id.map(|job| job.to_string())),
        ("unpacked", upload.uncompressed_size.map(print::bytes)),
    ];
    print::facts(optional.into_iter().filter_map(|(name, value)| Some((name, value?))))?;
    Ok(Exit::Success)
}

fn indexer(upload: &UploadView) -> String {
    format!("{} {}", upload.indexer_name, upload.indexer_version).trim().to_owned()
}

fn kind(upload: &UploadView) -> &'static str {
    match upload.content_type.as_str() {
        SCIP => "scip",
        LSIF => "lsif",
        _ => "bin",
    }
}
