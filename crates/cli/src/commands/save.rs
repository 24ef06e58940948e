//! Saving what the control plane hands out: all of it or nothing, and over nothing that is there.

use crate::client::Client;
use crate::exit::Failure;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Saves what `path` of the API answers in `file`, whose content must have that digest if one is known.
pub(crate) async fn save(
    client: &Client,
    path: &str,
    file: &Path,
    sha256: Option<&str>,
    force: bool,
) -> Result<(), Failure> {
    let failed = |fault: std::io::Error| Failure::system(format!("can't write {}: {fault}", file.display()));
    if !force && file.symlink_metadata().is_ok() {
        return Err(there(file));
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut saved = NamedTempFile::new_in(dir).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut chunks = client.download(path).await?;
    while let Some(chunk) = chunks.next().await? {
        hash.update(&chunk);
        saved.write_all(&chunk).map_err(failed)?;
    }
    let found = hex::encode(hash.finalize());
    if sha256.is_some_and(|expected| expected != found) {
        return Err(Failure::system(format!("{} did not arrive as it was kept: try again", file.display())));
    }
    let kept = if force { saved.persist(file) } else { saved.persist_noclobber(file) };
    match kept {
        Ok(_) => Ok(()),
        Err(fault) if fault.error.kind() == ErrorKind::AlreadyExists => Err(there(file)),
        Err(fault) => Err(failed(fault.error)),
    }
}

fn there(file: &Path) -> Failure {
    Failure::usage(format!(
        "{} is there already: name another file, or overwrite it with --force",
        file.display()
    ))
}
