//! Files that give whoever runs them the rights of their owner.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, open, openat, statat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Of a file that only looks like one by now, nothing is waited for.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Takes from every file below `top` what gives its user's or group's rights away. Follows no link, and needs two
/// descriptors however deep it goes; nobody else may change anything there meanwhile. It goes on after a failure, and
/// returns the first.
pub(super) fn take_rights(top: &Path) -> io::Result<()> {
    let mut here = open(top, DIRECTORY, Mode::empty())?;
    let mut first = Ok(());
    let mut ahead = vec![directories(here.as_fd(), &mut first)];
    while let Some(next) = ahead.last_mut() {
        let Some(name) = next.pop() else {
            ahead.pop();
            if !ahead.is_empty() {
                here = openat(&here, c"..", DIRECTORY, Mode::empty())?;
            }
            continue;
        };
        match openat(&here, &name, DIRECTORY, Mode::empty()) {
            Ok(below) => {
                here = below;
                ahead.push(directories(here.as_fd(), &mut first));
            }
            Err(fault) => note(&mut first, Err(fault)),
        }
    }
    Ok(first?)
}

/// Treats the files in a directory, and names the directories.
fn directories(directory: BorrowedFd<'_>, first: &mut Result<(), Errno>) -> Vec<CString> {
    let mut found = Vec::new();
    let entries = match Dir::read_from(directory) {
        Ok(entries) => entries,
        Err(fault) => {
            note(first, Err(fault));
            return found;
        }
    };
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name().to_owned(),
            Err(fault) => {
                note(first, Err(fault));
                break;
            }
        };
        if [c".", c".."].contains(&name.as_c_str()) {
            continue;
        }
        match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => found.push(name),
                FileType::RegularFile if gives_rights(stat.st_mode) => {
                    note(
                        first,
                        openat(directory, &name, FILE, Mode::empty()).and_then(|file| take_from(&file)),
                    );
                }
                _ => {}
            },
            Err(fault) => note(first, Err(fault)),
        }
    }
    found
}

fn gives_rights(mode: u32) -> bool {
    Mode::from_raw_mode(mode).intersects(Mode::SUID | Mode::SGID)
}

fn take_from(file: &OwnedFd) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(fstat(file)?.st_mode);
    fchmod(file, mode - (Mode::SUID | Mode::SGID))
}

fn note(first: &mut Result<(), Errno>, done: Result<(), Errno>) {
    if first.is_ok() {
        *first = done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const DEPTH: usize = 1_200;

    #[test]
    fn files_give_no_rights_wherever_they_are_and_keep_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        let deep = top.join("d/e/f");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(top.join("g")).unwrap();
        let files =
            [deep.join("both"), top.join("g/user"), top.join("group"), top.join("none"), other.clone()];
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (path, mode) in files.iter().zip([0o6755, 0o4711, 0o2550, 0o1640, 0o4755]) {
            fs::write(path, "").unwrap();
            set(path, mode);
        }
        symlink(&other, top.join("link")).unwrap();
        symlink(dir.path(), top.join("g/way out")).unwrap();
        set(&top.join("g"), 0o2775);
        take_rights(&top).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(files.each_ref().map(|path| mode(path)), [0o755, 0o711, 0o550, 0o1640, 0o4755]);
        assert_eq!(mode(&top.join("g")), 0o2775, "a directory gives none");
    }

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_is_gone_through() {
        let dir = tempfile::tempdir().unwrap();
        let mut here = open(dir.path(), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..DEPTH {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = openat(&here, c"d", DIRECTORY, Mode::empty()).unwrap();
        }
        let how = OFlags::WRONLY | OFlags::CREATE;
        let file = openat(&here, c"file", how, Mode::RWXU).unwrap();
        fchmod(&file, Mode::RWXU | Mode::SUID).unwrap();
        take_rights(dir.path()).unwrap();
        assert!(!gives_rights(fstat(&file).unwrap().st_mode));
        // What removes the directory for tests is not made for this.
        rustix::fs::unlinkat(&here, c"file", AtFlags::empty()).unwrap();
        for _ in 0..DEPTH {
            here = openat(&here, c"..", DIRECTORY, Mode::empty()).unwrap();
            rustix::fs::unlinkat(&here, c"d", AtFlags::REMOVEDIR).unwrap();
        }
    }
}
