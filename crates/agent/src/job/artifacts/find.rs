//! Looking for files in a workspace that a job filled as it liked.
//!
//! Every directory and file is opened by its path from the workspace, in one call that follows no symbolic link and leaves
//! the workspace by no way (`openat2`); what it opened is looked at before it is read.

mod directory;
mod open;

pub(super) use open::open_found;

use crate::job::Failure;
use directory::Directory;
use jobs::artifacts::{MAX_ARTIFACT_BYTES, MAX_ARTIFACT_FILES, MAX_ARTIFACTS_BYTES, Pattern};
use jobs::{ArtifactSpec, EndReason};
use open::{open_file, open_in, open_root};
use rustix::fs::{Dir, FileType, OFlags};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long one job's workspace is searched at most: it is the host's time, which no limit of the job counts.
pub(super) const LONGEST_SEARCH: Duration = Duration::from_mins(2);
/// Files and directories that are looked at in one job's workspace at most.
const MAX_LOOKED_AT: usize = 500_000;
/// Remarks that are made of one search at most; then how many more there would be.
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

/// What came of a search.
#[derive(Debug, Default)]
pub(super) struct Searched {
    /// The files in the order of their paths.
    pub(super) found: Vec<Found>,
    /// What people should know.
    pub(super) notes: Vec<String>,
    /// By the artifact, what it may stand for and has not.
    pub(super) left_out: BTreeMap<usize, LeftOut>,
}

/// Files and directories that were left out of an artifact.
#[derive(Debug)]
pub(super) struct LeftOut {
    /// How many.
    pub(super) count: usize,
    /// The first of them, and why.
    pub(super) first: String,
}

/// A search for all of a job's artifacts at once.
pub(super) struct Search<'a> {
    workspace: &'a Path,
    specs: &'a [ArtifactSpec],
    stop: &'a CancellationToken,
    longest: Duration,
    begun: Instant,
    searched: Searched,
    untold: usize,
    looked_at: usize,
    bytes: u64,
}

/// Directories to be looked through yet: by their name, and what they are in.
type Further<'a> = Vec<(String, Rc<Directory<'a>>)>;

impl<'a> Search<'a> {
    /// One that ends when nobody waits for it any more, or takes too long.
    pub(super) fn of(
        workspace: &'a Path,
        specs: &'a [ArtifactSpec],
        stop: &'a CancellationToken,
        longest: Duration,
    ) -> Self {
        let (searched, begun) = (Searched::default(), Instant::now());
        Self { workspace, specs, stop, longest, begun, searched, untold: 0, looked_at: 0, bytes: 0 }
    }

    /// Searches. Blocks.
    pub(super) fn run(mut self) -> Result<Searched, Failure> {
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
        let mut searched = self.searched;
        searched.found.sort_by(|a, b| (a.artifact, &a.path).cmp(&(b.artifact, &b.path)));
        if self.untold > 0 {
            searched.notes.push(format!("{} more are left out", self.untold));
        }
        Ok(searched)
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
                let all = directory.artifacts(|_| true);
                self.leave_out(&all, &directory, b"", &format!("it can't be looked through: {fault}"));
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
            if entry.file_type() == FileType::Directory {
                self.meet(&directory, name, further);
            } else {
                self.look_at(root, &directory, name)?;
            }
        }
        Ok(())
    }

    /// Has a directory looked through where something in it may be wanted.
    fn meet<'p>(&mut self, parent: &Rc<Directory<'p>>, name: &[u8], further: &mut Further<'p>) {
        let compared = String::from_utf8_lossy(name);
        let in_it = parent.artifacts(|place| place.enter(&compared).is_some());
        let itself = parent.artifacts(|place| place.matches(&compared) && place.enter(&compared).is_none());
        match parent.path_for(name) {
            _ if in_it.is_empty() => {}
            Ok(_) => further.push((compared.into_owned(), Rc::clone(parent))),
            Err(why) => self.leave_out(&in_it, parent, name, &why),
        }
        let why = "it is a directory, and the pattern stands for files: with '/**' after it, it stands for all below";
        self.leave_out(&itself, parent, name, why);
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

    fn look_at(&mut self, root: &OwnedFd, directory: &Directory<'_>, name: &[u8]) -> Result<(), Failure> {
        let compared = String::from_utf8_lossy(name);
        let wanted = directory.artifacts(|place| place.matches(&compared));
        if wanted.is_empty() {
            return Ok(());
        }
        let opened = directory.path_for(name).and_then(|path| Ok((open_file(root, &path)?.1, path)));
        match opened {
            Ok((size, path)) => wanted
                .into_iter()
                .try_for_each(|artifact| self.take(Found { artifact, path: path.clone(), size })),
            Err(why) => {
                self.leave_out(&wanted, directory, name, &why);
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
        if self.searched.found.len() >= MAX_ARTIFACT_FILES || self.bytes > MAX_ARTIFACTS_BYTES {
            return Err(too_much(format!(
                "artifact {name:?}: a job may leave {MAX_ARTIFACT_FILES} files with {MAX_ARTIFACTS_BYTES} bytes: pack \
                 them, or leave less"
            )));
        }
        self.searched.found.push(file);
        Ok(())
    }

    /// Tells that these artifacts go without what is called so in that directory.
    fn leave_out(&mut self, artifacts: &[usize], directory: &Directory<'_>, name: &[u8], why: &str) {
        if artifacts.is_empty() {
            return;
        }
        let note = format!("{} is left out: {why}", directory.shown_path_of(name));
        for artifact in artifacts {
            let first = || LeftOut { count: 0, first: note.clone() };
            self.searched.left_out.entry(*artifact).or_insert_with(first).count += 1;
        }
        if self.searched.notes.len() < MAX_NOTES {
            self.searched.notes.push(note);
        } else {
            self.untold += 1;
        }
    }
}

fn too_much(message: String) -> Failure {
    Failure::new(EndReason::BadJob, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn spec(name: &str, path: &str) -> ArtifactSpec {
        ArtifactSpec { name: name.to_owned(), path: path.to_owned(), optional: false }
    }

    fn search(workspace: &Path, specs: &[ArtifactSpec]) -> Result<Searched, Failure> {
        Search::of(workspace, specs, &CancellationToken::new(), LONGEST_SEARCH).run()
    }

    fn paths(workspace: &Path, specs: &[ArtifactSpec]) -> (Vec<(usize, String)>, Vec<String>) {
        let Searched { found, notes, .. } = search(workspace, specs).unwrap();
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
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with(r#""out/\u{1}.xml" is left out"#)), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("symbolic link")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("no regular file")), "{notes:?}");
    }

    #[test]
    fn what_no_artifact_can_be_called_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
        let long = "n".repeat(250);
        fs::create_dir_all(at(&[&b"out/"[..], [&*long; 3].join("/").as_bytes()].concat())).unwrap();
        fs::create_dir(at(b"out/\xff-dir")).unwrap();
        fs::create_dir(at(b"out/sub")).unwrap();
        fs::write(at(b"out/sub/kept.md"), "").unwrap();
        for name in
            [&b"out/\xe2\x80\xaefdp.txt"[..], b"out/b\xff.txt", b"out/\xff-dir/c.txt", b"out/other\x1b.log"]
        {
            fs::write(at(name), "x").unwrap();
        }
        fs::write(at(format!("out/{long}/{long}/{long}/{long}.txt").as_bytes()), "").unwrap();
        let specs = [spec("texts", "out/**/*.txt"), spec("all", "out/*"), spec("subs", "out/sub")];
        let Searched { found, notes, left_out } = search(dir.path(), &specs).unwrap();
        assert_eq!(found, [Found { artifact: 2, path: "out/sub/kept.md".to_owned(), size: 0 }]);
        let told = |part: &str, why: &str| {
            let note = notes.iter().find(|note| note.starts_with(part) && note.contains(why));
            assert!(note.is_some(), "{part} {why}: {notes:#?}");
        };
        told(r#""out/\u{202e}fdp.txt" is left out: "#, "direction-changing character");
        told(r#""out/b\xFF.txt" is left out: "#, "its name is not UTF-8");
        told(r#""out/\xFF-dir" is left out: "#, "its name is not UTF-8");
        told(r#""out/other\u{1b}.log" is left out: "#, "control");
        told(r#""out/sub" is left out: "#, "it is a directory, and the pattern stands for files");
        told("\"out/nnn", "its path has 1011 bytes, and may have 1000");
        assert_eq!((left_out[&0].count, left_out.contains_key(&2)), (4, false), "{left_out:?}");
        assert!(notes.contains(&left_out[&0].first) && notes.iter().all(|note| note.chars().count() < 500));
        for number in 0..MAX_NOTES {
            fs::write(at(format!("out/{number}\u{7}.txt").as_bytes()), "").unwrap();
        }
        let notes = search(dir.path(), &specs).unwrap().notes;
        assert_eq!(notes.len(), MAX_NOTES + 1);
        assert!(notes[MAX_NOTES].ends_with("more are left out"), "{notes:?}");
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
        let searched = Search::of(dir.path(), &specs, &stop, longest).run().unwrap();
        assert_eq!(searched.found, []);
    }
}
