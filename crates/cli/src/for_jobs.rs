//! Files of ours that every step may be given.

use crate::exit::Failure;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes `content` as a file that every user of a container may read, whole or not at all. `what` is for people.
pub(crate) fn write(what: &str, content: &[u8], path: &Path) -> Result<(), Failure> {
    let replace = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    replace().map_err(|fault| {
        Failure::system(format!("{what} for jobs can't be written to {}: {fault}", path.display()))
    })
}
