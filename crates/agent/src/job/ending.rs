//! How a job ended, for people and for programs, and which final call that makes.

use super::stop::{JobStop, StopCause};
use crate::api::Final;
use crate::error::chain;
use crate::host_disk::{HostDisks, full_at, has_no_room};
use crate::inodes;
use crate::text;
use images::ImageError;
use jobs::{Canceler, EndReason, FinalCall};
use runtimes::{Cause, Exit, ExitStatus, RuntimeError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why a job did not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something went wrong.
    Broke { reason: EndReason, message: String },
    /// It was stopped; [`JobStop`] knows by whom.
    Stopped,
}

impl Failure {
    pub(crate) fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self::Broke { reason, message: message.into() }
    }

    /// The job asks for something that can't be done.
    pub(crate) fn bad_job(message: impl Into<String>) -> Self {
        Self::new(EndReason::BadJob, message)
    }

    /// Our side of the sandbox broke.
    pub(crate) fn sandbox(message: impl Into<String>) -> Self {
        Self::new(EndReason::Sandbox, message)
    }

    /// A disk has no room; [`Failure::with_disk`] tells whose it is.
    pub(crate) fn no_room(message: impl Into<String>) -> Self {
        Self::new(EndReason::DiskFull { step: String::new(), limit: 0 }, message)
    }

    /// Something of ours could not be written.
    pub(crate) fn of_write(what: impl std::fmt::Display, fault: &io::Error) -> Self {
        let message = format!("failed to write {what}: {fault}");
        if has_no_room(fault) { Self::no_room(message) } else { Self::sandbox(message) }
    }

    /// The failure with the disk that caused it, if one did: the job's own of `limit` bytes, or one of the
    /// host's. A job's disk lies on the host's, and on a host without room breaks in many ways.
    pub(crate) fn with_disk(self, host: &HostDisks, workspace: Option<&Path>, limit: Option<u64>) -> Self {
        let Self::Broke { reason, message } = self else { return self };
        let of_ours = matches!(&reason, EndReason::DiskFull { step, .. } if step.is_empty());
        let own = workspace.is_some_and(|workspace| !host.hold(workspace));
        let reason = match reason {
            EndReason::DiskFull { step, .. } if of_ours && own && !host.is_full() => {
                of_own_disk(step, workspace, limit)
            }
            EndReason::DiskFull { .. } if of_ours => host.full(),
            // An engine says that its disk is full, and not where that is.
            EndReason::HostDiskFull { path, .. } if host.is_full() && !Path::new(&path).exists() => {
                host.full()
            }
            EndReason::Sandbox | EndReason::Checkout if host.is_full() => host.full(),
            other => other,
        };
        Self::Broke { reason, message }
    }

    /// Says what was being done.
    pub(crate) fn while_doing(self, what: &str) -> Self {
        match self {
            Self::Broke { reason, message } => Self::Broke { reason, message: format!("{what}: {message}") },
            Self::Stopped => Self::Stopped,
        }
    }

    /// The failure as it is, unless the job was stopped and this looks like what comes of it: a
    /// step that gave up when it was asked to, a pull or a clone that was cut off.
    pub(crate) fn or_stopped(self, stop: &JobStop) -> Self {
        let consequence = matches!(
            &self,
            Self::Broke {
                reason: EndReason::ExitCode { .. }
                    | EndReason::Signal { .. }
                    | EndReason::Image { .. }
                    | EndReason::ImageUnavailable { .. }
                    | EndReason::Checkout
                    | EndReason::Sandbox,
                ..
            }
        );
        if consequence && stop.cause().is_some() { Self::Stopped } else { self }
    }

    /// What a runtime's own failure means for the job.
    pub(crate) fn of_runtime(error: &RuntimeError) -> Self {
        let reason = match error {
            RuntimeError::Image(image) => of_image(image),
            RuntimeError::Refused(_) => EndReason::BadJob,
            RuntimeError::HostDiskFull { path, free } => {
                EndReason::HostDiskFull { path: path.to_string_lossy().into_owned(), free: *free }
            }
            RuntimeError::HostInodesFull { path, limit, used } => EndReason::HostInodesFull {
                path: path.to_string_lossy().into_owned(),
                limit: *limit,
                used: *used,
            },
            RuntimeError::Io { source, .. } if has_no_room(source) => return Self::no_room(chain(error)),
            _ => EndReason::Sandbox,
        };
        Self::new(reason, chain(error))
    }

    /// What a step's exit means for the job; `Ok` when it ended with 0 and no limit was hit.
    pub(crate) fn of_exit(key: &str, exit: &Exit) -> Result<(), Self> {
        let step = key.to_owned();
        let (reason, message) = match (exit.cause, exit.status) {
            (Some(Cause::Stopped), _) => return Err(Self::Stopped),
            (Some(Cause::OutOfMemory { limit, peak }), _) => (
                EndReason::OutOfMemory { step, limit, peak },
                format!("the step ran out of memory: it used {peak} bytes and may use {limit}"),
            ),
            (Some(Cause::DiskFull { limit }), _) => (
                EndReason::DiskFull { step, limit },
                format!("the step filled the job's disk of {limit} bytes"),
            ),
            (Some(Cause::InodesFull { limit, used }), _) => (
                EndReason::InodesFull { step, limit, used },
                format!("the step filled the job's disk with {used} files, which can hold {limit}"),
            ),
            (None, ExitStatus::Code(0)) => return Ok(()),
            (None, ExitStatus::Code(code)) => {
                (EndReason::ExitCode { step, code }, format!("command failed with exit code {code}"))
            }
            (None, ExitStatus::Signal(signal)) => {
                (EndReason::Signal { step, signal }, format!("command was killed by signal {signal}"))
            }
        };
        Err(Self::new(reason, message))
    }
}

/// What a job's own disk is full of.
fn of_own_disk(step: String, workspace: Option<&Path>, limit: Option<u64>) -> EndReason {
    match workspace.and_then(inodes::exhausted) {
        Some(inodes::Exhausted { used, limit }) => EndReason::InodesFull { step, limit, used },
        None => EndReason::DiskFull { step, limit: limit.unwrap_or_default() },
    }
}

/// Whether the image is wrong, or only could not be had for now.
fn of_image(error: &ImageError) -> EndReason {
    match error {
        ImageError::DiskFull { path } => full_at(path),
        error if error.is_temporary() => EndReason::ImageUnavailable { class: error.class().to_owned() },
        error => EndReason::Image { class: error.class().to_owned() },
    }
}

/// The final call for a job that ended with `result`; `None` when nothing may be said. Only what a
/// user asked for is final; everything else may be tried again, as the control plane sees fit.
pub(crate) fn final_call(
    result: &Result<(), Failure>,
    stop: &JobStop,
    limit: Option<Duration>,
) -> Option<(EndReason, Final)> {
    let (reason, message) = match result {
        _ if stop.cause() == Some(StopCause::Abandoned) => return None,
        Ok(()) => return Some((EndReason::Succeeded, Final::Complete)),
        Err(Failure::Broke { reason, message }) => (reason.clone(), message.clone()),
        Err(Failure::Stopped) => match stop.cause() {
            Some(StopCause::Canceled) => {
                (EndReason::Canceled(Canceler::control_plane()), "the job was canceled".to_owned())
            }
            Some(StopCause::Timeout) => timed_out(limit.unwrap_or_default()),
            // A sandbox that stops by itself has no cause of ours.
            Some(StopCause::ExecutorStopped | StopCause::Abandoned) | None => {
                (EndReason::ExecutorStopped, "the executor was stopped while the job ran".to_owned())
            }
        },
    };
    let end = reason.detail();
    let last = match reason.call() {
        Some(FinalCall::Failed) => Final::Failed { message, end },
        _ => Final::Errored { message, end },
    };
    Some((reason, last))
}

fn timed_out(limit: Duration) -> (EndReason, String) {
    let shown = text::go_duration(limit);
    (
        EndReason::Timeout { limit },
        format!("job exceeded maximum execution time of {shown}: context deadline exceeded"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::{Timeline, Usage};

    fn hosts(dir: &Path) -> HostDisks {
        HostDisks::of(dir, Vec::new())
    }

    fn exit(status: ExitStatus, cause: Option<Cause>) -> Exit {
        Exit { status, cause, usage: Usage::default(), timeline: Timeline::default() }
    }

    fn mark(result: &Result<(), Failure>, cause: Option<StopCause>) -> Option<Final> {
        let stop = JobStop::default();
        if let Some(cause) = cause {
            stop.fire(cause);
        }
        final_call(result, &stop, Some(Duration::from_mins(30))).map(|(_, last)| last)
    }

    #[test]
    fn a_limit_tells_more_than_the_signal_that_enforced_it() {
        let killed = exit(ExitStatus::Signal(9), Some(Cause::OutOfMemory { limit: 10, peak: 9 }));
        let Err(Failure::Broke { reason, message }) = Failure::of_exit("build", &killed) else { panic!() };
        assert_eq!(reason, EndReason::OutOfMemory { step: "build".to_owned(), limit: 10, peak: 9 });
        assert_eq!(message, "the step ran out of memory: it used 9 bytes and may use 10");
        assert_eq!(Failure::of_exit("build", &exit(ExitStatus::Code(0), None)), Ok(()));
    }

    #[test]
    fn an_image_out_of_reach_is_told_from_one_that_is_wrong() {
        let (image, registry) = (|| "a/b:1".to_owned(), || "r.example".to_owned());
        let wrong = ImageError::NotFound { image: image(), place: registry() };
        let refused = ImageError::Unauthorised { image: image(), registry: registry(), reason: image() };
        let limited = ImageError::RateLimited { registry: registry(), retry_after: "60".to_owned() };
        let broken = || ImageError::BadRegistry { registry: registry(), answer: "status 500".to_owned() };
        let helpless =
            ImageError::Credentials { image: image(), registry: registry(), fault: "no helper".to_owned() };
        let unproved = ImageError::Unproved { image: image(), source: Box::new(broken()) };
        let full = ImageError::DiskFull { path: "/nowhere".into() };
        let unknown = ImageError::UnknownHost { registry: registry() };
        let is_wrong = |class: &str| EndReason::Image { class: class.to_owned() };
        let is_unavailable = |class: &str| EndReason::ImageUnavailable { class: class.to_owned() };
        for (error, expected) in [
            (wrong, is_wrong("not_found")),
            (refused, is_wrong("unauthorised")),
            (unknown, is_wrong("unknown_host")),
            (limited, is_unavailable("rate_limited")),
            (broken(), is_unavailable("bad_registry")),
            (helpless, is_unavailable("credentials")),
            (unproved, is_unavailable("unproved")),
            (full, EndReason::HostDiskFull { path: "/nowhere".to_owned(), free: 0 }),
        ] {
            let Failure::Broke { reason, message } = Failure::of_runtime(&error.into()) else { panic!() };
            assert_eq!(reason, expected, "{message}");
        }
    }

    #[test]
    fn a_full_disk_below_the_jobs_is_passed_on_with_its_evidence() {
        let fault = RuntimeError::HostDiskFull { path: "/state".into(), free: 7 };
        let Failure::Broke { reason, message } = Failure::of_runtime(&fault) else { panic!() };
        assert_eq!(reason, EndReason::HostDiskFull { path: "/state".to_owned(), free: 7 });
        assert_eq!(message, "the disk of this host is full: 7 bytes are free at /state");
    }

    #[test]
    fn a_disk_without_inodes_is_told_from_one_without_room_and_by_whose_it_is() {
        let test =
            "job::ending::tests::a_disk_without_inodes_is_told_from_one_without_room_and_by_whose_it_is";
        let Some(disk) = testkit::SmallDisk::mount(test, 32 << 20) else { return };
        let _many = disk.use_up_files();
        let (here, there) = (tempfile::tempdir().unwrap(), disk.path());
        let of = |host: &Path, workspace: &Path| {
            let Failure::Broke { reason, .. } =
                Failure::no_room("x").with_disk(&hosts(host), Some(workspace), Some(32 << 20))
            else {
                panic!()
            };
            reason
        };
        let own = of(here.path(), &there);
        assert!(
            matches!(&own, EndReason::InodesFull { step, limit, used } if step.is_empty() && used == limit),
            "{own:?}"
        );
        let of_host = of(&there, &there);
        assert!(
            matches!(&of_host, EndReason::HostInodesFull { path, limit, used } if *path == *there.to_string_lossy() && used == limit),
            "{of_host:?}"
        );
        let engines = RuntimeError::Image(ImageError::DiskFull { path: "the container engine".into() });
        let told = Failure::of_runtime(&engines);
        for (host, expected) in [(here.path(), "host_disk_full"), (&there, "host_inodes_full")] {
            let Failure::Broke { reason, .. } = told.clone().with_disk(&hosts(host), None, None) else {
                panic!()
            };
            assert_eq!(reason.name(), expected);
        }
        let fault = RuntimeError::HostInodesFull { path: "/state".into(), limit: 10, used: 9 };
        let Failure::Broke { reason, message } = Failure::of_runtime(&fault) else { panic!() };
        assert_eq!(reason, EndReason::HostInodesFull { path: "/state".to_owned(), limit: 10, used: 9 });
        assert_eq!(message, "the disk of this host is full: it holds 9 files and can hold 10, at /state");
        let step = exit(ExitStatus::Code(1), Some(Cause::InodesFull { limit: 10, used: 10 }));
        let Err(Failure::Broke { reason, .. }) = Failure::of_exit("build", &step) else { panic!() };
        assert_eq!(reason, EndReason::InodesFull { step: "build".to_owned(), limit: 10, used: 10 });
    }

    #[test]
    fn what_comes_of_a_stop_is_not_taken_for_the_jobs_own_failure() {
        let (running, stopped) = (JobStop::default(), JobStop::default());
        stopped.fire(StopCause::Canceled);
        let gave_up = Failure::of_exit("build", &exit(ExitStatus::Code(143), None)).unwrap_err();
        assert_eq!(gave_up.clone().or_stopped(&running), gave_up);
        assert_eq!(gave_up.or_stopped(&stopped), Failure::Stopped);
        let refused = Failure::bad_job("no");
        assert_eq!(refused.clone().or_stopped(&stopped), refused);
    }

    #[test]
    fn only_a_cancellation_is_final() {
        let failed = Err(Failure::bad_job("no"));
        assert!(matches!(mark(&failed, None), Some(Final::Errored { .. })));
        assert!(matches!(
            mark(&Err(Failure::Stopped), Some(StopCause::Canceled)),
            Some(Final::Failed { .. })
        ));
        assert!(matches!(
            mark(&Err(Failure::Stopped), Some(StopCause::Timeout)),
            Some(Final::Errored { .. })
        ));
        assert_eq!(mark(&Ok(()), None), Some(Final::Complete));
    }

    #[test]
    fn a_job_that_ended_before_its_stop_was_seen_ended_as_it_ended() {
        assert_eq!(mark(&Ok(()), Some(StopCause::Canceled)), Some(Final::Complete));
        assert_eq!(mark(&Ok(()), Some(StopCause::Abandoned)), None);
    }

    #[test]
    fn a_timeout_names_the_limit() {
        let Some(Final::Errored { message, end }) = mark(&Err(Failure::Stopped), Some(StopCause::Timeout))
        else {
            panic!()
        };
        assert_eq!(message, "job exceeded maximum execution time of 30m0s: context deadline exceeded");
        assert_eq!((end.reason.as_str(), end.limit), ("timeout", Some(1_800_000)));
    }
}
