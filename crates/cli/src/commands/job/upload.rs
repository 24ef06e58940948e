//! `executor job upload`.

use super::files;
use crate::args::JobUploadArgs;
use crate::client::Client;
use crate::commands::print;
use crate::exit::{Exit, Failure, Outcome};
use jiff::Timestamp;
use server::api::FileView;
use std::path::{Path, PathBuf};

/// A file that can be sent.
struct Looked {
    from: PathBuf,
    size: u64,
    modified_at: Option<Timestamp>,
}

pub(super) async fn run(client: &Client, args: JobUploadArgs) -> Outcome {
    let JobUploadArgs { files, json } = args;
    let looked: Vec<Looked> = files.into_iter().map(look).collect::<Result<_, _>>()?;
    let (mut kept, mut failed) = (Vec::new(), None);
    for file in looked {
        match send(client, &file).await {
            Ok(file) if json => kept.push(file),
            Ok(file) => print::line(&file.id)?,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    // Also where others are not: they are there.
    if json {
        print::json(&kept)?;
    }
    failed.map_or(Ok(Exit::Success), Err)
}

fn look(from: PathBuf) -> Result<Looked, Failure> {
    let (size, modified_at) = files::look(&from)?;
    Ok(Looked { from, size, modified_at })
}

async fn send(client: &Client, file: &Looked) -> Result<FileView, Failure> {
    files::send(client, &name(&file.from), &file.from, file.size, file.modified_at).await
}

/// What it is called where it comes from.
fn name(from: &Path) -> String {
    from.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
