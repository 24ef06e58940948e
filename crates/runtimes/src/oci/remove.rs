//! Removing a directory that a job filled.
//!
//! `std::fs::remove_dir_all` holds a descriptor per level and fails on a tree that is deeper than
//! their limit, which a job can build in a second. Here every directory is first moved right below
//! the top, so that the work is one level deep however the tree was built.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Directories that are removed to make room for another one, where somebody else fills the disk meanwhile.
const MOST_FREED: usize = 1_000;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `path` and all below, following no link. A path that is not there is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match rustix::fs::open(path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    let Some(pit) = pit_on_a_full_disk(top.as_fd())? else { return std::fs::remove_dir(path) };
    let pit_fd = openat(&top, &pit, DIRECTORY, Mode::empty())?;
    let mut moved = 0_u64;
    empty(top.as_fd(), pit_fd.as_fd(), Some(&pit), &mut moved)?;
    let mut next = 0_u64;
    while next < moved {
        let name = numbered(next);
        next += 1;
        let directory = match openat(&pit_fd, &name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => None,
            result => Some(result?),
        };
        if let Some(directory) = directory {
            empty(directory.as_fd(), pit_fd.as_fd(), None, &mut moved)?;
            unlinkat(&pit_fd, &name, AtFlags::REMOVEDIR)?;
        }
    }
    unlinkat(&top, &pit, AtFlags::REMOVEDIR)?;
    std::fs::remove_dir(path)
}

/// Makes the pit, after as many directories were removed as it needs room for. `None` where none is left: then `top` is
/// empty.
fn pit_on_a_full_disk(top: BorrowedFd<'_>) -> io::Result<Option<CString>> {
    for _ in 0..MOST_FREED {
        match make_pit(top) {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                if !remove_a_leaf(top)? {
                    return Ok(None);
                }
            }
            made => return made.map(Some),
        }
    }
    make_pit(top).map(Some)
}

/// Removes one directory that has no other, and the files on the way to it; whether there was one. However deep it is, two
/// descriptors lead there.
fn remove_a_leaf(top: BorrowedFd<'_>) -> io::Result<bool> {
    let mut at = openat(top, c".", DIRECTORY, Mode::empty())?;
    let mut leaf = None;
    while let Some(name) = first_directory(at.as_fd())? {
        let below = openat(&at, &name, DIRECTORY, Mode::empty())?;
        leaf = Some((std::mem::replace(&mut at, below), name));
    }
    let Some((parent, name)) = leaf else { return Ok(false) };
    unlinkat(&parent, &name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

/// Unlinks what comes before the first directory in `directory`, and names that.
fn first_directory(directory: BorrowedFd<'_>) -> io::Result<Option<CString>> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Makes a directory below the top that was not there, so that what is moved meets nothing.
fn make_pit(top: BorrowedFd<'_>) -> io::Result<CString> {
    let mut attempt = 0;
    loop {
        let name = CString::new(format!(".executor-remove-{attempt}"))?;
        match mkdirat(top, &name, Mode::RWXU) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Unlinks what is in `directory` and moves its directories to `pit`.
fn empty(
    directory: BorrowedFd<'_>,
    pit: BorrowedFd<'_>,
    kept: Option<&std::ffi::CStr>,
    moved: &mut u64,
) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || Some(name) == kept {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                renameat(directory, name, pit, numbered(*moved))?;
                *moved += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn numbered(number: u64) -> CString {
    let digits = number.to_string().into_bytes();
    // Digits hold no NUL, so the empty name is never used.
    CString::new(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that has one that has one, thousands of levels down.
    fn make_deep(top: &Path) {
        std::fs::create_dir(top).unwrap();
        let mut at = rustix::fs::open(top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_deep_tree_goes() {
        let parent = tempfile::tempdir().unwrap();
        let top = parent.path().join("top");
        make_deep(&top);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }

    /// As a directory is, of an agent that found no room for all that it needs.
    #[test]
    fn a_tree_goes_from_a_full_disk() {
        let test = "oci::remove::tests::a_tree_goes_from_a_full_disk";
        let Some(disk) = testkit::SmallDisk::mount(test, 8 << 20) else { return };
        let top = disk.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "x").unwrap();
        disk.fill(0);
        let full = std::fs::create_dir(disk.path().join("another")).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }

    /// A job makes one in a second, and whoever removes it has a small stack and few descriptors.
    #[test]
    fn a_deep_tree_goes_from_a_full_disk() {
        let test = "oci::remove::tests::a_deep_tree_goes_from_a_full_disk";
        let Some(disk) = testkit::SmallDisk::mount(test, 32 << 20) else { return };
        let top = disk.path().join("top");
        make_deep(&top);
        disk.fill(0);
        let full = std::fs::create_dir(disk.path().join("another")).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        let tree = top.clone();
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn(move || remove_tree(&tree).unwrap()).unwrap().join().unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn links_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (top, outside) = (parent.path().join("top"), parent.path().join("outside"));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("a/link")).unwrap();
        remove_tree(&top).unwrap();
        assert!(outside.join("kept").exists() && !top.exists());
        remove_tree(&top).unwrap();
    }
}
