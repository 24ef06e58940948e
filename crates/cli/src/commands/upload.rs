//! `executor upload`.

use super::{print, save};
use crate::args::UploadCommand;
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{Page, UploadView};
use std::fmt::Write;
use std::path::PathBuf;
use wire::upload::{LSIF, SCIP};

/// Digits of a commit that people are shown.
const SHORT_COMMIT: usize = 12;

pub(crate) async fn run(client: &Client, command: UploadCommand) -> Outcome {
    match command {
        UploadCommand::List { repo, namespace, limit, before, json } => {
            let mut path = format!("/api/v1/uploads?limit={limit}");
            let namespace = namespace.map(|of| of.to_string());
            let before = before.map(|id| id.to_string());
            for (key, value) in [("repository", repo), ("namespace", namespace), ("cursor", before)] {
                if let Some(value) = value {
                    let _ = write!(path, "&{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
                }
            }
            let page: Page<UploadView> = client.get(&path).await?;
            if json {
                print::json(&page)?;
            } else {
                show(&page)?;
            }
            Ok(Exit::Success)
        }
        UploadCommand::Download { id, output, force } => {
            let upload: UploadView = client.get(&format!("/api/v1/uploads/{id}")).await?;
            let output = output.unwrap_or_else(|| PathBuf::from(format!("index-{id}.{}.gz", kind(&upload))));
            save::save(client, &format!("/api/v1/uploads/{id}/content"), &output, None, force).await?;
            print::line(&format!("{}: {} bytes", output.display(), upload.size))?;
            Ok(Exit::Success)
        }
    }
}

fn show(page: &Page<UploadView>) -> Result<(), crate::exit::Failure> {
    let rows = page.items.iter().map(|upload| {
        vec![
            upload.id.to_string(),
            upload.finished_at.map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default(),
            upload.repository.clone(),
            upload.commit.chars().take(SHORT_COMMIT).collect(),
            upload.root.clone(),
            kind(upload).to_owned(),
            format!("{} {}", upload.indexer_name, upload.indexer_version).trim().to_owned(),
            upload.size.to_string(),
        ]
    });
    let head = ["NUMBER", "WHEN", "REPOSITORY", "COMMIT", "ROOT", "KIND", "INDEXER", "BYTES"];
    print::table(&head, rows.collect(), "nothing was uploaded yet")?;
    match &page.next_cursor {
        Some(cursor) => print::line(&format!("there is more: --before {cursor}")),
        None => Ok(()),
    }
}

fn kind(upload: &UploadView) -> &'static str {
    match upload.content_type.as_str() {
        SCIP => "scip",
        LSIF => "lsif",
        _ => "bin",
    }
}
