//! A process that opens a sandbox, runs a step that never ends, and waits to be killed.

use images::{ImageStore, Progress, RegistryCredentials};
use runtimes::oci::{Helper, OciOptions, OciRuntime, OwnUsers};
use runtimes::{
    GuardianAhead, Limits, Output, Runtime, RuntimeError, SandboxSpec, Step, Stream, private_mounts,
};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Takes a directory with `images` and `state`, an owner, an OCI runtime, an image, a script, and whose users jobs
/// have: their `own` or the `host`'s; and by which program they have a network.
/// Writes its guardian's number, and then what the script writes.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.filter_map(|argument| argument.into_string().ok()).collect();
    let [dir, owner, family, image, script, users, network] = args.as_slice() else {
        return ExitCode::FAILURE;
    };
    let Ok(mounts) = private_mounts() else { return ExitCode::FAILURE };
    let Some(helper) = helper() else { return ExitCode::FAILURE };
    let Ok(tokio) = tokio::runtime::Runtime::new() else { return ExitCode::FAILURE };
    let dir = PathBuf::from(dir);
    let mut options = OciOptions::new(mounts, dir.join("state"), owner, helper);
    options.runtime = Some(family.clone());
    options.spare_disk = 64 << 20;
    options.users = if users == "own" { OwnUsers::Always } else { OwnUsers::Never };
    let Ok(network) = network.parse() else { return ExitCode::FAILURE };
    options.network.by = network;
    let step = Step {
        image: image.clone(),
        argv: vec!["sh".into(), "-c".into(), script.clone()],
        cwd: "/data".into(),
        ..Step::default()
    };
    match tokio.block_on(work(options, dir, step)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// This program, with a guardian that was made ahead.
pub(crate) fn helper() -> Option<Helper> {
    let guardian = GuardianAhead::fork().ok()?;
    Some(Helper { guardian, ..Helper::new(std::env::current_exe().ok()?, Vec::new()) })
}

async fn work(options: OciOptions, dir: PathBuf, step: Step) -> Result<(), RuntimeError> {
    let images = Arc::new(ImageStore::open(dir.join("images"))?);
    let limits = Limits { disk: Some(options.spare_disk), ..Limits::default() };
    let runtime = OciRuntime::new(options, images)?;
    runtime.warm().await;
    let spec = SandboxSpec { name: "doomed".into(), limits, credentials: RegistryCredentials::default() };
    let mut sandbox = runtime.open(spec).await?;
    let mut out = PassOn;
    let guardian = format!("guardian {}\n", runtime.guardian_pid());
    out.write(Stream::Stdout, guardian.as_bytes()).await.map_err(RuntimeError::io("write"))?;
    sandbox.run(step, &mut out, &CancellationToken::new()).await?;
    sandbox.close().await
}

pub(crate) struct PassOn;

impl Progress for PassOn {
    fn line(&self, _: &str) {}
}

#[async_trait::async_trait]
impl Output for PassOn {
    async fn write(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    fn progress(&self) -> &dyn Progress {
        self
    }
}
