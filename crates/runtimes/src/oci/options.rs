//! What an operator decides.

use super::{AdditionalMount, LauncherAhead, NetworkOptions, Tried};
use crate::{GuardianAhead, PrivateMounts, RuntimeError};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a step that was asked to end may take, unless options say otherwise.
pub const GRACE: Duration = Duration::from_secs(2);
/// The size of a job's disk that is made ahead, in bytes, unless options say otherwise.
pub const SPARE_DISK: u64 = 10 << 30;
/// Names become parts of paths and of control groups.
const LONGEST_OWNER: usize = 48;

/// How [`super::OciRuntime`] works.
#[derive(Debug, Clone)]
pub struct OciOptions {
    /// Proof that disks of jobs can be mounted out of the host's sight.
    pub mounts: PrivateMounts,
    /// Where disks and state files of running jobs are kept. Nothing in it outlives its job.
    pub state_dir: PathBuf,
    /// Whose sandboxes these are, among all that run on this host: lower case letters, digits and
    /// dashes, at most 48.
    pub owner: String,
    /// The OCI runtime: a path, or a name to be found in `search_path`. `None` takes the first of
    /// crun, runc, youki and runsc that is there.
    pub runtime: Option<String>,
    /// Where programs are found, as in `PATH`.
    pub search_path: OsString,
    /// Refuse a job when a limit that it asks for can't be enforced.
    pub strict: bool,
    /// Whether jobs have users of their own.
    pub users: OwnUsers,
    /// What jobs get for a network; unless options say otherwise, a loopback.
    pub network: NetworkOptions,
    /// What a runtime with the same options has found out of this host, so that it is not tried again.
    pub tried: Option<Tried>,
    /// The size of disks that are made ahead, in bytes: that of most jobs' limit.
    pub spare_disk: u64,
    /// It is made for one job: what was made ahead for that one is not made again.
    pub one_job: bool,
    /// How long a step that was asked to end may take before it is killed.
    pub grace: Duration,
    /// What every step sees besides.
    pub additional_mounts: Vec<AdditionalMount>,
    /// A bundle of certificates that every step is given, PEM; `None` leaves steps to their images.
    pub certificates: Option<PathBuf>,
    /// A script that every step is given at [`crate::STARTUP_SCRIPT`].
    pub startup_script: Option<PathBuf>,
    /// How this program starts its own helpers.
    pub helper: Helper,
}

/// Whether jobs have users of their own, so that root in a job is nobody on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnUsers {
    /// They have the host's.
    Never,
    /// Where that can be; where it can't, they have the host's.
    #[default]
    WherePossible,
    /// Where that can't be, none runs.
    Always,
}

/// A command that ends up in [`super::helper_main`], given the arguments after `args`.
#[derive(Debug, Clone)]
pub struct Helper {
    /// The program; `/proc/self/exe` stays right when the file is replaced by an upgrade.
    pub program: PathBuf,
    /// What leads to `helper_main`, such as a hidden subcommand.
    pub args: Vec<OsString>,
    /// For the first who needs one.
    pub guardian: GuardianAhead,
    /// The same.
    pub launcher: LauncherAhead,
}

impl Helper {
    /// Such a command.
    pub fn new(program: impl Into<PathBuf>, args: Vec<OsString>) -> Self {
        Self {
            program: program.into(),
            args,
            guardian: GuardianAhead::default(),
            launcher: LauncherAhead::default(),
        }
    }

    /// A command of one in `role` that inherits nothing, is talked to over pipes and says nothing besides.
    pub(crate) fn command(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .arg(role)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }
}

impl OciOptions {
    /// The least that must be said; everything else can be changed afterwards.
    pub fn new(
        mounts: PrivateMounts,
        state_dir: impl Into<PathBuf>,
        owner: impl Into<String>,
        helper: Helper,
    ) -> Self {
        Self {
            mounts,
            state_dir: state_dir.into(),
            owner: owner.into(),
            runtime: None,
            search_path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            strict: false,
            users: OwnUsers::default(),
            network: NetworkOptions::default(),
            tried: None,
            spare_disk: SPARE_DISK,
            one_job: false,
            grace: GRACE,
            additional_mounts: Vec::new(),
            certificates: None,
            startup_script: None,
            helper,
        }
    }

    pub(super) fn check(&self) -> Result<(), RuntimeError> {
        check_name("owner", &self.owner, LONGEST_OWNER)?;
        if self.state_dir.is_absolute() {
            return Ok(());
        }
        Err(RuntimeError::Host(format!(
            "the state directory {} must be an absolute path",
            self.state_dir.display()
        )))
    }
}

/// Names of sandboxes become host names, which the kernel limits.
pub(crate) fn check_sandbox_name(name: &str) -> Result<(), RuntimeError> {
    check_name("sandbox name", name, 63)
}

fn check_name(what: &str, name: &str, longest: usize) -> Result<(), RuntimeError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=longest).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('-') {
        return Ok(());
    }
    Err(RuntimeError::Refused(format!(
        "the {what} {name:?} must be 1 to {longest} lower case letters, digits and dashes, and not begin with a dash"
    )))
}
