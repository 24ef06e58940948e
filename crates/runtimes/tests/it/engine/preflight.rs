//! What is said of the engine before a job runs.

use super::bench::{options, run, run_on};
use runtimes::docker::{DockerOptions, DockerRuntime, Endpoint};
use runtimes::{Finding, Limits, Runtime, RuntimeError, Severity};
use testkit::{Engine, EngineKind};

fn find<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("{id}: {findings:#?}"))
}

#[test]
fn an_engine_is_introduced_with_what_it_can_not_do() {
    let name = "engine::preflight::an_engine_is_introduced_with_what_it_can_not_do";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    let limits = Limits { cpus: Some(1.0), memory: Some(1 << 30), pids: Some(100), disk: Some(1 << 30) };
    let change = |options: &mut DockerOptions| options.limits = limits;
    run_on(engine, name, change, async |bench| {
        let findings = bench.runtime.preflight().await;
        let about = find(&findings, "engine.reachable");
        assert_eq!(about.severity, Severity::Info);
        let release = bench.engine().told(&["version", "--format", "{{.Server.Version}}"]);
        for word in [&*format!("Docker {release} at unix://"), "API 1.4", "storage overlay", "cgroupfs"] {
            assert!(about.seen.contains(word), "{}", about.seen);
        }
        let disk = find(&findings, "limit.disk");
        assert!(disk.severity == Severity::Warning && disk.seen.contains("workspace"), "{disk:?}");
        assert!(!disk.remedy.is_empty());
        let warned = findings.iter().filter(|finding| finding.severity > Severity::Info).count();
        assert_eq!(warned, 1, "{findings:#?}");
        assert!(find(&findings, "engine.network").seen.contains("no network"));
    });
}

#[test]
fn what_is_not_asked_for_is_no_warning() {
    run("engine::preflight::what_is_not_asked_for_is_no_warning", EngineKind::Docker, async |bench| {
        let findings = bench.runtime.preflight().await;
        assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:#?}");
    });
}

#[test]
fn an_engine_that_is_not_there_stops_the_start() {
    let name = "engine::preflight::an_engine_that_is_not_there_stops_the_start";
    run(name, EngineKind::Docker, async |bench| {
        let mut options = options(bench.engine(), &bench.dir);
        options.endpoint = Endpoint::Unix(bench.dir.join("no.sock"));
        let absent = DockerRuntime::new(options).unwrap();
        let findings = absent.preflight().await;
        let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
        assert_eq!((finding.id, finding.severity), ("engine.reachable", Severity::Fatal));
        assert!(finding.seen.contains("no.sock") && finding.remedy.contains("DOCKER_HOST"), "{finding:?}");
        let error = absent.reap().await.unwrap_err();
        assert!(matches!(error, RuntimeError::Host(_)), "{error}");
    });
}

#[test]
fn a_runtime_that_the_engine_does_not_have_stops_the_start() {
    let name = "engine::preflight::a_runtime_that_the_engine_does_not_have_stops_the_start";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    let change = |options: &mut DockerOptions| options.oci_runtime = Some("kata".to_owned());
    run_on(engine, name, change, async |bench| {
        let findings = bench.runtime.preflight().await;
        assert_eq!(find(&findings, "engine.runtime").severity, Severity::Fatal);
    });
}

#[test]
fn a_limit_that_can_not_be_enforced_is_refused_when_strict() {
    let name = "engine::preflight::a_limit_that_can_not_be_enforced_is_refused_when_strict";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    run_on(
        engine,
        name,
        |options| options.strict = true,
        async |bench| {
            let limited = bench.try_open("job-1", Limits { disk: Some(1 << 30), ..Limits::default() }).await;
            let refused = limited.err().unwrap();
            assert!(
                matches!(&refused, RuntimeError::Refused(text) if text.contains("disk limit")),
                "{refused}"
            );
            let limits = Limits { memory: Some(64 << 20), pids: Some(64), cpus: Some(1.0), disk: None };
            let mut sandbox = bench.try_open("job-2", limits).await.unwrap();
            sandbox.sh("true").await;
            sandbox.close().await;
            for (impossible, why) in [
                (Limits { memory: Some(1), ..Limits::default() }, "too small"),
                (Limits { pids: Some(u64::MAX / 2), ..Limits::default() }, "more than any kernel has"),
            ] {
                let error = bench.try_open("tiny", impossible).await.err().unwrap().to_string();
                assert!(error.contains(why), "{error}");
            }
        },
    );
}
