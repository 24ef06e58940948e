//! A runtime that plays what a test tells it, and remembers what it was asked.

use async_trait::async_trait;
use runtimes::{
    Cause, Exit, ExitStatus, Finding, Isolation, Output, Reaped, Runtime, RuntimeError, Sandbox, SandboxSpec,
    Step, Stream, Timeline, Usage,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// One thing that a step does.
#[derive(Clone)]
pub(crate) enum Act {
    Out(&'static str),
    Err(&'static str),
    Bytes(Stream, Vec<u8>),
    /// The same bytes many times.
    Flood(Vec<u8>, usize),
    /// Goes on when the test cancels this.
    Await(CancellationToken),
    /// Runs until it is stopped.
    UntilStopped,
    /// Does so in the first sandbox only, and there goes on until the test cancels this.
    FirstIsSlowToStop(CancellationToken),
    /// Keeps a thread of the agent's tokio runtime from doing anything else until this returns.
    BlockThread(Arc<dyn Fn() + Send + Sync>),
    /// Does something in the workspace.
    Do(fn(&Path)),
    Exit(i32),
    Signal(i32),
    OutOfMemory,
    Refuse,
    Panic,
}

/// A sandbox that was opened.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) registries: Vec<String>,
    pub(crate) workspace: PathBuf,
    pub(crate) steps: Vec<(String, Vec<String>, String, Vec<String>)>,
    /// Files in the workspace when the first step ran, with their content.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) closed: bool,
    /// How many others were open when this one was opened.
    pub(crate) beside: usize,
}

/// Plays the steps of every job, in order.
#[derive(Clone)]
pub(crate) struct FakeRuntime {
    steps: Arc<Vec<Vec<Act>>>,
    opened: Arc<Mutex<Vec<Opened>>>,
    /// Where workspaces are made.
    place: PathBuf,
    /// Directories of the host that it says jobs fill.
    pub(crate) fills: Arc<Mutex<Vec<PathBuf>>>,
}

impl FakeRuntime {
    pub(crate) fn new(steps: Vec<Vec<Act>>, place: &Path) -> Self {
        let place = place.to_owned();
        Self { steps: Arc::new(steps), opened: Arc::default(), place, fills: Arc::default() }
    }

    pub(crate) fn opened(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.opened.lock().unwrap()
    }
}

struct FakeSandbox {
    runtime: FakeRuntime,
    number: usize,
    next: usize,
    workspace: TempDir,
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn isolation(&self) -> Isolation {
        Isolation::None
    }

    async fn preflight(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn fills(&self) -> Vec<PathBuf> {
        self.fills.lock().unwrap().clone()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, RuntimeError> {
        let workspace = tempfile::tempdir_in(&self.place);
        let workspace = workspace.map_err(|_| RuntimeError::Host("there is no place for it".to_owned()))?;
        let mut all = self.opened();
        let beside = all.iter().filter(|other| !other.closed).count();
        all.push(Opened {
            name: spec.name,
            registries: spec.credentials.registries(),
            workspace: workspace.path().to_owned(),
            steps: Vec::new(),
            files: Vec::new(),
            closed: false,
            beside,
        });
        let number = all.len() - 1;
        Ok(Box::new(FakeSandbox { runtime: self.clone(), number, next: 0, workspace }))
    }

    async fn reap(&self) -> Result<Reaped, RuntimeError> {
        Ok(Reaped::default())
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    async fn run(
        &mut self,
        step: Step,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        {
            let opened = &mut self.runtime.opened()[self.number];
            opened.steps.push((step.image, step.argv, step.cwd, step.env));
            if self.next == 0 {
                collect(self.workspace.path(), Path::new(""), &mut opened.files);
            }
        }
        let runtime = self.runtime.clone();
        let acts = runtime.steps.get(self.next).cloned().unwrap_or_default();
        self.next += 1;
        for act in acts {
            if let Some(exit) = self.play(act, out, stop).await? {
                return Ok(exit);
            }
        }
        Ok(exit(ExitStatus::Code(0), None))
    }

    async fn close(self: Box<Self>) -> Result<(), RuntimeError> {
        self.runtime.opened()[self.number].closed = true;
        Ok(())
    }
}

impl FakeSandbox {
    async fn play(
        &self,
        act: Act,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Option<Exit>, RuntimeError> {
        match act {
            Act::Out(text) => out.write(Stream::Stdout, text.as_bytes()).await.unwrap(),
            Act::Err(text) => out.write(Stream::Stderr, text.as_bytes()).await.unwrap(),
            Act::Bytes(stream, bytes) => out.write(stream, &bytes).await.unwrap(),
            Act::Flood(bytes, times) => {
                for _ in 0..times {
                    out.write(Stream::Stdout, &bytes).await.unwrap();
                }
            }
            Act::Await(token) => token.cancelled().await,
            Act::FirstIsSlowToStop(_) if self.number > 0 => {}
            Act::FirstIsSlowToStop(token) => {
                stop.cancelled().await;
                token.cancelled().await;
                return Ok(Some(exit(ExitStatus::Signal(9), Some(Cause::Stopped))));
            }
            Act::UntilStopped => {
                stop.cancelled().await;
                return Ok(Some(exit(ExitStatus::Signal(9), Some(Cause::Stopped))));
            }
            Act::BlockThread(until) => until(),
            Act::Do(action) => action(self.workspace.path()),
            Act::Exit(code) => return Ok(Some(exit(ExitStatus::Code(code), None))),
            Act::Signal(signal) => return Ok(Some(exit(ExitStatus::Signal(signal), None))),
            Act::OutOfMemory => {
                let cause = Cause::OutOfMemory { limit: 100, peak: 99 };
                return Ok(Some(exit(ExitStatus::Signal(9), Some(cause))));
            }
            Act::Refuse => return Err(RuntimeError::Refused("no privileged containers".to_owned())),
            Act::Panic => panic!("a defect"),
        }
        Ok(None)
    }
}

fn exit(status: ExitStatus, cause: Option<Cause>) -> Exit {
    Exit { status, cause, usage: Usage::default(), timeline: Timeline::default() }
}

fn collect(root: &Path, below: &Path, files: &mut Vec<(String, String)>) {
    for item in std::fs::read_dir(root.join(below)).unwrap() {
        let item = item.unwrap();
        let path = below.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            if item.file_name() != ".git" {
                collect(root, &path, files);
            }
        } else {
            let content = std::fs::read(item.path()).unwrap_or_default();
            files.push((path.to_string_lossy().into_owned(), String::from_utf8_lossy(&content).into_owned()));
        }
    }
    files.sort();
}
