//! The same whole jobs, with a container engine.

use super::bench::Bench;
use super::whole_jobs::{run_batches_job, run_codeintel_job};
use crate::support::{SOON, wait};
use testkit::{Engine, EngineKind};

/// A bench whose executor has an engine.
struct OnEngine {
    bench: Bench,
    engine: Engine,
}

impl OnEngine {
    fn new(test: &str) -> Option<Self> {
        let engine = Engine::shared(test, EngineKind::Docker)?;
        let bench = Bench::new(test)?;
        engine.load("busybox", &testkit::image::busybox_image()?);
        std::fs::create_dir(bench.dir.path().join("workspaces")).unwrap();
        Some(Self { bench, engine })
    }

    /// Has a job run, and looks at what is left and what was told.
    fn run(mut self, job: impl FnOnce(&mut Bench, &[(&str, &str)])) {
        let workspaces = self.bench.dir.path().join("workspaces");
        let (host, tmpdir) = (self.engine.host(), workspaces.to_str().unwrap().to_owned());
        let shared = (!self.engine.knows_what_was_loaded()).to_string();
        let env = [
            ("EXECUTOR_DOCKER_SHARED_IMAGES", &*shared),
            ("EXECUTOR_RUNTIME", "docker"),
            ("DOCKER_HOST", &host),
            ("TMPDIR", &tmpdir),
            ("EXECUTOR_DOCKER_NETWORK", "none"),
        ];
        job(&mut self.bench, &env);
        let version = self.engine.told(&["version", "--format", "{{.Server.Version}}"]);
        for heartbeat in self.bench.heard("heartbeat", 1) {
            assert_eq!(heartbeat.json()["dockerVersion"], version);
        }
        let owner = self.bench.dir.path().join("agent-data/agent/docker/owner");
        let filter = format!("label=executor.owner={}", std::fs::read_to_string(owner).unwrap());
        wait(SOON, "an end of all containers", || {
            let left = self.engine.told(&["ps", "--all", "--quiet", "--filter", &filter]);
            left.is_empty().then_some(())
        });
        wait(SOON, "an end of all workspaces", || {
            (std::fs::read_dir(&workspaces).unwrap().count() == 0).then_some(())
        });
        self.bench.end();
    }
}

#[test]
fn a_batches_job_runs_in_containers_of_an_engine() {
    let Some(on) = OnEngine::new("a_batches_job_runs_in_containers_of_an_engine") else { return };
    on.run(run_batches_job);
}

#[test]
fn a_codeintel_job_runs_in_containers_of_an_engine() {
    let Some(on) = OnEngine::new("a_codeintel_job_runs_in_containers_of_an_engine") else { return };
    on.run(run_codeintel_job);
}
