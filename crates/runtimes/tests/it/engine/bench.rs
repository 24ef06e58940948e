//! A runtime of its own for each test, on an engine that they share.

use crate::harness::{Bench, IMAGE, Images, helper, names_in, processes_with};
use runtimes::docker::{DockerOptions, DockerRuntime};
use runtimes::oci::OwnUsers;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::{Engine, EngineKind};

/// Runs a test with a runtime whose sandboxes have no network, as those of the daemonless one.
pub(crate) fn run(name: &str, kind: EngineKind, test: impl AsyncFnOnce(&mut Bench)) {
    let Some(engine) = Engine::shared(name, kind) else { return };
    run_on(engine, name, |_| {}, test);
}

/// The same where nobody gets an image of a registry's unasked. What was only loaded is none, if the engine tells.
pub(super) fn run_asking(name: &str, test: impl AsyncFnOnce(&mut Bench)) {
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    run_on(engine, name, |options| options.shares_images = false, test);
}

/// Runs a test on that engine with options of its own.
pub(crate) fn run_on(
    engine: Engine,
    name: &str,
    change: impl FnOnce(&mut DockerOptions),
    test: impl AsyncFnOnce(&mut Bench),
) {
    if !has_image(&engine) {
        let Some(busybox) = testkit::image::busybox_image() else {
            return testkit::missing_part(name, "busybox");
        };
        engine.load(IMAGE, &busybox);
    }
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&engine, dir.path());
    options.shares_images = !engine.knows_what_was_loaded();
    change(&mut options);
    let runtime = tokio.block_on(async { DockerRuntime::new(options) }).unwrap();
    let mut bench = Bench {
        runtime: Box::new(runtime),
        images: Images::Engine(engine),
        dir: dir.path().to_owned(),
        owner: owner(dir.path()),
        family: "docker",
        users: OwnUsers::Never,
        network: runtimes::oci::NetworkOptions::default(),
        mounts: None,
    };
    tokio.block_on(test(&mut bench));
    let Bench { runtime, images, owner, .. } = bench;
    drop(runtime);
    drop(tokio);
    let Images::Engine(engine) = images else { unreachable!("it was made with an engine") };
    assert_nothing_left(&engine, dir.path(), &owner);
}

fn has_image(engine: &Engine) -> bool {
    engine.docker(&["image", "inspect", IMAGE]).output().unwrap().status.success()
}

pub(crate) fn options(engine: &Engine, dir: &Path) -> DockerOptions {
    let mut options = DockerOptions::new(dir.join("state"), dir.join("work"), helper());
    options.endpoint = engine.host().parse().unwrap();
    options.network = Some("none".to_owned());
    options
}

/// What the containers of a runtime in `dir` are known by.
pub(crate) fn owner(dir: &Path) -> String {
    fs::read_to_string(dir.join("state/owner")).unwrap()
}

/// Containers of `owner`, as the engine's own client lists them.
pub(crate) fn containers_of(engine: &Engine, owner: &str) -> Vec<String> {
    let filter = format!("label=executor.owner={owner}");
    let listed = engine.told(&["ps", "--all", "--format", "{{.Names}}", "--filter", &filter]);
    listed.lines().map(str::to_owned).collect()
}

/// How long an engine may take to remove what is left: it has more to do than a kernel.
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// Waits until `found` finds nothing.
pub(crate) fn wait_until_none(what: &str, found: impl Fn() -> Vec<String>) {
    let begun = Instant::now();
    while !found().is_empty() {
        assert!(begun.elapsed() < GONE_LIMIT, "{what} left: {:#?}", found());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// No container, workspace, process or state file of the runtime in `dir`.
pub(crate) fn assert_nothing_left(engine: &Engine, dir: &Path, owner: &str) {
    wait_until_none("containers", || containers_of(engine, owner));
    wait_until_none("workspaces", || names_in(&dir.join("work")));
    wait_until_none("state files", || names_in(&dir.join("state/incarnations")));
    wait_until_none("processes", || processes_with(&dir.display().to_string()));
}
