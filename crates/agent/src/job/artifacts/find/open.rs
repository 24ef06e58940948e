//! Opening what is in a workspace, and nothing that is not.

use super::too_much;
use crate::job::Failure;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens one of the files that were found, and what it has now.
pub(in crate::job::artifacts) fn open_found(workspace: &Path, path: &str) -> Result<(File, u64), Failure> {
    let root = open_root(workspace)?;
    open_file(&root, path).map_err(|fault| too_much(format!("{path:?} can't be read any more: {fault}")))
}

pub(super) fn open_root(workspace: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = openat(CWD, workspace, flags, Mode::empty());
    opened.map_err(|fault| Failure::sandbox(format!("failed to open the workspace: {fault}")))
}

/// Opens what is below the workspace, and nothing else.
pub(super) fn open_in(root: impl AsFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), confined)
}

/// Opens a regular file: what may be there instead is refused.
pub(super) fn open_file(root: &OwnedFd, path: &str) -> Result<(File, u64), String> {
    let opened = open_in(root, path, OFlags::RDONLY).map_err(|fault| match fault {
        Errno::LOOP => "it is a symbolic link, or behind one, and those are not followed".to_owned(),
        fault => fault.to_string(),
    })?;
    let stat = fstat(&opened).map_err(|fault| fault.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no regular file".to_owned());
    }
    Ok((File::from(opened), u64::try_from(stat.st_size).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_became_a_link_since_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("out/app"), "x").unwrap();
        assert!(open_found(dir.path(), "out/app").is_ok());
        fs::rename(dir.path().join("out"), dir.path().join("was")).unwrap();
        symlink("was", dir.path().join("out")).unwrap();
        assert!(open_found(dir.path(), "out/app").is_err());
    }
}
