//! Private files of our own: made whole or not at all, readable by nobody else.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use tempfile::NamedTempFile;

/// Makes `dir` and its parents, for the owner only. One that is there stays as it is.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that is not there yet, with mode 0600. A crash leaves all of it or nothing; if
/// another process was faster, its file stays.
pub(crate) fn write_new_private(path: &Path, content: &str) -> io::Result<()> {
    match written(path, content)?.persist_noclobber(path) {
        Ok(_) => keep_name(path),
        Err(fault) if fault.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(fault) => Err(fault.error),
    }
}

/// Writes a file, with mode 0600, in place of the one that may be there. A crash leaves all of the one or of the other.
pub(crate) fn replace_private(path: &Path, content: &str) -> io::Result<()> {
    written(path, content)?.persist(path)?;
    keep_name(path)
}

/// The same in place of one that is there and whose owner and mode stay.
pub(crate) fn replace_alike(path: &Path, content: &str) -> io::Result<()> {
    let was = std::fs::metadata(path)?;
    let file = written(path, content)?;
    file.as_file().set_permissions(was.permissions())?;
    fchown(file.as_file(), Some(was.uid()), Some(was.gid()))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    keep_name(path)
}

/// A private file beside `path` that holds all of it.
fn written(path: &Path, content: &str) -> io::Result<NamedTempFile> {
    let private = PermissionsExt::from_mode(0o600);
    let mut file = tempfile::Builder::new().permissions(private).tempfile_in(dir_of(path))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Has the name be on disk, and not the content alone.
fn keep_name(path: &Path) -> io::Result<()> {
    std::fs::File::open(dir_of(path))?.sync_all()
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Warns when others than the owner may read a file that holds a secret.
pub(crate) fn warn_if_readable_by_others(path: &Path) {
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode());
    if let Ok(mode) = mode
        && mode & 0o077 != 0
    {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{:o}", mode & 0o777),
            "this file holds a secret but others may read it: chmod 600 it"
        );
    }
}
