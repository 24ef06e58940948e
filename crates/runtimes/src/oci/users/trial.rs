//! Whether jobs can have users of their own here: everything that a job needs is done once, since what is
//! there may still not be allowed.

use super::{Obstacle, Range, SIZE, namespace};
use crate::oci::Helper;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Where the kernel says how many user namespaces there may be.
const MOST: &str = "/proc/sys/user/max_user_namespaces";

/// What a job needs one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Range,
    OwnMounts,
    Scratch,
    Volume,
    Layers,
    Overlay,
}

/// Tries it with a range taken for the process that has `dir`, and mounts in the directory `scratch`, of which
/// nothing stays. Returns that range.
pub(in crate::oci) fn try_out(
    helper: &Helper,
    dir: &Path,
    scratch: &Path,
    layers: &Path,
) -> Result<Range, Obstacle> {
    let range = Range::take(dir).map_err(met(Need::Range))?;
    namespace::try_out(helper, range.root(), SIZE).map_err(met(Need::OwnMounts))?;
    let trial = tempfile::tempdir_in(scratch).map_err(met(Need::Scratch))?;
    let at = |name: &str| trial.path().join(name);
    // A directory and one that it holds make no overlay, says Linux 6.1.
    let shown = if trial.path().starts_with(layers) { &at("sample") } else { layers };
    ["volume", "layers", "root", "sample"]
        .iter()
        .try_for_each(|name| fs::create_dir(at(name)))
        .map_err(met(Need::Scratch))?;
    let tried = range
        .hand_over(&at("volume"))
        .map_err(met(Need::Volume))
        .and_then(|()| range.show(shown, &at("layers")).map_err(met(Need::Layers)))
        .and_then(|()| overlay(&[at("layers"), at("volume")], &at("root")).map_err(met(Need::Overlay)));
    for name in ["root", "layers", "volume"] {
        // What was not mounted can't be unmounted.
        let _ = unmount(at(name), UnmountFlags::DETACH);
    }
    tried.map(|()| range)
}

/// An overlay of `layers` that nothing can be written to.
fn overlay(layers: &[PathBuf], at: &Path) -> io::Result<()> {
    // Paths may hold the characters that separate them.
    let open = |path: &PathBuf| Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    let held = layers.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let names: Vec<String> =
        held.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = CString::new(format!("lowerdir={}", names.join(":")))?;
    Ok(mount(c"overlay", at, c"overlay", MountFlags::RDONLY, options.as_c_str())?)
}

/// What is told of a need that was not met.
fn met(need: Need) -> impl FnOnce(io::Error) -> Obstacle {
    move |error| {
        let most = fs::read_to_string(MOST).ok();
        Obstacle {
            seen: format!("{}: {error}", lacks(need)),
            remedy: remedy(need, Errno::from_io_error(&error), most.as_deref()),
        }
    }
}

fn lacks(need: Need) -> &'static str {
    match need {
        Need::Range => "no user namespace could be made",
        Need::OwnMounts => "/proc and /sys could not be mounted in a user namespace",
        Need::Scratch => "no directory for a trial could be made",
        Need::Volume => "the file system of the data directory can't show files with other owners",
        Need::Layers => "the file system of the images can't show files with other owners",
        Need::Overlay => "overlayfs can't show files with other owners",
    }
}

/// What helps; `most` is how many user namespaces there may be, if the kernel says.
fn remedy(need: Need, error: Option<Errno>, most: Option<&str>) -> String {
    let told = match need {
        Need::Range if most.is_none() => "use a kernel with CONFIG_USER_NS",
        Need::Range if most.is_some_and(|most| most.trim() == "0") => {
            "allow user namespaces: sysctl -w user.max_user_namespaces=15000"
        }
        Need::Range if error == Some(Errno::ROFS) => "let the executor write to /run",
        Need::Range => "run executor as root of the host, or in a container that is privileged",
        Need::OwnMounts => {
            "run executor outside a container, or in one that hides nothing of /proc and /sys (systempaths=unconfined)"
        }
        Need::Scratch => "let the executor write to its data directory",
        Need::Volume | Need::Layers => {
            "keep EXECUTOR_DATA_DIR on ext4, XFS or btrfs; on tmpfs it takes Linux 6.3"
        }
        Need::Overlay => "update to Linux 5.19 or later",
    };
    told.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_comes_with_what_helps() {
        let of = |need, error, most| remedy(need, error, most);
        for (need, error, most, helps) in [
            (Need::Range, Some(Errno::NOSPC), Some("0\n"), "user.max_user_namespaces"),
            (Need::Range, Some(Errno::INVAL), None, "CONFIG_USER_NS"),
            (Need::Range, Some(Errno::ROFS), Some("95000\n"), "/run"),
            (Need::Range, Some(Errno::PERM), Some("95000\n"), "privileged"),
            (Need::OwnMounts, Some(Errno::PERM), Some("95000\n"), "systempaths"),
            (Need::Layers, Some(Errno::INVAL), Some("95000\n"), "EXECUTOR_DATA_DIR"),
            (Need::Overlay, Some(Errno::INVAL), Some("95000\n"), "5.19"),
        ] {
            let told = of(need, error, most);
            assert!(told.contains(helps), "{need:?}: {told}");
        }
    }
}
