//! What a service of systemd tells its manager: that it is ready, that it stops, how it is, and that it
//! is not stuck. Without such a manager all of this does nothing.

mod notify;
pub(crate) mod scope;
mod watched;

pub(crate) use notify::Notifier;
pub(crate) use watched::Watched;

use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often a service that starts is looked at.
const STARTING: Duration = Duration::from_millis(100);
/// How often one that runs is.
const RUNNING: Duration = Duration::from_secs(1);
/// So many beats fit into the time after which the manager takes the service for stuck.
const BEATS: u32 = 3;

/// The service that the control groups of a process name.
pub(crate) fn service(groups: &str) -> Option<&str> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    // A user's own manager is a service itself.
    let is_service = |part: &&str| part.ends_with(".service") && !part.starts_with("user@");
    let mut services = paths.filter_map(|path| path.split('/').find(is_service));
    services.next()
}

/// Tells the manager of `watched` until the result is dropped; that it stops when `drain` fires.
pub(crate) fn attend(
    notifier: &Notifier,
    watched: Watched,
    drain: CancellationToken,
) -> Option<AbortOnDropHandle<()>> {
    let notifier = notifier.clone();
    notifier.is_heard().then(|| AbortOnDropHandle::new(tokio::spawn(tell(notifier, watched, drain))))
}

async fn tell(notifier: Notifier, watched: Watched, drain: CancellationToken) {
    let mut told = Told::default();
    loop {
        // Whoever hears that it is ready when it stops takes it to be so again.
        let ready = told.ready || !told.stopping && watched.is_ready();
        let stops = drain.is_cancelled();
        if ready && !told.ready {
            told.ready = notifier.send("READY=1");
        }
        if stops && !told.stopping && told.ready == ready {
            told.stopping = notifier.send("STOPPING=1");
        }
        let status = watched.status(stops);
        if told.status != status && notifier.send(&format!("STATUS={status}")) {
            told.status = status;
        }
        if let Some(limit) = notifier.watchdog()
            && told.beat.is_none_or(|at| at.elapsed() >= limit / BEATS)
            && watched.moves().await
            && notifier.send("WATCHDOG=1")
        {
            told.beat = Some(Instant::now());
        }
        pause(ready, stops, &drain, notifier.watchdog()).await;
    }
}

/// What the manager has heard. What it could not be told, it is told at the next turn.
#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    status: String,
    beat: Option<Instant>,
}

/// Waits for the next turn, or until the service stops that did not yet.
async fn pause(ready: bool, stops: bool, drain: &CancellationToken, watchdog: Option<Duration>) {
    let pause = if ready { RUNNING } else { STARTING };
    let pause = watchdog.map_or(pause, |limit| pause.min(limit / (2 * BEATS)));
    tokio::select! {
        () = sleep(pause) => {}
        () = drain.cancelled(), if !stops => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{EnvReader, Variables};
    use std::path::Path;
    use tokio::net::UnixDatagram;
    use tokio::time::timeout;

    /// Says things to a manager for as long as it has room for any; how many.
    fn fill(socket: &Path) -> usize {
        let mut all = 0;
        loop {
            // What is not read yet fills both the reader's room and that of the one who said it.
            let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
            other.set_nonblocking(true).unwrap();
            let said = std::iter::from_fn(|| other.send_to(b"X=1", socket).ok()).count();
            if said == 0 {
                return all;
            }
            all += said;
        }
    }

    async fn heard(manager: &UnixDatagram) -> String {
        let mut message = [0; 100];
        let heard = timeout(Duration::from_secs(30), manager.recv(&mut message)).await;
        let length = heard.expect("something in time").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_manager_that_had_no_room_hears_it_once_it_reads_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let others = fill(&path);
        let variables = Variables::of(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let notifier = Notifier::read(&EnvReader::new(&variables, "executor"));
        let watched = Watched { agent: None, server: Some("127.0.0.1:7080".parse().unwrap()) };
        let drain = CancellationToken::new();
        drain.cancel();
        let _attended = attend(&notifier, watched, drain).unwrap();
        // On this one thread the service has its first turn now.
        tokio::task::yield_now().await;
        for _ in 0..others {
            assert_eq!(heard(&manager).await, "X=1");
        }
        for told in ["READY=1", "STOPPING=1", "STATUS=finishing requests on 127.0.0.1:7080"] {
            assert_eq!(heard(&manager).await, told);
        }
    }

    #[test]
    fn the_service_is_found_wherever_in_the_path() {
        assert_eq!(service("0::/system.slice/executor.service/executor-agent\n"), Some("executor.service"));
        assert_eq!(
            service("1:name=systemd:/system.slice/executor.service\n0::/\n"),
            Some("executor.service")
        );
        let of_user = "0::/user.slice/user-7.slice/user@7.service/app.slice/executor.service/x\n";
        assert_eq!(service(of_user), Some("executor.service"));
        assert_eq!(service("0::/user.slice/user-7.slice/user@7.service/app.slice/x.scope\n"), None);
        assert_eq!(service("0::/user.slice/user-0.slice/session-1.scope\n"), None);
    }
}
