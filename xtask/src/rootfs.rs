//! A small Debian root file system, made from packages and kept outside of the checkout.

use crate::command::{program, run};
use anyhow::{Context, Result};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

/// What is made: a change of it makes a new one.
const RECIPE: &[&str] = &[
    "--variant=minbase",
    "--include=git",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "bookworm",
];

/// The root file system as a tar file; made when it is not there, in about 20 s.
pub(crate) fn debian() -> Result<PathBuf> {
    let dir = cache()?.join("rootfs");
    let mut hasher = DefaultHasher::new();
    RECIPE.hash(&mut hasher);
    let file = dir.join(format!("debian-{:016x}.tar", hasher.finish()));
    if file.exists() {
        return Ok(file);
    }
    println!("making a small Debian root file system from packages (about 20 s, kept for the next time)");
    std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let partial = dir.join(format!("partial-{}.tar", std::process::id()));
    let made = run(program("mmdebstrap", RECIPE).arg("--quiet").arg(&partial));
    if made.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    made?;
    std::fs::rename(&partial, &file).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}

/// What is made for guests of tests: a small Debian with systemd.
const GUEST_RECIPE: &[&str] = &[
    "--variant=minbase",
    "--include=crun,dbus,dbus-user-session,e2fsprogs,git,iproute2,libpam-systemd,slirp4netns,systemd,systemd-sysv,uidmap",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "bookworm",
];
/// Bytes; what is not written to takes no room.
const GUEST_DISK: u64 = 1 << 30;

/// Makes the disk that tests' guests boot from, where tests look for it, in about 30 s.
pub(crate) fn guest() -> Result<()> {
    let dir = cache()?.join("guest-system");
    let recipe = GUEST_RECIPE.join("\n");
    if std::fs::read_to_string(dir.join("recipe")).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    println!("making a small Debian with systemd for guests (about 30 s, kept for the next time)");
    std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let scratch = tempfile::tempdir_in(&dir)?;
    let at = |name: &str| scratch.path().join(name);
    run(program("mmdebstrap", GUEST_RECIPE).args(["--quiet", "--format=directory"]).arg(at("root")))?;
    std::fs::File::create(at("disk"))?.set_len(GUEST_DISK)?;
    let options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"];
    run(program("mke2fs", options).args([at("root"), at("disk")]))?;
    std::fs::rename(at("disk"), dir.join("disk"))?;
    std::fs::write(dir.join("recipe"), recipe).with_context(|| format!("failed to write {}", dir.display()))
}

/// Where caches are kept.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set, so there is no place for caches")?;
    let base =
        std::env::var_os("XDG_CACHE_HOME").map_or_else(|| PathBuf::from(home).join(".cache"), PathBuf::from);
    Ok(base.join("executor-xtask"))
}
