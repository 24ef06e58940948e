//! Disks of the host that jobs fill, and that no engine divides among them.

use super::bench::run_on;
use crate::harness::Bench;
use runtimes::{Cause, Exit, ExitStatus, Limits, RuntimeError};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::{Engine, EngineKind, SmallDisk};

/// Larger than what an image and a container take.
const SIZE: u64 = 96 << 20;

async fn run(bench: &Bench, script: &str) -> Result<Exit, RuntimeError> {
    let mut sandbox = bench.open(Limits::default()).await;
    let ran = sandbox.run(&["sh", "-c", script]).await;
    sandbox.close().await;
    ran.map(|ran| ran.exit)
}

fn assert_full(ended: Result<Exit, RuntimeError>, place: &Path, what: &str) {
    match ended {
        Err(RuntimeError::HostDiskFull { path, free }) => {
            assert!(path == place && free < 16 << 20, "{what}: {free} at {}", path.display());
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_full_disk_of_engine_or_workspaces_is_not_the_jobs_fault() {
    let name = "engine::disk::a_full_disk_of_engine_or_workspaces_is_not_the_jobs_fault";
    // Both before the engine starts, which has mounts of its own.
    let (Some(root), Some(work)) = (SmallDisk::mount(name, SIZE), SmallDisk::mount(name, SIZE)) else {
        return;
    };
    let Some(engine) = Engine::with_root(name, EngineKind::Docker, &root.path()) else { return };
    let (own, workspaces) = (engine.dir().to_owned(), work.path().join("work"));
    run_on(
        engine,
        name,
        |options| options.workspaces.clone_from(&workspaces),
        async |bench| {
            assert_eq!(bench.runtime.fills().await, [workspaces.clone(), root.path()]);
            for (place, file) in [(&root.path(), "/big"), (&workspaces, "/data/big")] {
                let fill = format!("dd if=/dev/zero of={file} bs=64k");
                assert_full(run(bench, &format!("{fill}; exit 1")).await, place, "left full");
                assert_full(run(bench, &format!("{fill}; rm {file}; exit 1")).await, place, "cleaned up");
                let fine = run(bench, &format!("{fill}; rm {file}; exit 0")).await.unwrap();
                assert_eq!(fine.status, ExitStatus::Code(0));
            }
            let failed = run(bench, "exit 3").await.unwrap();
            assert_eq!((failed.status, failed.cause), (ExitStatus::Code(3), None::<Cause>));
        },
    );
    // It uses the disk until then.
    let begun = Instant::now();
    while own.exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the engine goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
