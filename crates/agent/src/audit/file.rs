//! A file that lines are added to, by several processes. It is rotated by itself when it has grown too long,
//! and opened again when somebody else has moved it away.

use crate::error::{AgentError, chain};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::{error, info};

/// How long it gets; its predecessor is kept beside it, so both take twice as much at most.
const MOST_BYTES: u64 = 64 << 20;
/// What the predecessor's name ends with.
const PREDECESSOR: &str = ".1";

/// The file.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    most_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// A line was not written to its end, so the next one needs a new line to begin on.
    torn: bool,
    /// The last line was not written.
    fails: bool,
}

impl AuditFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, AgentError> {
        Self::with_limit(path, MOST_BYTES)
    }

    pub(super) fn with_limit(path: PathBuf, most_bytes: u64) -> Result<Self, AgentError> {
        let file = append_to(&path)
            .map_err(AgentError::io(format!("open the audit log {} for appending", path.display())))?;
        let torn = ends_torn(&path, &file);
        Ok(Self { path, most_bytes, state: Mutex::new(State { file, torn, fails: false }) })
    }

    /// Adds a line. One that can't be added is told in the agent's log, once until one can.
    pub(super) fn write(&self, line: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.add(&mut state, line);
        let path = self.path.display();
        match (&written, state.fails) {
            (Err(fault), false) => {
                error!(%path, error = chain(fault), "a job can't be written into the audit log");
            }
            (Ok(()), true) => info!(%path, "jobs are written into the audit log again"),
            _ => {}
        }
        state.fails = written.is_err();
    }

    fn add(&self, state: &mut State, line: &[u8]) -> io::Result<()> {
        self.keep_place(state, line.len() as u64)?;
        if state.torn {
            state.file.write_all(b"\n")?;
            state.torn = false;
        }
        // In one piece: others may write to the same file.
        match state.file.write(line) {
            Ok(written) if written == line.len() => Ok(()),
            Ok(_) => {
                state.torn = true;
                Err(io::ErrorKind::StorageFull.into())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Sees to it that there is room for `more` bytes in a file at this path.
    fn keep_place(&self, state: &mut State, more: u64) -> io::Result<()> {
        if self.is_there(&state.file)? {
            let length = state.file.metadata()?.len();
            if length == 0 || length + more <= self.most_bytes || !self.move_away(&state.file)? {
                return Ok(());
            }
        }
        state.file = append_to(&self.path)?;
        state.torn = false;
        Ok(())
    }

    /// Whether `file` is the one at this path.
    fn is_there(&self, file: &File) -> io::Result<bool> {
        let own = file.metadata()?;
        Ok(fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())))
    }

    /// Makes room for another file; `false` while another process does.
    fn move_away(&self, file: &File) -> io::Result<bool> {
        // Not waited for: whoever stands still with it must not keep others from writing.
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        let moved = match self.is_there(file) {
            Ok(true) => fs::rename(&self.path, predecessor(&self.path)),
            // It was done meanwhile, and a second time would cost the predecessor.
            other => other.map(drop),
        };
        let _ = flock(file, FlockOperation::Unlock);
        moved.map(|()| true)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Whether whoever wrote last died in the middle of a line.
fn ends_torn(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let length = file.metadata().map_or(0, |own| own.len());
    let mut last = [b'\n'];
    // Not for reading was it opened.
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, length.saturating_sub(1)));
    length > 0 && read.is_ok() && last != [b'\n']
}

fn predecessor(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PREDECESSOR);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_added_and_nobody_else_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        AuditFile::open(path.clone()).unwrap().write(b"one\n");
        AuditFile::open(path.clone()).unwrap().write(b"two\n");
        assert_eq!(read(&path), "one\ntwo\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_was_torn_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fs::write(&path, "whole\ntor").unwrap();
        AuditFile::open(path.clone()).unwrap().write(b"next\n");
        assert_eq!(read(&path), "whole\ntor\nnext\n");
    }

    #[test]
    fn it_does_not_grow_for_ever_and_follows_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let file = AuditFile::with_limit(path.clone(), 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "a line longer than that\n", "four\n"] {
            file.write(line.as_bytes());
        }
        assert_eq!(
            (read(&path).as_str(), read(&predecessor(&path)).as_str()),
            ("four\n", "a line longer than that\n")
        );
        fs::rename(&path, dir.path().join("moved")).unwrap();
        file.write(b"five\n");
        assert_eq!((read(&path).as_str(), read(&dir.path().join("moved")).as_str()), ("five\n", "four\n"));
    }

    #[test]
    fn several_writers_lose_no_line_and_move_it_away_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        // So that it is moved away once.
        let (writers, lines, line) = (4, 500, "0123456789\n");
        let most = (writers * lines * line.len()) as u64 * 2 / 3;
        std::thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    let file = AuditFile::with_limit(path.clone(), most).unwrap();
                    for _ in 0..lines {
                        file.write(line.as_bytes());
                    }
                });
            }
        });
        let all = read(&predecessor(&path)) + &read(&path);
        assert_eq!(all.lines().filter(|seen| *seen == line.trim_end()).count(), writers * lines);
        assert!(read(&path).len() as u64 <= most);
        // Somebody who is at it, and stands still, keeps nobody from writing.
        let first = AuditFile::with_limit(path.clone(), 1).unwrap();
        flock(&first.state.lock().unwrap().file, FlockOperation::LockExclusive).unwrap();
        let before = read(&path);
        AuditFile::with_limit(path.clone(), 1).unwrap().write(b"late\n");
        assert_eq!(read(&path), before + "late\n");
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_its_path() {
        let fault = AuditFile::open("/nowhere/audit.jsonl".into()).unwrap_err();
        assert_eq!(fault.to_string(), "failed to open the audit log /nowhere/audit.jsonl for appending");
    }
}
