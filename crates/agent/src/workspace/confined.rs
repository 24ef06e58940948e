//! The workspace as a directory that nothing leads out of: not `..`, not an absolute path, not a
//! symlink that a repository or a step put there.
//!
//! The protocol's reference makes everything 0777. Ours are 0755: readable and executable for
//! whatever user a container runs as, writable for nobody else on this host.

use super::paths::OUTSIDE;
use crate::job::Failure;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

/// Of directories and files.
const MODE: u32 = 0o755;
/// Flags for what must be a regular file: a symlink is refused, and a FIFO does not hold us up.
const STRICTLY: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// A workspace to write into.
pub(crate) struct Confined {
    dir: Dir,
}

impl Confined {
    pub(crate) fn open(workspace: &Path) -> Result<Self, Failure> {
        let dir = Dir::open_ambient_dir(workspace, ambient_authority())
            .map_err(|fault| Failure::sandbox(format!("failed to open the workspace: {fault}")))?;
        Ok(Self { dir })
    }

    /// Makes a file that is empty, with the directories above it. `path` is normalized.
    pub(crate) fn create(&self, path: &str) -> Result<File, Failure> {
        self.try_create(Path::new(path)).map_err(|fault| explain(path, &fault))
    }

    /// Makes a directory and those above it. `path` is normalized.
    pub(crate) fn create_dir(&self, path: &str) -> Result<(), Failure> {
        self.create_dirs(Path::new(path)).map_err(|fault| explain(path, &fault))
    }

    /// A directory, made if it is missing, as one that stays the same whatever its path leads to later.
    /// `path` is normalized.
    pub(crate) fn directory(&self, path: &str) -> Result<Dir, Failure> {
        self.create_dir(path)?;
        let path = if path.is_empty() { "." } else { path };
        self.dir.open_dir(path).map_err(|fault| explain(path, &fault))
    }

    /// Adds `text` to the end of a file, which may be new. `path` is normalized; what it names is not
    /// followed if it is a symlink, and must be a regular file.
    pub(crate) fn append(&self, path: &str, text: &str) -> Result<(), Failure> {
        self.try_append(Path::new(path), text).map_err(|fault| explain(path, &fault))
    }

    /// Takes a small file out of the workspace's root: its content, `None` when there is none.
    /// What a step may have put there instead, such as a FIFO, a symlink or a file without end, is
    /// refused.
    pub(crate) fn take(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(STRICTLY);
        let file = match self.dir.open_with(name, &options) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?.into_std(),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("larger than {limit} bytes")));
        }
        self.dir.remove_file(name)?;
        Ok(Some(content))
    }

    fn try_create(&self, path: &Path) -> io::Result<File> {
        if let Some(parent) = path.parent() {
            self.create_dirs(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE);
        // A FIFO in our way must not hold us up.
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = self.dir.open_with(path, &options)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        Ok(file.into_std())
    }

    fn try_append(&self, path: &Path, text: &str) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.create_dirs(parent)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(STRICTLY);
        let mut file = self.dir.open_with(path, &options)?;
        if !file.metadata()?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        file.write_all(text.as_bytes())
    }

    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for part in path.components() {
            if let Component::Normal(part) = part {
                made.push(part);
                match self.dir.create_dir(&made) {
                    // Whatever the agent's umask is.
                    Ok(()) => self.dir.set_permissions(&made, Permissions::from_mode(MODE))?,
                    Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
        // What was there already may be something else, or lead out.
        if !made.as_os_str().is_empty() && !self.dir.metadata(&made)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(())
    }
}

fn explain(path: &str, fault: &io::Error) -> Failure {
    // The confinement's own refusal comes from no system call.
    let escapes = fault.kind() == ErrorKind::PermissionDenied && fault.raw_os_error().is_none();
    match fault.kind() {
        _ if escapes => Failure::bad_job(format!("{OUTSIDE}: {path:?}")),
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput
        | ErrorKind::NotFound => Failure::bad_job(format!("can't write {path:?}: {fault}")),
        _ => Failure::of_write(format_args!("{path:?}"), fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn refused(result: Result<File, Failure>) {
        match result {
            Err(Failure::Broke { message, .. }) => assert!(message.starts_with(OUTSIDE), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_symlink_leads_out() {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        symlink(outside.path(), inside.path().join("dir")).unwrap();
        symlink(outside.path().join("victim"), inside.path().join("file")).unwrap();
        symlink("../../../../etc/passwd", inside.path().join("up")).unwrap();
        symlink(outside.path().join("fresh"), inside.path().join("dangling")).unwrap();
        let confined = Confined::open(inside.path()).unwrap();
        for path in ["dir/victim", "dir/fresh", "dir/deep/er", "file", "up", "dangling"] {
            refused(confined.create(path));
        }
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_symlink_that_stays_inside_is_fine() {
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir(inside.path().join("real")).unwrap();
        symlink("real", inside.path().join("link")).unwrap();
        let confined = Confined::open(inside.path()).unwrap();
        confined.create("link/deep/file").unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(inside.path().join("real/deep/file")).unwrap(), b"x");
    }

    #[test]
    fn text_is_added_to_regular_files_only() {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let confined = Confined::open(inside.path()).unwrap();
        for text in ["a\n", "b\n"] {
            confined.append("deep/file", text).unwrap();
        }
        assert_eq!(fs::read_to_string(inside.path().join("deep/file")).unwrap(), "a\nb\n");
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        symlink(outside.path().join("victim"), inside.path().join("out")).unwrap();
        symlink("deep/file", inside.path().join("in")).unwrap();
        symlink(outside.path(), inside.path().join("dir")).unwrap();
        for path in ["out", "in", "dir/victim", "deep"] {
            assert!(confined.append(path, "more").is_err(), "{path}");
        }
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(inside.path().join("deep/file")).unwrap(), "a\nb\n");
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let inside = tempfile::tempdir().unwrap();
        Confined::open(inside.path()).unwrap().create("a/b/c").unwrap();
        for path in ["a", "a/b", "a/b/c"] {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &fs::metadata(inside.path().join(path)).unwrap().permissions(),
            );
            assert_eq!(mode & 0o7777, MODE, "{path}");
        }
    }

    #[test]
    fn odd_things_in_the_way_are_the_jobs_fault() {
        let inside = tempfile::tempdir().unwrap();
        fs::write(inside.path().join("file"), "").unwrap();
        fs::create_dir(inside.path().join("dir")).unwrap();
        let confined = Confined::open(inside.path()).unwrap();
        for path in ["file/below", "dir"] {
            let fault = confined.create(path).unwrap_err();
            assert!(matches!(fault, Failure::Broke { reason: jobs::EndReason::BadJob, .. }), "{fault:?}");
        }
    }

    #[test]
    fn only_a_small_regular_file_is_taken() {
        let inside = tempfile::tempdir().unwrap();
        let confined = Confined::open(inside.path()).unwrap();
        assert_eq!(confined.take("skip.json", 10).unwrap(), None);
        fs::write(inside.path().join("skip.json"), "{}").unwrap();
        assert_eq!(confined.take("skip.json", 10).unwrap().unwrap(), b"{}");
        assert_eq!(confined.take("skip.json", 10).unwrap(), None, "it is taken away");
        fs::write(inside.path().join("skip.json"), "x".repeat(11)).unwrap();
        assert!(confined.take("skip.json", 10).is_err());
        fs::remove_file(inside.path().join("skip.json")).unwrap();
        symlink("/etc/passwd", inside.path().join("skip.json")).unwrap();
        assert!(confined.take("skip.json", 1 << 20).is_err());
        fs::remove_file(inside.path().join("skip.json")).unwrap();
        let path = inside.path().join("skip.json");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(confined.take("skip.json", 10).is_err());
    }
}
