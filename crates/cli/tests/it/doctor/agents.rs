//! Agents beside the doctor.

use super::{Patient, seen};
use crate::leftovers::nothing_is_left;
use crate::support::{Process, System, system, wait};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Examines a system whose agent is started with `agent_command`.
fn patient(system: &mut System) -> Patient {
    let agent = system.agent_command();
    let variables = agent.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    variables.fold(Patient::new(), |patient, (name, value)| patient.with(name, value))
}

#[test]
fn who_runs_here_is_told_and_what_others_left() {
    let Some(mut system) = system("who_runs_here_is_told_and_what_others_left") else { return };
    let patient = patient(&mut system);
    let examined = patient.examined();
    assert!(seen(examined.one("agent.running", "info")).starts_with("no agent "), "{}", examined.text());
    examined.one("agent.left", "ok");

    let mut agent = Process::start(system.agent_command(), "agent ");
    let id = system.submit("echo begun; sleep 600");
    system.wait_for_log(&id, "begun");
    let examined = patient.examined();
    let told = seen(examined.one("agent.running", "info")).to_owned();
    for part in
        [agent.executor_name(), format!("(process {})", agent.pid()), format!("{} batches", system.url())]
    {
        assert!(told.contains(&part), "{part:?} in {told}");
    }
    examined.one("agent.left", "ok");

    agent.kill();
    let examined = patient.examined();
    let told = seen(examined.one("agent.left", "warning"));
    assert!(told.contains("1 job that no agent looks after"), "{told}");
    let next = Process::start(system.agent_command(), "agent ");
    // What the dead agent had made ahead is removed by its guardian meanwhile.
    wait(SOON, "nothing to be left", || {
        (patient.examined().found("agent.left")[0]["severity"] == "ok").then_some(())
    });
    system.ok(&["job", "cancel", &id]);
    system.wait_for_state(&id, "canceled");
    next.stop();
    nothing_is_left(system.dir.path());
}
