//! A supervisor that stands still, as on a disk that hangs.

use crate::adoption::signal;
use crate::audited::{Audited, lines_of};
use crate::leftovers::nothing_is_left;
use crate::support::{SOON, System, wait};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long it may take until an agent is sure of it, and of what comes then: thrice of what it should.
const SURE: Duration = Duration::from_mins(2);

/// What an agent's metrics say of `name`; `None` while it does not answer.
fn metric(agent: SocketAddr, name: &str) -> Option<f64> {
    let mut connection = TcpStream::connect(agent).ok()?;
    connection.set_read_timeout(Some(SOON)).ok()?;
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut told = String::new();
    connection.read_to_string(&mut told).ok()?;
    told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_job_whose_supervisor_stands_still_is_canceled_all_the_same() {
    let test = "a_job_whose_supervisor_stands_still_is_canceled_all_the_same";
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let audit = Audited::new();
    let env = [audit.variable(), ("EXECUTOR_HEALTH_SERVER_ADDR", &address.to_string())];
    let Some(mut system) = System::with(test, &env) else { return };
    let agent = system.agent();
    let id = system.submit("trap '' TERM; echo begun; while :; do sleep 1; done");
    let delivered = || metric(address, "executor_log_delivered_bytes_total");
    wait(SOON, "what its log has, while it runs", || delivered().filter(|bytes| *bytes > 0.0));
    assert_eq!(metric(address, "executor_jobs_running"), Some(1.0));

    let supervisor = system.supervisor_of(&id).unwrap();
    signal("STOP", supervisor);
    system.ok(&["job", "cancel", &id]);
    let job = wait(SURE, "its end", || Some(system.show(&id)).filter(|job| job["state"] == "canceled"));
    assert_eq!((&job["attempt"], &job["reason"]), (&1.into(), &"canceled".into()), "{job}");
    assert!(!system.supervisors().contains(&supervisor), "it is killed");
    assert_eq!(metric(address, "executor_jobs_silent"), Some(0.0));
    assert_eq!(system.job("echo next").status.code(), Some(0));
    agent.stop();
    nothing_is_left(system.dir.path());
    assert_eq!(lines_of(&audit, &id), ["begun", "ended: canceled"]);
}
