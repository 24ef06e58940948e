//! Engines and registries beside the host.

use super::{Examined, Patient, seen};
use crate::engine::{with_podman, without_engines};
use std::process::Command;
use testkit::registry::{Registry, Setup};
use testkit::{Engine, EngineKind};

#[test]
fn an_engine_is_told_and_is_no_fault_where_it_runs_no_jobs() {
    let test = "an_engine_is_told_and_is_no_fault_where_it_runs_no_jobs";
    let Some(engine) = Engine::shared(test, EngineKind::Docker) else { return };
    let examined = Patient::new().with("DOCKER_HOST", engine.host()).examined();
    let finding = examined.one("engine.reachable", "info");
    for part in ["Docker ", "API ", "storage ", "control groups "] {
        assert!(seen(finding).contains(part), "{finding}");
    }
    let dead = Patient::new().with("DOCKER_HOST", "unix:///nowhere/docker.sock").examined();
    let finding = dead.one("engine.reachable", "info");
    assert!(seen(finding).contains("/nowhere/docker.sock"), "{finding}");
    let bad = Patient::new().with("DOCKER_HOST", "ssh://host").examined();
    assert!(seen(bad.one("engine.reachable", "info")).contains("DOCKER_HOST"));
}

#[test]
fn an_engine_that_is_to_run_the_jobs_must_be_there() {
    let dead =
        Patient::new().with("EXECUTOR_RUNTIME", "docker").with("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let examined = dead.examined();
    examined.one("engine.reachable", "fatal");
    assert_eq!(examined.found("oci.runtime").len(), 0, "nothing of it runs");
}

#[test]
fn an_engine_that_runs_the_jobs_is_looked_at_as_an_agent_does() {
    let test = "an_engine_that_runs_the_jobs_is_looked_at_as_an_agent_does";
    let Some(engine) = Engine::shared(test, EngineKind::Docker) else { return };
    let Some(busybox) = testkit::image::busybox_image() else {
        return testkit::missing_part(test, "a static busybox");
    };
    engine.load("busybox", &busybox);
    let patient = Patient::new().with("EXECUTOR_RUNTIME", "docker").with("DOCKER_HOST", engine.host());
    let examined = patient.examined();
    examined.one("engine.reachable", "info");
    examined.one("engine.runtime", "info");
    let workspaces = seen(examined.one("engine.workspaces", "ok"));
    assert!(workspaces.contains(patient.path("scratch").to_str().unwrap()), "{workspaces}");
    examined.one("limit.disk", "warning");
    let patient = patient.with("EXECUTOR_DOCKER_HOST_MOUNT_PATH", "/nowhere/at/all");
    assert!(seen(patient.examined().one("engine.workspaces", "fatal")).contains("/nowhere/at/all/"));
    let examined = patient.with("EXECUTOR_OCI_RUNTIME", "nosuch").examined();
    assert!(seen(examined.one("engine.runtime", "fatal")).contains("nosuch"));
}

#[test]
fn the_engine_that_an_agent_would_take_is_the_one_that_is_looked_at() {
    let test = "the_engine_that_an_agent_would_take_is_the_one_that_is_looked_at";
    // Docker answers sooner than Podman, where that listens.
    let Some(engine) = Engine::shared(test, EngineKind::Docker) else { return };
    let patient = Patient::new().with("EXECUTOR_USE_FIRECRACKER", "false");
    let without = Examined::of(&mut without_engines(&patient.command(&["--json"])));
    let told = seen(without.one("engine.reachable", "fatal"));
    assert!(told.contains("unix:///var/run/docker.sock"), "{told}");

    let run = patient.path("run");
    let at = with_podman(&engine, &run);
    let patient = patient.with("XDG_RUNTIME_DIR", run.to_str().unwrap());
    let with = Examined::of(&mut without_engines(&patient.command(&["--json"])));
    let told = seen(with.one("engine.reachable", "info"));
    assert!(told.contains(&format!(" at {at}, ")), "{told}");
    assert_eq!(with.found("config.conflict").len(), 0, "{}", with.text());
}

#[test]
fn mirrors_are_asked_each() {
    let Some(registry) = Registry::start("mirrors_are_asked_each", &Setup::default()) else { return };
    let address = format!("http://{}", registry.address);
    let mirrors = format!("{address},http://127.0.0.1:1");
    let examined = Patient::new().with("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", mirrors).examined();
    let found = examined.found("registry.answer");
    let severity = |address: &str| {
        let finding = found.iter().find(|finding| seen(finding).contains(address)).unwrap();
        finding["severity"].as_str().unwrap()
    };
    assert_eq!(found.len(), 2, "{}", examined.text());
    assert_eq!(severity(&address), "ok");
    assert_eq!(severity("http://127.0.0.1:1 "), "warning");
}

#[test]
fn who_is_no_registry_is_told() {
    let url = super::frontend::server(Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    let examined = Patient::new().with("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", url).examined();
    let finding = examined.one("registry.answer", "warning");
    assert!(seen(finding).contains("does not answer as a registry does (404)"), "{finding}");
}

#[test]
fn without_root_there_are_no_mounts_and_the_rest_is_looked_at() {
    let test = "without_root_there_are_no_mounts_and_the_rest_is_looked_at";
    if !testkit::have_root() {
        testkit::missing_part(test, "root");
        return;
    }
    let patient = Patient::new();
    // Nobody may come in where the build is.
    let program = patient.path("executor");
    std::fs::copy(env!("CARGO_BIN_EXE_executor"), &program).unwrap();
    let open = Command::new("chmod").args(["-R", "o+rwX"]).arg(patient.dir.path()).status().unwrap();
    assert!(open.success());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["doctor", "--json"]);
    command.env_clear().envs(patient.env.iter().map(|(name, value)| (name, value)));
    let examined = Examined::of(&mut command);
    assert_eq!(examined.code(), Some(1));
    let finding = examined.one("oci.mounts", "fatal");
    assert!(finding["remedy"].as_str().unwrap().contains("root"), "{finding}");
    assert_eq!(examined.found("disk.limit").len(), 0, "it was not tried");
    examined.one("oci.runtime", "info");
    examined.one("git.version", "ok");
}
