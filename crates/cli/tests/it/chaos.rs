//! `kill -9` of agents, and now and then of supervisors, at random moments, again and again.

use crate::adoption::is_whole;
use crate::engine::WithEngine;
use crate::leftovers::nothing_is_left;
use crate::support::{Process, SHORT_LEASE, System, files_below, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Agents that are killed, unless `EXECUTOR_CHAOS_KILLS` says otherwise.
const KILLS: u64 = 50;
/// The same where jobs run in an engine's containers, unless `EXECUTOR_CHAOS_ENGINE_KILLS` says otherwise.
const ENGINE_KILLS: u64 = 6;
/// How long a job may take whose every try is killed.
const LIMIT: Duration = Duration::from_mins(3);
/// The lines of each job's log, and how far apart they are, in microseconds.
const LINES: u32 = 30;
const APART: u32 = 30_000;
/// How long it is waited for a clone to be aimed at.
const A_CLONE_BEGINS: Duration = Duration::from_secs(1);
/// Jobs that are under way at a time.
const AT_A_TIME: usize = 4;

/// Random numbers that are the same for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.below(most_ms)));
    }
}

/// Looks all the time how many steps of each job run.
struct Watch {
    done: Arc<AtomicBool>,
    /// The jobs of which two ran at the same time.
    doubled: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

/// What a step of a job is called on this host.
fn mark(run: u64, job: u64, step: u64) -> String {
    format!("chaos-{run:x}-{job}-{step}-")
}

impl Watch {
    fn begin(run: u64) -> Self {
        let (done, doubled) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (until, found) = (Arc::clone(&done), Arc::clone(&doubled));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let twice = steps(run).into_iter().filter(|(_, running)| running.len() > 1);
                found.lock().unwrap().extend(twice.map(|(job, running)| format!("{job}: {running:?}")));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { done, doubled, thread }
    }

    fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        assert_eq!(
            *self.doubled.lock().unwrap(),
            Vec::<String>::new(),
            "jobs that ran twice at the same time"
        );
    }
}

/// The process namespaces in which each step of each job runs.
fn steps(run: u64) -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut found = BTreeMap::<String, BTreeSet<PathBuf>>::new();
    let begin = format!("chaos-{run:x}-");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Only the step itself is called so; what it is told by is longer.
        let name = line.split(|byte| *byte == 0).rfind(|argument| !argument.is_empty()).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let is_name = name.strip_prefix(&begin).is_some_and(|rest| rest.len() < 30 && rest.ends_with('-'));
        let lives =
            std::fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
        if is_name
            && lives
            && let Ok(namespace) = std::fs::read_link(entry.path().join("ns/pid"))
        {
            found.entry(name.into_owned()).or_default().insert(namespace);
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "how long this goes on is for whoever starts it")]
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn clones(job: u64) -> bool {
    !job.is_multiple_of(2)
}

/// Every second job clones a repository, and has a step more.
fn submit(system: &System, run: u64, job: u64) -> String {
    let body = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line-$i; usleep {APART}; done");
    let step = format!("set +x; exec sh -c '{body}' {}", mark(run, job, 1));
    if !clones(job) {
        return system.submit(&step);
    }
    let args = ["job", "run", "--detach", "--image", "busybox", "--repo", "app", "--rev", "main"];
    let first = format!("exec sh -c 'cat sub/file.txt; usleep {APART}' {}", mark(run, job, 0));
    let steps = ["--step", &first, "--step", &step];
    system.ok(&[&args[..], &steps].concat()).trim().to_owned()
}

/// Who was killed, and how often.
#[derive(Debug, Default)]
struct Toll {
    /// Agents, by SIGKILL.
    agents: u64,
    /// Supervisors, while their agents live or together with them; and in the middle of a clone.
    supervisors: u64,
    in_clones: u64,
    /// Agents that were told to leave their jobs to the next one.
    left: u64,
}

/// Kills, or has leave, and puts another agent in its place.
fn strike(system: &mut System, mut agent: Process, dice: &mut Dice, toll: &mut Toll) -> Process {
    match dice.below(20) {
        0..=2 => {
            toll.supervisors += u64::from(kill_one_of(&system.supervisors(), dice));
            return agent;
        }
        // Both.
        3 => {
            let all = system.supervisors();
            agent.kill();
            toll.agents += 1;
            toll.supervisors += u64::from(kill_one_of(&all, dice));
        }
        // The next one comes late.
        4..=6 => {
            agent.kill();
            toll.agents += 1;
            dice.pause(1_500);
        }
        7..=8 => {
            agent.signal("USR2");
            assert!(agent.wait_exit().success());
            toll.left += 1;
        }
        _ => {
            agent.kill();
            toll.agents += 1;
        }
    }
    system.agent()
}

/// Kills one of these supervisors, spares among them; whether there was one to kill.
fn kill_one_of(all: &[u32], dice: &mut Dice) -> bool {
    let Some(pid) = all.get(dice.below(all.len().max(1) as u64) as usize) else { return false };
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).output();
    killed.unwrap().status.success()
}

/// Kills the supervisor of a job that is being cloned; whether one was.
fn killed_in_a_clone(system: &System) -> bool {
    let deadline = Instant::now() + A_CLONE_BEGINS;
    while Instant::now() < deadline {
        if let Some(pid) = system.supervisors_with_programs().first() {
            let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).output();
            return killed.unwrap().status.success();
        }
    }
    false
}

/// Submits jobs and kills until so many agents were; every job completes, whole and never twice at a time.
#[expect(clippy::print_stderr, reason = "what was done, and how to do it again, is told with a failure")]
fn storm(system: &mut System, kills: u64) {
    let seed = number("EXECUTOR_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | kills);
    eprintln!("seed {seed}, until {kills} agents are killed");
    let mut dice = Dice(seed);
    let (repository, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &repository]);
    let watch = Watch::begin(seed);
    let mut agent = system.agent();
    let mut toll = Toll::default();
    let (mut under_way, mut ended): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for round in 0_u64.. {
        if toll.agents >= kills {
            break;
        }
        under_way.push(submit(system, seed, round));
        if clones(round) && dice.below(8) == 0 {
            toll.in_clones += u64::from(killed_in_a_clone(system));
        } else {
            dice.pause(1_000);
            agent = strike(system, agent, &mut dice, &mut toll);
        }
        wait(LIMIT, "room for another job", || {
            let (done, more) = under_way.drain(..).partition(|id| system.show(id)["state"] == "completed");
            ended.extend::<Vec<String>>(done);
            under_way = more;
            (under_way.len() < AT_A_TIME).then_some(())
        });
    }
    for id in &under_way {
        wait(LIMIT, &format!("job {id} to complete"), || {
            let job = system.show(id);
            assert_ne!(job["state"], "failed", "{job}");
            (job["state"] == "completed").then_some(())
        });
    }
    ended.append(&mut under_way);
    let mut again = 0;
    for id in &ended {
        is_whole(&system.ok(&["job", "logs", id]), LINES);
        let job = system.show(id);
        let keys: Vec<&str> =
            job["steps"].as_array().unwrap().iter().filter_map(|step| step["key"].as_str()).collect();
        let once: BTreeSet<&str> = keys.iter().copied().collect();
        assert!(!keys.is_empty() && keys.len() == once.len(), "an entry was opened twice: {job}");
        again += u64::from(job["attempt"] != 1);
    }
    watch.end();
    eprintln!("{} jobs completed, {again} of them not at the first try; killed: {toll:?}", ended.len());
    agent.stop();
}

#[test]
fn nothing_is_lost_and_nothing_runs_twice_whoever_is_killed() {
    let test = "nothing_is_lost_and_nothing_runs_twice_whoever_is_killed";
    let Some(mut system) = System::serving(test, SHORT_LEASE, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "4")]) else {
        return;
    };
    storm(&mut system, number("EXECUTOR_CHAOS_KILLS").unwrap_or(KILLS));
    nothing_is_left(system.dir.path());
    let state = Path::new(&system.agent_dir()).join("agent");
    // What an agent keeps for the next one, here or in the runtime's own directory.
    let own = ["lock", "executor-name", "gate", "serves", "place", "starts", "oci/filter.json"];
    let left = |path: &Path| !own.iter().any(|own| path == state.join(own)) && !path.ends_with("lock");
    assert_eq!(files_below(&state, &left), Vec::<PathBuf>::new());
}

#[test]
fn no_container_is_lost_left_or_there_twice_whoever_is_killed() {
    let test = "no_container_is_lost_left_or_there_twice_whoever_is_killed";
    let env = [("EXECUTOR_DOCKER_NETWORK", "none"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "4")];
    let Some(mut with) = WithEngine::serving(test, SHORT_LEASE, &env) else { return };
    storm(&mut with.system, number("EXECUTOR_CHAOS_ENGINE_KILLS").unwrap_or(ENGINE_KILLS));
    with.nothing_is_left();
}
