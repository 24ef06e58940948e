//! Whether the engine finds workspaces where it looks for them.

use super::bench::{options, run};
use runtimes::docker::{Sight, sees_workspaces};
use testkit::{Engine, EngineKind};

#[test]
fn docker_is_shown_a_directory() {
    run("engine::sight::docker_is_shown_a_directory", EngineKind::Docker, async |bench| {
        let mut options = options(bench.engine(), &bench.dir);
        options.workspaces.clone_from(&bench.dir);
        let here = format!("{}/executor-doctor-", bench.dir.display());
        let sight = sees_workspaces(&options).await;
        assert!(matches!(&sight, Sight::Seen(path) if path.starts_with(&here)), "{sight:?}");
        options.host_mount_path = Some("/nowhere/at/all".to_owned());
        let sight = sees_workspaces(&options).await;
        assert!(matches!(&sight, Sight::Unseen(path) if path.starts_with("/nowhere/at/all/")), "{sight:?}");
        options.workspaces = "/nowhere/here".into();
        let sight = sees_workspaces(&options).await;
        assert!(matches!(sight, Sight::Unknown(_)), "{sight:?}");
        nothing_is_left(bench.engine());
    });
}

/// It looks for directories when a container starts.
#[test]
fn podman_can_not_be_shown_one_without_starting_anything() {
    let name = "engine::sight::podman_can_not_be_shown_one_without_starting_anything";
    run(name, EngineKind::Podman, async |bench| {
        let mut options = options(bench.engine(), &bench.dir);
        options.workspaces.clone_from(&bench.dir);
        let sight = sees_workspaces(&options).await;
        assert!(matches!(sight, Sight::Unknown(_)), "{sight:?}");
        nothing_is_left(bench.engine());
    });
}

fn nothing_is_left(engine: &Engine) {
    assert_eq!(engine.told(&["ps", "--all", "--quiet", "--filter", "label=executor.doctor"]), "");
}
