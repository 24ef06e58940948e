//! Whether an ordinary user can run jobs here, and with how many users: what every job needs is done once,
//! since what is there may still not be allowed.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, since it can also split file descriptor tables"
)]

use super::{Helper, own_processes};
use crate::private_mounts::sealed_mounts;
use crate::{Finding, Severity, user_namespace};
use rustix::mount::{MountFlags, mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What [`super::helper_main`] calls this.
pub(super) const ROLE: &str = "try-ordinary-user";
/// Images know users up to 65534, nobody.
const ENOUGH_USERS: u64 = (1 << 16) - 1;

/// What was seen; tried in the directory `scratch`, on the file system of jobs' disks. Blocking, for some
/// milliseconds.
pub(super) fn finding(helper: &Helper, scratch: &Path) -> Finding {
    judge(user_namespace::size(), try_out(helper, scratch))
}

fn judge(users: u64, tried: io::Result<()>) -> Finding {
    let seen = format!("an ordinary user runs the jobs, in a user namespace with {users} users");
    let (severity, seen, remedy) = match tried {
        Err(why) => (
            Severity::Fatal,
            format!("an ordinary user can't run jobs here: {why}"),
            "see that the kernel is 5.11 or later and that no container hides parts of /proc or /sys, or run executor as root",
        ),
        Ok(()) if users < ENOUGH_USERS => (
            Severity::Warning,
            format!("{seen}: images with files of others beyond these can't be unpacked"),
            "give the user more in /etc/subuid and /etc/subgid, such as 65536",
        ),
        Ok(()) => (Severity::Info, seen, ""),
    };
    Finding { id: "oci.ordinary", severity, seen, remedy: remedy.to_owned() }
}

fn try_out(helper: &Helper, scratch: &Path) -> io::Result<()> {
    let trial = tempfile::tempdir_in(scratch)?;
    let mut tried = helper.command(ROLE).arg(trial.path()).spawn()?;
    // Its end is what ends the trial, should this process go.
    let held = tried.stdin.take();
    let ended = tried.wait_with_output()?;
    drop(held);
    match String::from_utf8_lossy(&ended.stdout).trim() {
        "" if ended.status.success() => Ok(()),
        "" => Err(io::Error::other(format!("the trial ended with {}", ended.status))),
        why => Err(io::Error::other(why.to_owned())),
    }
}

/// The trial's own life.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(scratch) = args.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    let tried = match own_processes::split() {
        Ok(Some(ended)) => return ExitCode::from(ended),
        Ok(None) => try_inside(&scratch),
        Err(why) => Err(context("get processes of its own")(why)),
    };
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // There is nobody else to tell.
            let _ = write!(io::stdout(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn try_inside(scratch: &Path) -> io::Result<()> {
    sealed_mounts().map_err(context("get mounts of its own"))?;
    own_processes::show().map_err(context("mount /proc"))?;
    own_processes::take_groups_for_roots().map_err(context("get a view of control groups of its own"))?;
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|error| context("get a network of its own")(error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"sysfs", c"/sys", c"sysfs", flags | MountFlags::RDONLY, None)
        .map_err(|error| context("mount /sys")(error.into()))?;
    overlay(scratch).map_err(context("mount an overlay in the data directory"))
}

/// The overlay of a step, in small.
fn overlay(scratch: &Path) -> io::Result<()> {
    let [lower, upper, work, root] = ["lower", "upper", "work", "root"].map(|name| scratch.join(name));
    [&lower, &upper, &work, &root].into_iter().try_for_each(fs::create_dir)?;
    // Options name them, and paths may hold the characters that separate these.
    std::env::set_current_dir(scratch)?;
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,index=off,userxattr";
    mount(c"overlay", c"root", c"overlay", MountFlags::NOSUID | MountFlags::NODEV, options)?;
    fs::write(root.join("written"), "")
}

fn context(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("failed to {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_and_counted_is_told() {
        let told = |users, tried| {
            let told = judge(users, tried);
            (told.severity, told.seen, told.remedy)
        };
        let (severity, seen, remedy) = told(65_537, Ok(()));
        assert_eq!((severity, remedy.as_str()), (Severity::Info, ""));
        assert!(seen.ends_with("with 65537 users"), "{seen}");
        let (severity, seen, remedy) = told(1_001, Ok(()));
        assert!(severity == Severity::Warning && seen.contains("1001") && remedy.contains("/etc/subuid"));
        let (severity, seen, remedy) = told(65_537, Err(io::Error::other("it rains")));
        assert!(severity == Severity::Fatal && seen.ends_with(": it rains") && remedy.contains("as root"));
    }
}
