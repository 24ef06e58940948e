//! An agent that may talk to the engine and is not root.

use super::bench::{containers_of, owner, run_on, wait_until_none};
use crate::harness::{Bench, IMAGE, helper, names_in};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::{Engine, EngineKind};

const USER: u32 = 4_321;
/// What nobody but root can remove.
const ROOTS: &str = "mkdir -p deep/er; echo x > deep/er/file; chmod 700 deep; touch .hidden; echo ready";

/// A command of that user's that runs an agent with one step, and its directory.
fn agent(bench: &Bench, name: &str, script: &str) -> (Command, PathBuf) {
    let dir = bench.dir.join(name);
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(USER), Some(USER)).unwrap();
    // The one that was built may be where that user can't go.
    let program = dir.join("helper");
    fs::copy(helper().program, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups"]);
    command.arg(program).arg("engine-agent").arg(&dir).args([&bench.engine().host(), IMAGE, script]);
    (command, dir)
}

fn with_open_engine(name: &str, test: impl AsyncFnOnce(&mut Bench)) {
    let Some(engine) = Engine::own(name, EngineKind::Docker) else { return };
    // As for the members of its group.
    let open = |path: &str| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(engine.host().strip_prefix("unix://").unwrap());
    run_on(
        engine,
        name,
        |_| {},
        async |bench| {
            open(bench.dir.to_str().unwrap());
            test(bench).await;
        },
    );
}

#[test]
fn what_root_in_a_step_wrote_is_removed() {
    with_open_engine("engine::plain_user::what_root_in_a_step_wrote_is_removed", async |bench| {
        let (mut command, dir) = agent(bench, "agent", ROOTS);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("ready"), "{output:?}");
        assert_eq!(names_in(&dir.join("work")), [""; 0]);
        wait_until_none("containers", || containers_of(bench.engine(), &owner(&dir)));
        wait_until_none("state files", || names_in(&dir.join("state/incarnations")));
    });
}

#[test]
fn the_guardian_removes_it_when_the_agent_is_killed() {
    with_open_engine("engine::plain_user::the_guardian_removes_it_when_the_agent_is_killed", async |bench| {
        let (mut command, dir) = agent(bench, "agent", &format!("{ROOTS}; exec sleep 600"));
        let mut agent = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "ready"));
        agent.kill().unwrap();
        agent.wait().unwrap();
        wait_until_none("containers", || containers_of(bench.engine(), &owner(&dir)));
        wait_until_none("workspaces", || names_in(&dir.join("work")));
        wait_until_none("state files", || names_in(&dir.join("state/incarnations")));
    });
}
