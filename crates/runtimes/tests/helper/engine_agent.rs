//! The same with a container engine.

use crate::agent::{PassOn, helper};
use images::RegistryCredentials;
use runtimes::docker::{DockerOptions, DockerRuntime};
use runtimes::{Limits, Output, Runtime, RuntimeError, SandboxSpec, Step, Stream};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Takes a directory for `state` and `work`, an engine's address, an image and a script. Writes its
/// guardian's number, and then what the script writes.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.filter_map(|argument| argument.into_string().ok()).collect();
    let [dir, endpoint, image, script] = args.as_slice() else { return ExitCode::FAILURE };
    let Some(helper) = helper() else { return ExitCode::FAILURE };
    let (Ok(tokio), Ok(endpoint)) = (tokio::runtime::Runtime::new(), endpoint.parse()) else {
        return ExitCode::FAILURE;
    };
    let dir = PathBuf::from(dir);
    let mut options = DockerOptions::new(dir.join("state"), dir.join("work"), helper);
    options.endpoint = endpoint;
    options.network = Some("none".to_owned());
    // Not every engine tells that its image was only loaded.
    options.shares_images = true;
    let step = Step {
        image: image.clone(),
        argv: vec!["sh".into(), "-c".into(), script.clone()],
        cwd: "/data".into(),
        ..Step::default()
    };
    match tokio.block_on(work(options, step)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn work(options: DockerOptions, step: Step) -> Result<(), RuntimeError> {
    let runtime = DockerRuntime::new(options)?;
    let limits = Limits::default();
    let spec = SandboxSpec { name: "doomed".into(), limits, credentials: RegistryCredentials::default() };
    let mut sandbox = runtime.open(spec).await?;
    let mut out = PassOn;
    let guardian = format!("guardian {}\n", runtime.guardian_pid());
    out.write(Stream::Stdout, guardian.as_bytes()).await.map_err(RuntimeError::io("write"))?;
    sandbox.run(step, &mut out, &CancellationToken::new()).await?;
    sandbox.close().await
}
