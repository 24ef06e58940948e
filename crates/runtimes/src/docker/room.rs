//! Room on the disks of this host while a step runs.
//!
//! An engine's containers and the workspaces lie on disks of the host that no engine divides among jobs. A
//! step that meets one without room fails in its own words, and has often cleaned up by then; so somebody
//! looks meanwhile.

use super::client::Client;
use super::info::Info;
use super::{DockerOptions, Endpoint};
use crate::RuntimeError;
use crate::shortage::{Left, Shortage};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long apart looks are at most. Where less is left, they are as often as it could be gone by then.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that a step may write in a second, which is more than most disks take.
const QUICKEST: u64 = 4 << 30;

/// Directories of this host that jobs of an engine fill, without those that the agent keeps for itself: where
/// workspaces are made and, if the engine is on this host and says so, where it keeps its own.
pub async fn fills(options: &DockerOptions) -> Vec<PathBuf> {
    let info = Client::new(options.endpoint.clone()).info().await;
    disks(options, info.ok().as_ref())
}

pub(super) fn disks(options: &DockerOptions, info: Option<&Info>) -> Vec<PathBuf> {
    let local = matches!(options.endpoint, Endpoint::Unix(_));
    let root = info.filter(|_| local).and_then(Info::root).map(Path::to_owned);
    [options.workspaces.clone()].into_iter().chain(root).collect()
}

/// Disks that a step's writing goes to, and what was seen of them.
#[derive(Debug)]
pub(super) struct Room {
    disks: Vec<PathBuf>,
    /// The one that was full, and what of when it was worst.
    full: Option<(PathBuf, Shortage)>,
}

impl Room {
    pub(super) fn of(disks: Vec<PathBuf>) -> Self {
        Self { disks, full: None }
    }

    /// Looks now and again.
    pub(super) async fn watch(&mut self) -> Infallible {
        loop {
            let left = self.look();
            let pause = left
                .map_or(LONGEST_PAUSE, |left| Duration::from_secs_f64(left as f64 / QUICKEST as f64 / 2.0));
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
    }

    /// Looks once more; the failure if a disk was full at any time.
    pub(super) fn fault(mut self) -> Option<RuntimeError> {
        self.look();
        self.full.map(|(path, shortage)| shortage.fault(&path))
    }

    /// What is free of the fullest disk that has room, in bytes.
    fn look(&mut self) -> Option<u64> {
        let mut left = None;
        for disk in &self.disks {
            let Some(Left { free, shortage }) = Left::on(disk) else { continue };
            match shortage {
                None => left = left.into_iter().chain([free]).min(),
                Some(now) if self.full.as_ref().is_none_or(|(_, before)| now.is_worse_than(*before)) => {
                    self.full = Some((disk.clone(), now));
                }
                Some(_) => {}
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::SmallDisk;

    #[tokio::test]
    async fn a_disk_that_was_full_for_a_while_is_remembered() {
        let test = "docker::room::tests::a_disk_that_was_full_for_a_while_is_remembered";
        let Some(disk) = SmallDisk::mount(test, 64 << 20) else { return };
        let room = || Room::of(vec!["/nowhere".into(), disk.path()]);
        assert!(room().fault().is_none());
        disk.fill(0);
        let mut seen = room();
        // Its first look is at once.
        tokio::select! {
            biased;
            never = seen.watch() => match never {},
            () = std::future::ready(()) => {}
        }
        disk.make_room();
        let fault = seen.fault();
        assert!(
            matches!(&fault, Some(RuntimeError::HostDiskFull { path, free }) if *path == disk.path() && *free < 16 << 20),
            "{fault:?}"
        );
    }

    #[test]
    fn a_disk_that_could_hold_no_more_files_for_a_while_is_remembered() {
        let test = "docker::room::tests::a_disk_that_could_hold_no_more_files_for_a_while_is_remembered";
        let Some(disk) = SmallDisk::mount(test, 32 << 20) else { return };
        let mut room = Room::of(vec![disk.path()]);
        let many = disk.use_up_files();
        assert_eq!(room.look(), None, "how soon it is full is no question any more");
        drop(many);
        assert!(room.look().is_some());
        let fault = room.fault();
        assert!(
            matches!(&fault, Some(RuntimeError::HostInodesFull { path, limit, used }) if *path == disk.path() && used == limit),
            "{fault:?}"
        );
    }
}
