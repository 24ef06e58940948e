//! What jobs reach over a network and what not, by each program, as root and as an ordinary user.

mod internet;

use crate::harness::{
    self, Bench, GONE_LIMIT, TestSandbox, find, outlasts_requests_to_end, processes_with, wait_until_none,
};
use crate::ordinary;
use crate::suite::death;
use images::RegistryCredentials;
use runtimes::oci::{NetworkChoice, NetworkOptions, OciOptions, OciRuntime};
use runtimes::{Limits, Runtime, RuntimeError, SandboxSpec, Severity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// How a step of an image that has next to nothing runs the tests' helper: with the libraries that it needs.
const HELPER: [&str; 5] = ["/data/lib/ld.so", "--library-path", "/data/lib", "/data/helper", "reach"];

/// Runs a test on a host of its own.
fn run(name: &str, family: &'static str, by: NetworkChoice, test: impl AsyncFnOnce(&mut Bench)) {
    let program = if by == NetworkChoice::Pasta { "pasta" } else { "slirp4netns" };
    for part in [program, "ip"] {
        if find(part).is_none() {
            return testkit::missing_part(name, part);
        }
    }
    if !ordinary::is_inside() {
        if !testkit::have_root() {
            return testkit::missing_part(name, "root");
        }
        internet::enter();
    }
    let allowed = ["10.20.0.0/16", "fd12:3456::1"].map(|network| network.parse().unwrap()).to_vec();
    harness::run_with(name, family, &NetworkOptions { by, allowed }, test);
}

/// Puts the helper into a workspace.
fn install(workspace: &Path) {
    let lib = workspace.join("lib");
    fs::create_dir(&lib).unwrap();
    let helper = harness::helper().program;
    let listed = std::process::Command::new("ldd").arg(&helper).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = Path::new(library).file_name().unwrap().to_str().unwrap();
        let name = if name.starts_with("ld-") { "ld.so" } else { name };
        fs::copy(library, lib.join(name)).unwrap();
        fs::set_permissions(lib.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy(helper, workspace.join("helper")).unwrap();
}

/// What comes of attempts, in a step.
async fn attempt(sandbox: &mut TestSandbox, attempts: &[String]) -> Vec<String> {
    let argv: Vec<&str> = HELPER.into_iter().chain(attempts.iter().map(String::as_str)).collect();
    let ran = sandbox.run(&argv).await.unwrap();
    assert_eq!(ran.exit.status, runtimes::ExitStatus::Code(0), "{ran:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The table: how, whom, and whether somebody answers.
async fn the_internet_is_reached_and_nothing_private(bench: &mut Bench) {
    const REACHED: [&str; 6] =
        ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "10.20.3.4", "fd12:3456::1", "64:ff9b::101:101"];
    let mut sandbox = bench.open(Limits::default()).await;
    install(sandbox.workspace());
    let more = [
        "127.0.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "198.18.61.3",
        "fd00::2",
        "fd00::3",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let all = || internet::OTHERS.into_iter().chain(internet::HOST).chain(more);
    let attempts: Vec<String> = ["tcp", "udp", "bound-tcp", "bound-udp"]
        .into_iter()
        .flat_map(|how| all().map(move |whom| format!("{how} {whom}")))
        .chain(["name mirror.example", "dns 198.18.61.3"].map(str::to_owned))
        .collect();
    let told = attempt(&mut sandbox, &attempts).await;
    assert_eq!(told.len(), attempts.len());
    let mut wrong = Vec::new();
    for (line, attempt) in told.iter().zip(&attempts) {
        let (how, whom) = attempt.split_once(' ').unwrap();
        let expected = match how {
            "name" | "dns" => Some("1.1.1.1"),
            _ => REACHED.into_iter().find(|reached| *reached == whom),
        };
        // pasta of Debian 12 passes packets on to the host's resolver, and no connections; later ones do both.
        let may_fail = how == "dns" && bench.network.by == NetworkChoice::Pasta;
        let failed = line.starts_with(&format!("{attempt} -> failed: "));
        let is_right = match expected {
            Some(_) if may_fail && failed => true,
            Some(whom) => *line == format!("{attempt} -> {whom}"),
            None => failed,
        };
        if !is_right {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A later step has the same network, and refusals are heard of at once.
    let begun = std::time::Instant::now();
    let told = attempt(&mut sandbox, &["tcp 1.1.1.1".to_owned(), "tcp 10.0.0.1".to_owned()]).await;
    assert_eq!(told[0], "tcp 1.1.1.1 -> 1.1.1.1");
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{told:?}");
    sandbox.close().await;
}

/// Rights over its network would undo what closes it.
async fn a_job_has_no_rights_over_its_network(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    install(sandbox.workspace());
    let attempts = ["raw -", "packet -", "frame -", "route -"].map(str::to_owned);
    for line in attempt(&mut sandbox, &attempts).await {
        assert!(line.contains("-> failed: "), "{line}");
    }
    // What it had rights for while the network was all its own: small ports.
    let served = "echo yes > ok; httpd -f -p 80 & i=0; \
                  until wget -q -O - http://127.0.0.1/ok 2>/dev/null || [ $i -ge 200 ]; do i=$((i+1)); sleep 0.05; done; \
                  kill %1";
    assert_eq!(sandbox.sh(served).await, "yes\n");
    assert_eq!(attempt(&mut sandbox, &["ping 1.1.1.1".to_owned()]).await, ["ping 1.1.1.1 -> answered"]);
    assert_eq!(sandbox.sh("ls /sys/class/net").await.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    assert!(sandbox.sh("cat /etc/resolv.conf").await.contains("search example.test"));
    sandbox.close().await;
}

/// Whatever carries packets may crash, or be ended by the kernel for want of memory.
async fn a_network_that_fails_ends_the_step_and_is_not_the_jobs_fault(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let state = bench.dir.join("state").display().to_string();
    let started = sandbox.workspace().join("started");
    let (failed, ()) = tokio::join!(sandbox.run(&["sh", "-c", "touch started; exec sleep 600"]), async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_process(carrier(&state).unwrap(), Signal::KILL).unwrap();
    });
    let failed = failed.unwrap_err();
    assert!(matches!(failed, RuntimeError::Host(_)) && failed.to_string().contains("signal: 9"), "{failed}");
    // Nor does a later step begin without it.
    assert!(sandbox.run(&["true"]).await.unwrap_err().to_string().contains("carries a job's packets"));
    sandbox.close().await;
    wait_until_none("carriers", || carrier(&state).into_iter().map(|pid| pid.to_string()).collect());
}

/// The process that carries packets for sandboxes with their files in `state`, whose name says so.
fn carrier(state: &str) -> Option<Pid> {
    let is_one = |told: &String| {
        let mut words = told.split(' ');
        words.nth(1).is_some_and(|name| {
            name.starts_with(state) && (name.ends_with("/pasta") || name.ends_with("/slirp4netns"))
        })
    };
    let told = processes_with(state).into_iter().find(is_one)?;
    Pid::from_raw(told.split(':').next()?.parse().ok()?)
}

/// Whoever runs the job is killed, and who would clean up as well: what carries packets ends with the first.
async fn a_killed_agent_takes_its_network_along(bench: &mut Bench) {
    let mut agent = death::start(bench, "n", bench.family);
    let state = agent.state();
    let carrier = carrier(&state).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", carrier.as_raw_nonzero())).unwrap();
    for (limit, most) in [("Max open files", 2_048), ("Max address space", 2 << 30)] {
        let told = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
        let told: Vec<u64> = told.split_whitespace().take(2).map(|value| value.parse().unwrap()).collect();
        assert!(told.iter().all(|value| *value <= most), "{limit}: {told:?}");
    }
    let held = pidfd_open(carrier, PidfdFlags::empty()).unwrap();
    assert!(outlasts_requests_to_end(carrier.as_raw_nonzero().get().cast_unsigned()));
    agent.kill_all();
    let limit = Timespec { tv_sec: GONE_LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = retry_on_intr(|| poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&limit))).unwrap();
    assert_eq!(ended, 1, "it goes on");
    let options = OciOptions { owner: agent.owner.clone(), ..bench.options() };
    OciRuntime::new(options, bench.store()).unwrap().reap().await.unwrap();
}

/// What was not the host's when a sandbox was made ahead, or when its last step began.
async fn addresses_that_the_host_gets_are_closed_to_the_next_step(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    install(sandbox.workspace());
    let ask = ["tcp 8.8.4.77".to_owned(), "tcp 1.1.1.1".to_owned()];
    internet::get("8.8.4.77");
    let told = attempt(&mut sandbox, &ask).await;
    assert!(told[0].contains("-> failed: ") && told[1].ends_with("-> 1.1.1.1"), "{told:?}");
    sandbox.close().await;
    // It is there, and it is not closed to others than jobs.
    assert!(std::net::TcpStream::connect("8.8.4.77:7777").is_ok());
}

/// By UDP and TCP; on most hosts a program answers at an address of the loopback, which no job reaches.
async fn a_host_that_asks_itself_for_names_is_asked_by_jobs(bench: &mut Bench) {
    internet::ask_itself();
    let mut sandbox = bench.open(Limits::default()).await;
    install(sandbox.workspace());
    let ask = ["name mirror.example", "dns 198.18.61.3", "tcp 127.0.0.53"].map(str::to_owned);
    let told = attempt(&mut sandbox, &ask).await;
    let by_tcp = usize::from(bench.network.by == NetworkChoice::Slirp4netns);
    assert!(told[..=by_tcp].iter().all(|line| line.ends_with(" -> 93.184.216.34")), "{told:?}");
    assert!(told[2].contains("-> failed: "), "{told:?}");
    sandbox.close().await;
}

async fn where_the_host_has_ipv6_only_jobs_have_as_well(bench: &mut Bench) {
    internet::leave_ipv4();
    let mut sandbox = bench.open(Limits::default()).await;
    install(sandbox.workspace());
    for (tried, reached) in [
        ("tcp 2606:4700::1111", Some("2606:4700::1111")),
        ("udp 2606:4700::1111", Some("2606:4700::1111")),
        ("name mirror.example", Some("2606:4700::1111")),
        ("tcp fd12:3456::1", Some("fd12:3456::1")),
        ("tcp fd99::1", None),
        ("tcp 2a00:77::2", None),
        ("tcp 1.1.1.1", None),
        ("bound-tcp 1.1.1.1", None),
    ] {
        let told = attempt(&mut sandbox, &[tried.to_owned()]).await.concat();
        let is_right = match reached {
            Some(whom) => told == format!("{tried} -> {whom}"),
            None => told.starts_with(&format!("{tried} -> failed: ")),
        };
        assert!(is_right, "{told}");
    }
    sandbox.close().await;
}

async fn where_the_host_leads_nowhere_a_job_has_its_loopback(bench: &mut Bench) {
    internet::leave();
    let mut sandbox = bench.open(Limits::default()).await;
    assert_eq!(sandbox.sh("ls /sys/class/net").await, "lo\n");
    sandbox.close().await;
}

async fn where_there_is_no_program_it_is_said_or_refused(bench: &mut Bench) {
    for (by, strict, refused) in [
        (NetworkChoice::Auto, false, false),
        (NetworkChoice::Auto, true, true),
        (bench.network.by, false, true),
    ] {
        let mut options = bench.options();
        (options.network.by, options.strict) = (by, strict);
        options.search_path = "/nowhere".into();
        let runtime = OciRuntime::new(options, bench.store()).unwrap();
        let findings = runtime.preflight().await;
        let told = findings.iter().find(|finding| finding.id == "oci.network").unwrap();
        assert_eq!(told.severity == Severity::Fatal, refused, "{told:?}");
        assert!(told.seen.contains("on PATH") && told.remedy.contains("install the package"), "{told:?}");
        let limits = Limits::default();
        let spec = SandboxSpec { name: "job".into(), limits, credentials: RegistryCredentials::default() };
        let opened = runtime.open(spec).await;
        match opened {
            Ok(sandbox) if !refused => sandbox.close().await.unwrap(),
            Err(RuntimeError::Refused(why)) if refused => {
                assert!(why.contains("EXECUTOR_OCI_NETWORK"), "{why}");
            }
            other => panic!("{by:?}, {strict}: {:?}", other.map(|_| ())),
        }
    }
}

async fn it_is_said_that_there_is_no_network(bench: &mut Bench) {
    let findings = bench.runtime.preflight().await;
    let told = findings.iter().find(|finding| finding.id == "oci.network").unwrap();
    assert!(told.severity == Severity::Fatal && told.seen.contains("runsc"), "{told:?}");
    assert!(bench.try_open("job-1", Limits::default()).await.is_err());
}

use crate::suite::mounts::nothing_of_the_host_is_told;
use crate::suite::security::{namespaces_are_the_jobs_own, rights_are_few, the_hosts_files_are_out_of_reach};

macro_rules! networks {
    ($($by:ident { $($family:ident: $($test:ident)*;)* })*) => {
        $(#[expect(non_snake_case, reason = "the choice's own name")]
        mod $by {
            $(mod $family {
                $(#[test]
                fn $test() {
                    let by = runtimes::oci::NetworkChoice::$by;
                    crate::network::run(stringify!($test), stringify!($family), by, crate::network::$test);
                })*
            })*
        })*
    };
}

networks! {
    Pasta {
        crun:
            the_internet_is_reached_and_nothing_private
            a_job_has_no_rights_over_its_network
            a_network_that_fails_ends_the_step_and_is_not_the_jobs_fault
            a_killed_agent_takes_its_network_along
            addresses_that_the_host_gets_are_closed_to_the_next_step
            a_host_that_asks_itself_for_names_is_asked_by_jobs
            where_the_host_has_ipv6_only_jobs_have_as_well
            where_the_host_leads_nowhere_a_job_has_its_loopback
            where_there_is_no_program_it_is_said_or_refused
            nothing_of_the_host_is_told
            namespaces_are_the_jobs_own
            rights_are_few
            the_hosts_files_are_out_of_reach;
        crun_host: the_internet_is_reached_and_nothing_private;
        crun_ordinary:
            the_internet_is_reached_and_nothing_private
            a_job_has_no_rights_over_its_network
            a_killed_agent_takes_its_network_along;
        runc: the_internet_is_reached_and_nothing_private nothing_of_the_host_is_told;
        youki: the_internet_is_reached_and_nothing_private;
        runsc: it_is_said_that_there_is_no_network;
    }
    Slirp4netns {
        crun:
            the_internet_is_reached_and_nothing_private
            a_job_has_no_rights_over_its_network
            a_host_that_asks_itself_for_names_is_asked_by_jobs
            where_the_host_has_ipv6_only_jobs_have_as_well
            a_network_that_fails_ends_the_step_and_is_not_the_jobs_fault
            a_killed_agent_takes_its_network_along;
        crun_ordinary:
            the_internet_is_reached_and_nothing_private
            a_killed_agent_takes_its_network_along;
        runc_ordinary:
            the_internet_is_reached_and_nothing_private
            a_job_has_no_rights_over_its_network
            a_killed_agent_takes_its_network_along;
        youki_ordinary: the_internet_is_reached_and_nothing_private a_job_has_no_rights_over_its_network;
    }
}
