//! Images that the engine pulls, from real registries.

use super::bench::{run, run_asking, run_on};
use crate::harness::{Bench, Kept, TestSandbox, step};
use images::{ImageError, Login, Mirror, Progress, RegistryCredentials};
use runtimes::{Cause, Exit, ExitStatus, Limits, Output, RuntimeError, SandboxSpec, Step, Stream};
use std::io;
use std::sync::Mutex;
use testkit::image::{Archive, Layer};
use testkit::registry::{Registry, Setup, USER};
use testkit::{Engine, EngineKind};
use tokio_util::sync::CancellationToken;

/// A registry that the engine reaches; `None` when a part is missing.
pub(super) fn registry(test: &str, engine: &Engine, password: bool) -> Option<Registry> {
    Registry::start(test, &Setup { password, network_of: Some(engine), ..Setup::default() })
}

/// A registry that has an image for those who know its password, and the image's name, which says `mark` and where
/// it is from.
pub(super) fn private_image(test: &str, engine: &Engine, mark: &str) -> Option<(Registry, String)> {
    let registry = registry(test, engine, true)?;
    registry.push("team/secret:1", &image(&format!("{mark} {}", registry.address)));
    let name = registry.name("team/secret:1");
    Some((registry, name))
}

/// Credentials for it with this password.
pub(super) fn login(registry: &Registry, password: &str) -> RegistryCredentials {
    RegistryCredentials::of_logins([(registry.address.clone(), Login::password(USER, password))])
}

/// Keeps what is said of a pull besides.
#[derive(Default)]
struct Heard(Kept, Lines);

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[async_trait::async_trait]
impl Output for Heard {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.0.write(stream, bytes).await
    }

    fn progress(&self) -> &dyn Progress {
        &self.1
    }
}

/// An image of its own that can tell which it is. Its layers are like no other's, so that no engine has them.
pub(super) fn image(mark: &str) -> Archive {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let layer = Layer::new()
        .directory("bin")
        .file_with_mode("bin/busybox", &busybox, 0o755)
        .symlink("bin/sh", "busybox");
    Archive::new().layer(layer).layer(Layer::new().file("mark", mark.as_bytes()))
}

pub(super) async fn open(bench: &Bench, credentials: RegistryCredentials) -> TestSandbox {
    let spec = SandboxSpec { name: "job-1".into(), limits: Limits::default(), credentials };
    TestSandbox(bench.runtime.open(spec).await.unwrap())
}

/// What an image says it is, and what was said of getting it.
pub(super) async fn ask(
    sandbox: &mut TestSandbox,
    image: &str,
) -> Result<(Exit, String, Vec<String>), RuntimeError> {
    let mut heard = Heard::default();
    let step = Step { image: image.to_owned(), ..step(&["/bin/sh", "-c", "busybox cat /mark"]) };
    let exit = sandbox.0.run(step, &mut heard, &CancellationToken::new()).await?;
    Ok((exit, String::from_utf8(heard.0.stdout).unwrap(), heard.1.0.into_inner().unwrap()))
}

/// The same with credentials of its own, in a sandbox of its own.
pub(super) async fn ask_with(
    bench: &Bench,
    image: &str,
    credentials: RegistryCredentials,
) -> Result<String, RuntimeError> {
    let mut sandbox = open(bench, credentials).await;
    let asked = ask(&mut sandbox, image).await;
    sandbox.close().await;
    asked.map(|(_, mark, _)| mark)
}

#[test]
fn an_image_is_pulled_once_and_stays_what_it_was() {
    let name = "engine::pull::an_image_is_pulled_once_and_stays_what_it_was";
    run_asking(name, async |bench| {
        let Some(registry) = registry(name, bench.engine(), false) else { return };
        let image_name = registry.name("team/tool:1");
        registry.push("team/tool:1", &image(&format!("first {}", registry.address)));
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let (exit, mark, lines) = ask(&mut sandbox, &image_name).await.unwrap();
        assert_eq!(
            (exit.status, mark.as_str()),
            (ExitStatus::Code(0), &*format!("first {}", registry.address))
        );
        assert_eq!(lines.first().unwrap(), &format!("pulling {image_name}"), "{lines:?}");
        let last = lines.last().unwrap();
        assert!(last.starts_with(&format!("pulled {image_name} as sha256:")) && lines.len() < 8, "{lines:?}");
        // The tag moves; what is here already is what a job gets, without a question.
        registry.push("team/tool:1", &image("second"));
        let (_, mark, lines) = ask(&mut sandbox, &image_name).await.unwrap();
        assert!(mark.starts_with("first") && lines.is_empty(), "{lines:?}");
        sandbox.close().await;
    });
}

#[test]
fn what_can_not_be_had_is_told_apart() {
    let name = "engine::pull::what_can_not_be_had_is_told_apart";
    run_asking(name, async |bench| {
        let Some(registry) = registry(name, bench.engine(), false) else { return };
        registry.push("team/there:1", &image("x"));
        let refused = async |image: &str| {
            let refused = ask_with(bench, image, RegistryCredentials::default()).await;
            match refused {
                Err(RuntimeError::Image(error)) => error,
                other => panic!("{image}: {other:?}"),
            }
        };
        for missing in ["team/there:2", "team/nowhere:1"] {
            let error = refused(&registry.name(missing)).await;
            assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
        }
        let unreachable = refused("127.0.0.1:1/team/tool:1").await;
        assert!(matches!(unreachable, ImageError::EnginePull { .. }), "{unreachable}");
        assert!(unreachable.to_string().contains("127.0.0.1:1"), "{unreachable}");
        assert!(matches!(refused("Not A Name").await, ImageError::BadReference { .. }));
    });
}

#[test]
fn a_mirror_is_asked_first_and_passed_over_when_it_fails() {
    let name = "engine::pull::a_mirror_is_asked_first_and_passed_over_when_it_fails";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    let Some(mirror) = registry(name, &engine, false) else { return };
    mirror.push("library/mirrored-tool:1", &image(&format!("mirrored {}", mirror.address)));
    let mirrors = format!("http://127.0.0.1:1,http://{}", mirror.address);
    let change =
        |options: &mut runtimes::docker::DockerOptions| options.mirrors = Mirror::list(&mirrors).unwrap();
    run_on(engine, name, change, async |bench| {
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let (_, mark, lines) = ask(&mut sandbox, "mirrored-tool:1").await.unwrap();
        assert!(mark.starts_with("mirrored"), "{mark}");
        assert!(lines.iter().any(|line| line.starts_with("mirror 127.0.0.1:1: ")), "{lines:?}");
        let (_, _, lines) = ask(&mut sandbox, "mirrored-tool:1").await.unwrap();
        assert!(lines.is_empty(), "{lines:?}");
        sandbox.close().await;
    });
}

#[test]
fn a_pull_is_given_up_when_the_job_is_stopped() {
    run("engine::pull::a_pull_is_given_up_when_the_job_is_stopped", EngineKind::Docker, async |bench| {
        // Listens and says nothing.
        let mut silent = bench
            .engine()
            .in_network("/bin/busybox")
            .args(["nc", "-lk", "-p", "4999", "-e", "sleep", "60"])
            .spawn()
            .unwrap();
        let stop = CancellationToken::new();
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let mut out = StopWhenPulling(stop.clone());
        let step = Step { image: "127.0.0.1:4999/silent:1".into(), ..step(&["true"]) };
        let exit = sandbox.0.run(step, &mut out, &stop).await.unwrap();
        assert_eq!(exit.cause, Some(Cause::Stopped));
        sandbox.close().await;
        silent.kill().unwrap();
        silent.wait().unwrap();
    });
}

/// Fires the token at the first word of a pull.
struct StopWhenPulling(CancellationToken);

impl Progress for StopWhenPulling {
    fn line(&self, _: &str) {
        self.0.cancel();
    }
}

#[async_trait::async_trait]
impl Output for StopWhenPulling {
    async fn write(&mut self, _: Stream, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn progress(&self) -> &dyn Progress {
        self
    }
}
