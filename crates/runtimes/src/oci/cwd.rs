//! The step's working directory, for a runtime that does not make one that is missing.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, open, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// How often the kernel is asked where a path leads.
const ATTEMPTS: usize = 10_000;
pub(super) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes `cwd`, as it is seen inside, below `root`, or in the `workspace`. Links are followed as inside, and
/// never out. Whatever is in the way is left for the runtime to meet. What is made is `owner`'s.
pub(super) fn make(root: &Path, workspace: &Path, cwd: &Path, owner: u32) -> io::Result<()> {
    let (base, below) = match cwd.strip_prefix("/data") {
        Ok(below) => (workspace, below),
        Err(_) => (root, cwd),
    };
    directory(&open(base, DIRECTORY, Mode::empty())?, below, owner).map(drop)
}

/// What `path` is to whoever has `base` as its root.
pub(super) fn within(base: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
    let mut found = Err(Errno::AGAIN);
    // While it goes up by `..` anything that is moved or mounted on this host, wherever that is, has the kernel say so.
    for _ in 0..ATTEMPTS {
        found = openat2(base, path, flags, Mode::empty(), IN_ROOT);
        if !matches!(found, Err(Errno::AGAIN)) {
            break;
        }
    }
    found
}

/// The directory at `whole` below `base`, made where it is missing, or what was in the way. The same holds of links and owners.
pub(super) fn directory(base: &OwnedFd, whole: &Path, owner: u32) -> io::Result<Result<OwnedFd, Errno>> {
    let resolve = |path: &Path| within(base, path, DIRECTORY);
    let mut path = PathBuf::from(".");
    let mut parent = resolve(&path)?;
    for part in whole.components() {
        let Component::Normal(name) = part else { continue };
        path.push(name);
        let mut found = resolve(&path);
        if matches!(found, Err(Errno::NOENT)) && mkdirat(&parent, name, Mode::from_raw_mode(0o755)).is_ok() {
            found = resolve(&path);
            if let Ok(made) = &found {
                let (user, group) = (Uid::from_raw(owner), Gid::from_raw(owner));
                chownat(made, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
            }
        }
        match found {
            Ok(directory) => parent = directory,
            Err(in_the_way) => return Ok(Err(in_the_way)),
        }
    }
    Ok(Ok(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Of the whole host, not only of what is looked up.
    #[test]
    fn what_is_moved_meanwhile_hinders_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("root/a")).unwrap();
        fs::create_dir(at("moved")).unwrap();
        let base = open(at("root"), DIRECTORY, Mode::empty()).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::rename(at("moved"), at("moved-again")).unwrap();
                    fs::rename(at("moved-again"), at("moved")).unwrap();
                }
            });
            let path = PathBuf::from("a/../".repeat(50));
            let found: Vec<_> = (0..2_000).map(|_| within(&base, &path, DIRECTORY).map(drop)).collect();
            over.store(true, Ordering::Relaxed);
            assert!(found.iter().all(Result::is_ok), "{:?}", found.iter().find(|found| found.is_err()));
        });
    }

    #[test]
    fn it_is_made_where_it_is_seen_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let (root, workspace, outside) =
            (dir.path().join("root"), dir.path().join("workspace"), dir.path().join("outside"));
        for path in [&root, &workspace, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(workspace.join("file"), "").unwrap();
        symlink(&outside, workspace.join("away")).unwrap();
        symlink("/a", root.join("link")).unwrap();
        for cwd in [
            "/",
            "/data",
            "/data/x/y",
            "/data//x/./z",
            "/a/b",
            "/link/c",
            "/data/file/d",
            "/data/away/e",
            "/data/up/..",
        ] {
            make(&root, &workspace, Path::new(cwd), 0).unwrap();
        }
        for made in ["workspace/x/y", "workspace/x/z", "root/a/b", "root/a/c"] {
            assert!(dir.path().join(made).is_dir(), "{made}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_link(workspace.join("away")).unwrap(), outside);
    }
}
