//! Programs on this host that work for a job, such as src: what they start may be a job's own choice, since files of
//! a repository can name programs to those that read them, git above all.
//!
//! By root, one gets namespaces of its own: it sees the programs of this host, the job's workspace, the door to the
//! engine, and nothing else; it can change nothing but the workspace, has no network, and of root's rights only
//! those over files. What it starts ends with it. Who is not root has no such means, and it runs as its user then.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, since it can also split file descriptor tables"
)]

mod rights;
mod root;

use crate::HostEngine;
use crate::oci::{find_program, split};
use crate::private_mounts::sealed_mounts;
use root::View;
use rustix::thread::{UnshareFlags, set_no_new_privs, unshare_unsafe};
use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// What [`crate::helper_main`] calls this.
pub(crate) const ROLE: &str = "host-program";
/// What this ends with when the program could not be started, as a shell does.
const NOT_STARTED: u8 = 126;

/// Where the program is to run.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    workspace: PathBuf,
    /// Below the workspace.
    directory: PathBuf,
    /// The door's, which the workspace is in.
    around: PathBuf,
    /// What the program and those that it starts are found by.
    search_path: Vec<PathBuf>,
}

impl HostEngine {
    /// What to run so that `program`, with its arguments, runs in `directory` of the workspace and is kept to what
    /// its job needs. `None` if no such program is found by `search_path`.
    pub fn confined(&self, directory: &str, search_path: &str, program: &[String]) -> Option<Vec<String>> {
        let found = find_program(program.first()?, OsStr::new(search_path))?;
        let place = Place {
            workspace: self.workspace.clone(),
            directory: directory.into(),
            around: self.dir.clone(),
            search_path: env::split_paths(search_path).filter(|dir| dir.is_absolute()).collect(),
        };
        let place = serde_json::to_string(&place).ok()?;
        let own = self.helper.args.iter().map(|arg| arg.to_string_lossy().into_owned());
        let start = [self.helper.program.to_str()?.to_owned()].into_iter().chain(own);
        let found = found.to_str()?.to_owned();
        let rest = [ROLE.to_owned(), place, found].into_iter().chain(program[1..].iter().cloned());
        Some(start.chain(rest).collect())
    }
}

/// The life of the process that becomes the program: `args` are its place, the program and what that is given.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let place = args.next().and_then(|place| serde_json::from_slice(place.as_encoded_bytes()).ok());
    let (Some(place), Some(program)) = (place, args.next()) else { return ExitCode::from(NOT_STARTED) };
    let fault = match confine(&place) {
        Ok(Some(ended)) => return ended,
        Ok(None) => format!("starting {}: {}", program.display(), Command::new(&program).args(args).exec()),
        Err(fault) => format!("keeping {} to its job's workspace: {fault}", program.display()),
    };
    let _ = writeln!(io::stderr(), "executor: {fault}");
    ExitCode::from(NOT_STARTED)
}

/// Goes on as a process that is confined, for which this returns nothing; the other waits for that one, and gets what
/// to end with.
fn confine(place: &Place) -> io::Result<Option<ExitCode>> {
    match split() {
        Ok(None) => {}
        Ok(ended) => return Ok(ended.map(ExitCode::from)),
        // Who has no right to make namespaces is no root, or one of a container.
        Err(fault) if fault.kind() == io::ErrorKind::PermissionDenied => {
            env::set_current_dir(place.workspace.join(&place.directory))?;
            set_no_new_privs(true)?;
            return Ok(None);
        }
        Err(fault) => return Err(fault),
    }
    sealed_mounts()?;
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWIPC | UnshareFlags::NEWNET | UnshareFlags::NEWUTS) }?;
    View { around: &place.around, workspace: &place.workspace, search_path: &place.search_path }
        .become_root()?;
    env::set_current_dir(place.workspace.join(&place.directory))?;
    rights::leave_all_but_those_over_files()?;
    Ok(None)
}
