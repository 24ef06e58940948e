//! Room on a job's disk and on the host's, below it.
//!
//! A job may fill its disk and have cleaned up when it fails. The kernel keeps no record of that; only
//! who looked meanwhile knows. And
//! disks of jobs are larger, together, than what they lie on: when the host has no room, a job meets
//! I/O errors, or nothing at all until what it wrote is read again. Neither is its fault.

use super::volume::Volume;
use crate::shortage::{Left, Shortage};
use crate::{Cause, RuntimeError};
use rustix::fs::statvfs;
use std::convert::Infallible;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to look: as often as the disk could be full by then, within these. It could at once, but
/// looking costs too.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const SHORTEST_IDLE_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes that a step may write in a second, which is more than most disks take.
const QUICKEST: u64 = 4 << 30;

/// What is free of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) files: u64,
    /// How many files there can be; 0 where the file system has no such limit.
    most_files: u64,
}

impl Room {
    /// What a process without privileges may still write, if that can be told.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let stat = statvfs(path).ok()?;
        Some(Self {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            files: stat.f_favail,
            most_files: stat.f_files,
        })
    }

    /// Whether no more files can be made, though there is room.
    fn is_out_of_files(self) -> bool {
        self.most_files > 0 && self.files == 0
    }
}

/// The disk that all jobs' disks lie on.
#[derive(Debug)]
pub(super) struct HostDisk {
    state_dir: PathBuf,
}

impl HostDisk {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir }
    }

    /// What there is next to nothing of.
    fn shortage(&self) -> Option<Shortage> {
        Left::on(&self.state_dir)?.shortage
    }

    /// The failure, or what it comes of.
    pub(super) fn explain(&self, error: RuntimeError) -> RuntimeError {
        match (&error, self.shortage()) {
            (RuntimeError::Image(_) | RuntimeError::Refused(_), _) | (_, None) => error,
            (_, Some(shortage)) => {
                tracing::warn!(%error, source = error.source(), ?shortage, "failed for want of room on the host");
                shortage.fault(&self.state_dir)
            }
        }
    }
}

/// What is left of something, over time.
#[derive(Debug, Default, Clone, Copy)]
struct Gauge {
    left: u64,
    /// What went away per second, when last looked at.
    speed: f64,
}

impl Gauge {
    /// Takes what is left `elapsed` after the last look. Whether nothing was left in between: there is
    /// more now, and as quickly as it went away before, it would have been used up.
    fn look(&mut self, left: u64, elapsed: Duration) -> bool {
        let ran_out = left > self.left && self.speed * elapsed.as_secs_f64() > self.left as f64;
        let used = self.left.saturating_sub(left) as f64;
        *self = Self { left, speed: used / elapsed.as_secs_f64().max(f64::EPSILON) };
        ran_out
    }

    /// Half the time in which it is used up as quickly as lately.
    fn pause(self) -> Option<Duration> {
        let seconds = self.left as f64 / self.speed / 2.0;
        (self.speed > 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST_PAUSE.as_secs_f64())))
    }
}

/// What was seen while a step ran.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    own_full: bool,
    /// How many files the job's disk can have, if it had them all.
    own_files: Option<u64>,
    /// What the host's disk was short of when it was worst.
    host: Option<Shortage>,
    bytes: Gauge,
    files: Gauge,
    at: Option<Instant>,
}

impl Seen {
    fn look(&mut self, volume: &Volume, host: &HostDisk) {
        let now = host.shortage();
        if now.is_some_and(|now| self.host.is_none_or(|before| now.is_worse_than(before))) {
            self.host = now;
        }
        let Some(room) = Room::of(&volume.path) else { return };
        let now = Instant::now();
        let elapsed = self.at.replace(now).map_or(Duration::ZERO, |before| now - before);
        let ran_out = (self.bytes.look(room.bytes, elapsed), self.files.look(room.files, elapsed));
        if volume.size.is_some() {
            self.own_full |= volume.is_full_with(room) || ran_out.0;
            let out_of_files = room.is_out_of_files() || ran_out.1;
            self.own_files = self.own_files.or_else(|| out_of_files.then_some(room.most_files));
        }
    }

    fn pause(&self) -> Duration {
        let at_best = Duration::from_secs_f64(self.bytes.left as f64 / QUICKEST as f64);
        let idle = at_best.max(SHORTEST_IDLE_PAUSE);
        [self.bytes.pause(), self.files.pause()]
            .into_iter()
            .flatten()
            .fold(idle, Duration::min)
            .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// Looks until it is dropped.
    pub(super) async fn watch(&mut self, volume: &Volume, host: &HostDisk) -> Infallible {
        // The step is just starting, and needs the processor more.
        tokio::time::sleep(SHORTEST_IDLE_PAUSE).await;
        loop {
            self.look(volume, host);
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// The limit of the job's disk that was reached while the step ran, or is.
    ///
    /// # Errors
    /// When the host's disk was full, or is, and the step has `failed`, or has lost what it wrote.
    pub(super) async fn judge(
        mut self,
        volume: &Volume,
        host: &HostDisk,
        failed: bool,
    ) -> Result<Option<Cause>, RuntimeError> {
        self.look(volume, host);
        if let Some(shortage) = self.host
            && (failed || volume.has_lost_writes().await)
        {
            return Err(shortage.fault(&host.state_dir));
        }
        let files = || self.own_files.map(|limit| Cause::InodesFull { limit, used: limit });
        let bytes = volume.size.filter(|_| self.own_full).map(|limit| Cause::DiskFull { limit });
        Ok(bytes.or_else(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn gauge(looks: &[(u64, u32)]) -> (Gauge, bool) {
        let mut gauge = Gauge { left: 1_000, speed: 0.0 };
        let ran_out = looks.iter().map(|(left, after)| gauge.look(*left, MILLISECOND * *after)).last();
        (gauge, ran_out.unwrap_or_default())
    }

    #[test]
    fn what_would_have_been_used_up_between_two_looks_was() {
        assert!(gauge(&[(500, 10), (1_000, 11)]).1);
        assert!(!gauge(&[(500, 10), (1_000, 9)]).1, "something was left when more came");
        assert!(!gauge(&[(500, 10), (400, 11)]).1, "it went on more slowly");
        assert!(!gauge(&[(1_000, 10), (1_000, 1_000)]).1 && !gauge(&[(1_000, 10), (2_000, 1_000)]).1);
    }

    #[test]
    fn one_looks_more_often_the_sooner_it_may_be_used_up() {
        assert_eq!(gauge(&[(1_000, 10)]).0.pause(), None, "it is not used");
        assert_eq!(gauge(&[(500, 10)]).0.pause(), Some(MILLISECOND * 5));
        assert_eq!(gauge(&[(500, 10), (100, 10)]).0.pause(), Some(Duration::from_micros(1_250)));
        let seen = |bytes, files| Seen { bytes, files, ..Seen::default() }.pause();
        let full = |left| Gauge { left, speed: 0.0 };
        assert_eq!(seen(full(100 << 30), full(9)), LONGEST_PAUSE);
        assert_eq!(seen(full(QUICKEST / 100), full(9)), MILLISECOND * 10);
        assert_eq!(seen(full(0), full(9)), SHORTEST_IDLE_PAUSE);
        assert_eq!(seen(full(100 << 30), Gauge { left: 10, speed: 1e9 }), SHORTEST_PAUSE);
    }
}
