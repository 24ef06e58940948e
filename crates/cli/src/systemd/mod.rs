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
        if !told.ready && watched.is_ready() {
            notifier.send("READY=1");
            told.ready = true;
        }
        if !told.stopping && drain.is_cancelled() {
            notifier.send("STOPPING=1");
            told.stopping = true;
        }
        let status = watched.status(drain.is_cancelled());
        if told.status != status {
            notifier.send(&format!("STATUS={status}"));
            told.status = status;
        }
        if let Some(limit) = notifier.watchdog()
            && told.beat.is_none_or(|at| at.elapsed() >= limit / BEATS)
            && watched.moves().await
        {
            notifier.send("WATCHDOG=1");
            told.beat = Some(Instant::now());
        }
        pause(&told, &drain, notifier.watchdog()).await;
    }
}

#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    status: String,
    beat: Option<Instant>,
}

async fn pause(told: &Told, drain: &CancellationToken, watchdog: Option<Duration>) {
    let pause = if told.ready { RUNNING } else { STARTING };
    let pause = watchdog.map_or(pause, |limit| pause.min(limit / (2 * BEATS)));
    let stops = async {
        if told.stopping {
            std::future::pending::<()>().await;
        }
        drain.cancelled().await;
    };
    tokio::select! {
        () = sleep(pause) => {}
        () = stops => {}
    }
}

#[cfg(test)]
mod tests {
    use super::service;

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
