//! What a program on this host sees of it.

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use rustix::process::pivot_root;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

/// Where programs are, and what they need to start.
const PROGRAMS: [&str; 24] = [
    "/bin",
    "/etc/alternatives",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/profiles",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/opt",
    "/run/current-system/sw",
    "/sbin",
    "/usr",
    "/usr/local",
];
/// What most programs open.
const DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];
/// Where the new root is put together, beside the door.
const PLACE: &str = "root";
const SMALL: &CStr = c"size=1m,mode=755";
const TMP: &CStr = c"size=64m,mode=1777";

const SEEN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const READ: MountFlags = SEEN.union(MountFlags::RDONLY);

/// What there is to see.
pub(super) struct View<'a> {
    /// Around the workspace, with the door: only to be read.
    pub(super) around: &'a Path,
    /// Where it may write.
    pub(super) workspace: &'a Path,
    /// Where its programs are found.
    pub(super) search_path: &'a [PathBuf],
}

impl View<'_> {
    /// Makes that the root of this process, whose mounts must be its own.
    pub(super) fn become_root(&self) -> io::Result<()> {
        let root = self.around.join(PLACE);
        fs::create_dir_all(&root)?;
        mount("tmpfs", &root, "tmpfs", SEEN, SMALL)?;
        let own = |name: &str| {
            let path = root.join(name);
            fs::create_dir(&path).map(|()| path)
        };
        // Settings of the kernel are there as well, and belong to root.
        mount("proc", own("proc")?, "proc", READ | MountFlags::NOEXEC, None)?;
        // Before what is shown in it.
        mount("tmpfs", own("tmp")?, "tmpfs", SEEN | MountFlags::NOEXEC, TMP)?;
        for path in self.to_be_read() {
            show(&root, &path, READ)?;
        }
        for device in DEVICES.map(Path::new) {
            show(&root, device, MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC)?;
        }
        show(&root, self.workspace, SEEN | MountFlags::NOEXEC)?;
        mount_remount(&root, READ, SMALL)?;
        std::env::set_current_dir(&root)?;
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")
    }

    /// Ordered, so that what is inside another comes after it.
    fn to_be_read(&self) -> BTreeSet<PathBuf> {
        let programs = PROGRAMS.iter().map(PathBuf::from);
        let found = self.search_path.iter().cloned();
        let all: BTreeSet<PathBuf> = programs.chain(found).chain([self.around.to_owned()]).collect();
        // The place of programs may be a link to elsewhere.
        let real = all.iter().filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>();
        // Who has such a path of programs shows nothing by it.
        let is_sensible = |path: &PathBuf| path.parent().is_some() && !path.starts_with("/proc");
        all.into_iter().chain(real).filter(is_sensible).collect()
    }
}

/// Shows what is at `path`, if anything is, at the same place below `root`.
fn show(root: &Path, path: &Path, flags: MountFlags) -> io::Result<()> {
    let Ok(kind) = fs::symlink_metadata(path).map(|metadata| metadata.file_type()) else { return Ok(()) };
    let at = root.join(path.strip_prefix("/").unwrap_or(path));
    if at.parent().is_some_and(|parent| !parent.is_dir()) {
        fs::create_dir_all(at.parent().unwrap_or(root))?;
    }
    if kind.is_symlink() {
        return match symlink(fs::read_link(path)?, &at) {
            // It is seen with what is around it.
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(fault) if fault.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
            made => made,
        };
    }
    if !at.exists() {
        if kind.is_dir() {
            fs::create_dir(&at)?;
        } else if kind.is_file() || kind.is_char_device() {
            File::create(&at)?;
        } else {
            return Ok(());
        }
    }
    mount_bind(path, &at)?;
    Ok(mount_remount(&at, MountFlags::BIND | flags, "")?)
}
