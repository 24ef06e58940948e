//! A job was given out, and its answer never reached its agent: nobody waits for its lease of 90 s.

use crate::forwarder::{Answers, Forwarder};
use crate::leftovers::nothing_is_left;
use crate::support::{Process, SOON, System, system, wait};
use std::time::{Duration, Instant};

/// Some heartbeats.
const SECONDS: Duration = Duration::from_secs(25);

/// An agent behind `forwarder`, which is asking for a job.
fn agent(system: &mut System, forwarder: &Forwarder) -> Process {
    let mut command = system.agent_command();
    // A host that is called otherwise has an executor of another name, which speaks for itself alone.
    command.env("EXECUTOR_FRONTEND_URL", forwarder.url()).env("HOSTNAME", "host");
    Process::start(command, "agent ")
}

/// A job whose answer comes to nothing.
fn given_in_vain(system: &System, forwarder: &Forwarder, how: Answers) -> String {
    // The first job goes well: the agent knows the control plane for one of ours.
    assert_eq!(system.job("echo first").status.code(), Some(0));
    forwarder.let_answers(how);
    let id = system.submit("echo begun");
    wait(SOON, "the job to be given out", || {
        let job = system.show(&id);
        (job["attempt"].as_u64() >= Some(1) && forwarder.lost() > 0).then_some(())
    });
    id
}

fn completes_soon(system: &System, id: &str) {
    let began = Instant::now();
    let job = system.wait_for_state(id, "completed");
    assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
    assert!(job["attempt"].as_u64() >= Some(2), "{job}");
    assert!(system.ok(&["job", "logs", id]).contains("begun"));
}

#[test]
fn a_job_that_was_given_to_an_agent_as_it_died_is_the_next_one_s_within_seconds() {
    let test = "a_job_that_was_given_to_an_agent_as_it_died_is_the_next_one_s_within_seconds";
    let Some(mut system) = system(test) else { return };
    let forwarder = Forwarder::to(&system.url());
    let mut first = agent(&mut system, &forwarder);
    let id = given_in_vain(&system, &forwarder, Answers::AreSwallowed);
    first.kill();
    forwarder.let_answers(Answers::Arrive);
    let next = agent(&mut system, &forwarder);
    completes_soon(&system, &id);
    next.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn a_job_whose_answer_was_cut_is_given_again_within_seconds() {
    let Some(mut system) = system("a_job_whose_answer_was_cut_is_given_again_within_seconds") else { return };
    let forwarder = Forwarder::to(&system.url());
    let agent = agent(&mut system, &forwarder);
    let id = given_in_vain(&system, &forwarder, Answers::AreCut);
    forwarder.let_answers(Answers::Arrive);
    completes_soon(&system, &id);
    agent.stop();
    nothing_is_left(system.dir.path());
}
