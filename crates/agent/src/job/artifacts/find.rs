//! Looking for files in a workspace that a job filled as it liked.
//!
//! Every directory and file is opened by its path from the workspace, in one call that follows no symbolic link and leaves
//! the workspace by no way (`openat2`); what it opened is looked at before it is read.

use crate::job::Failure;
use jobs::artifacts::{
    MAX_ARTIFACT_BYTES, MAX_ARTIFACT_FILES, MAX_ARTIFACTS_BYTES, Pattern, Place, is_artifact_path,
};
use jobs::{ArtifactSpec, EndReason};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long one job's workspace is searched at most: it is the host's time, which no limit of the job counts.
pub(super) const LONGEST_SEARCH: Duration = Duration::from_mins(2);
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
    stop: &'a CancellationToken,
    longest: Duration,
    begun: Instant,
    found: Vec<Found>,
    notes: Vec<String>,
    looked_at: usize,
    bytes: u64,
}

/// One that is looked through.
struct Directory<'a> {
    /// Where it is below the workspace, which is itself nowhere.
    path: String,
    /// What is left of the artifacts' patterns there, by the artifact.
    places: Vec<(usize, Place<'a>)>,
}

/// Directories to be looked through yet: by their name, and what they are in.
type Further<'a> = Vec<(String, Rc<Directory<'a>>)>;

impl<'a> Directory<'a> {
    fn enter(&self, name: &str) -> Self {
        let enter = |(artifact, place): &(usize, Place<'a>)| Some((*artifact, place.enter(name)?));
        Self { path: self.path_of(name), places: self.places.iter().filter_map(enter).collect() }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }
}

impl<'a> Search<'a> {
    /// One that ends when nobody waits for it any more, or takes too long.
    pub(super) fn of(
        workspace: &'a Path,
        specs: &'a [ArtifactSpec],
        stop: &'a CancellationToken,
        longest: Duration,
    ) -> Self {
        let (found, notes) = (Vec::new(), Vec::new());
        Self { workspace, specs, stop, longest, begun: Instant::now(), found, notes, looked_at: 0, bytes: 0 }
    }

    /// The files in the order of their paths, and what people should know. Blocks.
    pub(super) fn run(mut self) -> Result<(Vec<Found>, Vec<String>), Failure> {
        let patterns: Result<Vec<Pattern>, _> = self.specs.iter().map(Pattern::of).collect();
        let patterns = patterns.map_err(|bad| too_much(bad.to_string()))?;
        let root = open_root(self.workspace)?;
        let places = patterns.iter().map(|pattern| pattern.place("")).enumerate();
        let places = places.filter_map(|(artifact, place)| Some((artifact, place?))).collect();
        let mut further = Vec::new();
        self.look_through(&root, Directory { path: String::new(), places }, &mut further)?;
        // The last first: so all that wait are in few directories, whose paths and patterns they share.
        while let Some((name, parent)) = further.pop() {
            self.look_through(&root, parent.enter(&name), &mut further)?;
        }
        self.found.sort_by(|a, b| (a.artifact, &a.path).cmp(&(b.artifact, &b.path)));
        Ok((self.found, self.notes))
    }

    fn look_through<'p>(
        &mut self,
        root: &OwnedFd,
        directory: Directory<'p>,
        further: &mut Further<'p>,
    ) -> Result<(), Failure> {
        let directory = Rc::new(directory);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let entries = open_in(root, &directory.path, flags).and_then(|opened| Dir::read_from(&opened));
        let entries = match entries {
            Ok(entries) => entries,
            Err(fault) => {
                self.note(format!("{:?} can't be looked through: {fault}", directory.path));
                return Ok(());
            }
        };
        for entry in entries {
            let entry = entry.map_err(|fault| Failure::sandbox(format!("reading the workspace: {fault}")))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            self.may_go_on()?;
            // No artifact can be called otherwise.
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if entry.file_type() != FileType::Directory {
                self.look_at(root, &directory, name)?;
            } else if directory.places.iter().any(|(_, place)| place.enter(name).is_some())
                && is_artifact_path(&directory.path_of(name))
            {
                further.push((name.to_owned(), Rc::clone(&directory)));
            }
        }
        Ok(())
    }

    /// Asked for each entry: there may be as many as a hostile job can make.
    fn may_go_on(&mut self) -> Result<(), Failure> {
        self.looked_at += 1;
        if self.stop.is_cancelled() {
            return Err(Failure::Stopped);
        }
        if self.looked_at > MAX_LOOKED_AT {
            return Err(too_much(format!(
                "there are more than {MAX_LOOKED_AT} files where artifacts may be: name a smaller directory"
            )));
        }
        if self.begun.elapsed() > self.longest {
            return Err(too_much(format!(
                "after {} s the search for artifacts had looked at {} files and was not over, and it may take no longer: \
                 name a smaller directory, or fewer patterns",
                self.longest.as_secs(),
                self.looked_at
            )));
        }
        Ok(())
    }

    fn look_at(&mut self, root: &OwnedFd, directory: &Directory<'_>, name: &str) -> Result<(), Failure> {
        let matching = directory.places.iter().filter(|(_, place)| place.matches(name));
        let wanted: Vec<usize> = matching.map(|(artifact, _)| *artifact).collect();
        let path = directory.path_of(name);
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
            return Err(too_much(format!(
                "artifact {name:?}: {path:?} has {size} bytes, and one file may have {MAX_ARTIFACT_BYTES}"
            )));
        }
        if self.found.len() >= MAX_ARTIFACT_FILES || self.bytes > MAX_ARTIFACTS_BYTES {
            return Err(too_much(format!(
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
    open_file(&root, path).map_err(|fault| too_much(format!("{path:?} can't be read any more: {fault}")))
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

fn too_much(message: String) -> Failure {
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

    fn search(workspace: &Path, specs: &[ArtifactSpec]) -> Result<(Vec<Found>, Vec<String>), Failure> {
        Search::of(workspace, specs, &CancellationToken::new(), LONGEST_SEARCH).run()
    }

    fn paths(workspace: &Path, specs: &[ArtifactSpec]) -> (Vec<(usize, String)>, Vec<String>) {
        let (found, notes) = search(workspace, specs).unwrap();
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
        let Err(Failure::Broke { reason, message }) = search(dir.path(), &[spec("a", "huge")]) else {
            panic!()
        };
        assert_eq!(reason, EndReason::BadJob);
        assert!(message.contains("\"huge\" has 1073741825 bytes"), "{message}");
        for number in 0..=MAX_ARTIFACT_FILES {
            fs::write(dir.path().join(format!("{number}.txt")), "").unwrap();
        }
        assert!(search(dir.path(), &[spec("a", "*.txt")]).is_err());
    }

    #[test]
    fn a_search_ends_when_it_takes_too_long_or_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        let specs = [spec("a", "**")];
        let stop = CancellationToken::new();
        let late = Search::of(dir.path(), &specs, &stop, Duration::ZERO).run();
        let Err(Failure::Broke { reason: EndReason::BadJob, message }) = late else { panic!("{late:?}") };
        assert!(message.contains("after 0 s") && message.contains("name a smaller directory"), "{message}");
        stop.cancel();
        let stopped = Search::of(dir.path(), &specs, &stop, LONGEST_SEARCH).run();
        assert!(matches!(stopped, Err(Failure::Stopped)), "{stopped:?}");
    }

    /// With a try for each pattern's part, path's part, artifact and file this takes minutes.
    #[test]
    fn patterns_that_are_made_to_take_long_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join(vec!["a"; 300].join("/"));
        fs::create_dir_all(&deep).unwrap();
        for number in 0..2_000 {
            fs::write(deep.join(number.to_string()), "").unwrap();
        }
        let pattern = format!("{}/{}/b", vec!["**"; 230].join("/"), vec!["*/**"; 30].join("/"));
        let specs: Vec<ArtifactSpec> = (0..100).map(|number| spec(&format!("a{number}"), &pattern)).collect();
        let (stop, longest) = (CancellationToken::new(), Duration::from_secs(20));
        let (found, _) = Search::of(dir.path(), &specs, &stop, longest).run().unwrap();
        assert_eq!(found, []);
    }
}
