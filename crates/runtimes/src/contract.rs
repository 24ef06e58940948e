//! The seam. Two small traits; plain data in and out.

use crate::oci::Helper;
use crate::{HostPrograms, Limits, RuntimeError};
use async_trait::async_trait;
use images::{Progress, RegistryCredentials};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What a runtime can honestly promise, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Nothing: the step runs as the agent does.
    None,
    /// Namespaces, seccomp and cgroups on the host's kernel.
    Container,
    /// A kernel of its own, in user space.
    UserKernel,
    /// A virtual machine.
    Vm,
}

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be; said only where somebody asks how all is.
    Ok,
    /// Worth knowing.
    Info,
    /// A promise that can't be kept here: said at start, refused under strict operation.
    Warning,
    /// Nothing can run.
    Fatal,
}

/// What was seen of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the check, such as `cgroup.memory`.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

/// One per backend. Object safe.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// What operators type.
    fn name(&self) -> &'static str;

    /// What it can honestly promise.
    fn isolation(&self) -> Isolation;

    /// Looks at the host.
    async fn preflight(&self) -> Vec<Finding>;

    /// Directories of this host that jobs and images fill, besides those that an agent keeps for itself. What
    /// is another host's is not among them.
    async fn fills(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The version of the container engine that runs the jobs, if one does and answers.
    async fn engine_version(&self) -> Option<String> {
        None
    }

    /// Gets ready to open a sandbox soon, ahead of a job. Failing costs only time later.
    async fn warm(&self) {}

    /// Makes a sandbox with an empty workspace. Nothing runs in it yet.
    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, RuntimeError>;

    /// The name of what this start of it has on this host, if that can outlive a process that is killed.
    fn instance(&self) -> Option<String> {
        None
    }

    /// Whether something is left of the start of that name. What is, [`Runtime::reap`] or a guardian
    /// removes.
    fn is_left(&self, _instance: &str) -> bool {
        false
    }

    /// Removes whatever sandboxes of dead agents of this owner left behind. Can be run twice.
    async fn reap(&self) -> Result<Reaped, RuntimeError>;
}

/// One job's place to run.
#[async_trait]
pub trait Sandbox: Send {
    /// The workspace on this host; bound at `/data` in every step.
    fn workspace(&self) -> &Path;

    /// Runs one step to its end. When `stop` fires, the step is asked to end, and killed when it
    /// does not. When this returns, nothing that the step started is left.
    async fn run(
        &mut self,
        step: Step,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Exit, RuntimeError>;

    /// How programs on this host are started that work for the job. The sandbox is not gone before they are.
    fn programs(&self) -> HostPrograms {
        HostPrograms::default()
    }

    /// An engine whose containers are this sandbox's, for programs on this host that work for the job.
    /// `None` where the runtime has no engine.
    async fn engine(&mut self) -> Result<Option<HostEngine>, RuntimeError> {
        Ok(None)
    }

    /// Removes everything. Must be called; `Drop` only shouts.
    async fn close(self: Box<Self>) -> Result<(), RuntimeError>;
}

/// What to open.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// A name for people and for objects on the host: lower case letters, digits and dashes.
    pub name: String,
    /// What it may use.
    pub limits: Limits,
    /// Registry credentials of this job.
    pub credentials: RegistryCredentials,
}

/// What a program on this host needs to make containers for a job.
#[derive(Debug, Clone)]
pub struct HostEngine {
    /// The engine's address as `DOCKER_HOST` has it.
    pub address: String,
    /// A directory that no container sees and nobody else may enter; it goes with the sandbox.
    pub dir: PathBuf,
    /// The job's workspace, below that.
    pub workspace: PathBuf,
    /// How this program starts what keeps others to that.
    pub helper: Helper,
}

/// One step to run.
#[derive(Clone, Default)]
pub struct Step {
    /// The image.
    pub image: String,
    /// What to run: program and arguments, as seen inside.
    pub argv: Vec<String>,
    /// Working directory as seen inside, such as `/data/sub`.
    pub cwd: String,
    /// `NAME=value` pairs; they win over the image's.
    pub env: Vec<String>,
    /// When this fires, the step that is asked to end gets no time for it any more: somebody else may be about to run it.
    pub at_once: CancellationToken,
}

/// Where a step's output goes. Awaiting is back-pressure.
#[async_trait]
pub trait Output: Send {
    /// Takes bytes in the order they were written to `stream`.
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()>;

    /// Hears how an image pull goes on.
    fn progress(&self) -> &dyn Progress;
}

/// Which of a step's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// What the step's first process ended with.
    pub status: ExitStatus,
    /// Which limit of ours ended it, if one did.
    pub cause: Option<Cause>,
    /// What it used.
    pub usage: Usage,
    /// Where the time before its first instruction went.
    pub timeline: Timeline,
}

impl Exit {
    /// Of a step that was stopped before anything of it ran, while its image was looked for since `begun`.
    pub(crate) fn stopped_before_start(begun: Instant) -> Self {
        let timeline = Timeline { image: begun.elapsed(), ..Timeline::default() };
        let status = ExitStatus::Signal(rustix::process::Signal::TERM.as_raw());
        Self { status, cause: Some(Cause::Stopped), usage: Usage::default(), timeline }
    }
}

/// How long each stage took before the step's first instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeline {
    /// Until the image was there.
    pub image: Duration,
    /// Until its root file system and configuration were there.
    pub prepare: Duration,
    /// Until whatever starts it had been told to.
    pub start: Duration,
}

/// What a process ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// What of ours ended a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `stop` fired.
    Stopped,
    /// Memory ran out.
    OutOfMemory {
        /// The limit, in bytes.
        limit: u64,
        /// The most that was used, in bytes.
        peak: u64,
    },
    /// The disk is full.
    DiskFull {
        /// Its size, in bytes.
        limit: u64,
    },
    /// The disk has room, and holds as many files as it can.
    InodesFull {
        /// How many it can hold.
        limit: u64,
        /// How many it held.
        used: u64,
    },
}

/// What a step used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// CPU time, where it could be read.
    pub cpu: Option<Duration>,
    /// The most memory, in bytes, where it could be read.
    pub peak_memory: Option<u64>,
}

/// What [`Runtime::reap`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaped {
    /// Sandboxes of dead agents.
    pub sandboxes: usize,
}
