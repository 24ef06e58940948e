//! Looking for files in a workspace that a job filled as it liked.
//!
//! Every directory and file is opened by its path from the workspace, in one call that follows no symbolic link and leaves
//! the workspace by no way (`openat2`); what it opened is looked at before it is read.

use crate::job::Failure;
use jobs::artifacts::{MAX_ARTIFACT_BYTES, MAX_ARTIFACT_FILES, MAX_ARTIFACTS_BYTES, is_artifact_path};
use jobs::{ArtifactSpec, EndReason};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Files and directories that are looked at in one job's workspace at most.
const MAX_LOOKED_AT: usize = 500_000;
/// Remarks that are made of one search at most.
const MAX_NOTES: usize = 100;

/// A file that a job leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which of the job's artifacts it is of.
    pub(super) artifact: usize,
    /// Where it is below the workspace.
    pub(super) path: String,
    /// Its bytes.
    pub(super) size: u64,
}

/// A search for all of a job's artifacts at once.
pub(super) struct Search<'a> {
    workspace: &'a Path,
    specs: &'a [ArtifactSpec],
    found: Vec<Found>,
    notes: Vec<String>,
    looked_at: usize,
    bytes: u64,
}

impl<'a> Search<'a> {
    pub(super) const fn of(workspace: &'a Path, specs: &'a [ArtifactSpec]) -> Self {
        Self { workspace, specs, found: Vec::new(), notes: Vec::new(), looked_at: 0, bytes: 0 }
    }

    /// The files in the order of their paths, and what people should know. Blocks.
    pub(super) fn run(mut self) -> Result<(Vec<Found>, Vec<String>), Failure> {
        let root = open_root(self.workspace)?;
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            self.look_through(&root, &directory, &mut directories)?;
        }
        self.found.sort_by(|a, b| (a.artifact, &a.path).cmp(&(b.artifact, &b.path)));
        Ok((self.found, self.notes))
    }

    fn look_through(
        &mut self,
        root: &OwnedFd,
        directory: &str,
        further: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let entries = open_in(root, directory, flags).and_then(|opened| Dir::read_from(&opened));
        let entries = match entries {
            Ok(entries) => entries,
            Err(fault) => {
                self.note(format!("{directory:?} can't be looked through: {fault}"));
                return Ok(());
            }
        };
        for entry in entries {
            let entry = entry.map_err(|fault| Failure::sandbox(format!("reading the workspace: {fault}")))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            self.looked_at += 1;
            if self.looked_at > MAX_LOOKED_AT {
                return Err(too_many(format!(
                    "there are more than {MAX_LOOKED_AT} files where artifacts may be: name a smaller directory"
                )));
            }
            // No artifact can be called otherwise.
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            self.look_at(root, path, entry.file_type(), further)?;
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        root: &OwnedFd,
        path: String,
        kind: FileType,
        further: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if kind == FileType::Directory {
            if is_artifact_path(&path) && self.specs.iter().any(|spec| spec.may_be_below(&path)) {
                further.push(path);
            }
            return Ok(());
        }
        let wanted: Vec<usize> =
            (0..self.specs.len()).filter(|index| self.specs[*index].matches(&path)).collect();
        if wanted.is_empty() || !is_artifact_path(&path) {
            return Ok(());
        }
        match open_file(root, &path) {
            Ok((_, size)) => wanted
                .into_iter()
                .try_for_each(|artifact| self.take(Found { artifact, path: path.clone(), size })),
            Err(fault) => {
                self.note(format!("{path:?} is left out: {fault}"));
                Ok(())
            }
        }
    }

    fn take(&mut self, file: Found) -> Result<(), Failure> {
        let Found { artifact, path, size } = &file;
        let name = &self.specs[*artifact].name;
        self.bytes += size;
        if *size > MAX_ARTIFACT_BYTES {
            return Err(too_many(format!(
                "artifact {name:?}: {path:?} has {size} bytes, and one file may have {MAX_ARTIFACT_BYTES}"
            )));
        }
        if self.found.len() >= MAX_ARTIFACT_FILES || self.bytes > MAX_ARTIFACTS_BYTES {
            return Err(too_many(format!(
                "artifact {name:?}: a job may leave {MAX_ARTIFACT_FILES} files with {MAX_ARTIFACTS_BYTES} bytes: pack \
                 them, or leave less"
            )));
        }
        self.found.push(file);
        Ok(())
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }
}

/// Opens one of the files that were found, and what it has now.
pub(super) fn open_found(workspace: &Path, path: &str) -> Result<(File, u64), Failure> {
    let root = open_root(workspace)?;
    open_file(&root, path).map_err(|fault| too_many(format!("{path:?} can't be read any more: {fault}")))
}

fn open_root(workspace: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = openat(CWD, workspace, flags, Mode::empty());
    opened.map_err(|fault| Failure::sandbox(format!("failed to open the workspace: {fault}")))
}

/// Opens what is below the workspace, and nothing else.
fn open_in(root: impl AsFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), confined)
}

/// Opens a regular file: what may be there instead is refused.
fn open_file(root: &OwnedFd, path: &str) -> Result<(File, u64), String> {
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

fn too_many(message: String) -> Failure {
    Failure::new(EndReason::BadJob, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn spec(name: &str, path: &str) -> ArtifactSpec {
        ArtifactSpec { name: name.to_owned(), path: path.to_owned(), optional: false }
    }

    fn paths(workspace: &Path, specs: &[ArtifactSpec]) -> (Vec<(usize, String)>, Vec<String>) {
        let (found, notes) = Search::of(workspace, specs).run().unwrap();
        (found.into_iter().map(|file| (file.artifact, file.path)).collect(), notes)
    }

    #[test]
    fn files_are_found_where_they_are_and_links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("out/deep")).unwrap();
        for path in ["out/app", "out/deep/a.xml", "b.xml", "out/\u{1}.xml"] {
            fs::write(at(path), path).unwrap();
        }
        symlink(outside.path().join("secret"), at("out/link.xml")).unwrap();
        symlink(outside.path(), at("out/dir")).unwrap();
        symlink("/", at("root")).unwrap();
        assert!(Command::new("mkfifo").arg(at("out/fifo.xml")).status().unwrap().success());
        let specs = [
            spec("app", "out/app"),
            spec("reports", "**/*.xml"),
            spec("behind", "out/dir/secret"),
            spec("link", "out/link.xml"),
            spec("root", "root/etc/passwd"),
            spec("out", "out/deep"),
        ];
        let (found, notes) = paths(dir.path(), &specs);
        let expected = [(0, "out/app"), (1, "b.xml"), (1, "out/deep/a.xml"), (5, "out/deep/a.xml")];
        assert_eq!(found, expected.map(|(index, path)| (index, path.to_owned())));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("symbolic link")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("no regular file")), "{notes:?}");
    }

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

    #[test]
    fn what_is_too_much_is_the_jobs_own_fault() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("huge")).unwrap().set_len(MAX_ARTIFACT_BYTES + 1).unwrap();
        let Err(Failure::Broke { reason, message }) = Search::of(dir.path(), &[spec("a", "huge")]).run()
        else {
            panic!()
        };
        assert_eq!(reason, EndReason::BadJob);
        assert!(message.contains("\"huge\" has 1073741825 bytes"), "{message}");
        for number in 0..=MAX_ARTIFACT_FILES {
            fs::write(dir.path().join(format!("{number}.txt")), "").unwrap();
        }
        assert!(Search::of(dir.path(), &[spec("a", "*.txt")]).run().is_err());
    }
}
