//! What is told of each fault.

use super::Refusal;
use crate::api::RESULT_ELSEWHERE;
use crate::auth::passwords::PasswordFault;
use crate::body::BodyFault;
use crate::disk_floor::BelowFloor;
use crate::files::FileFault;
use crate::git::GitFault;
use crate::public_api::uploads;
use http::StatusCode;
use std::io::ErrorKind;
use store::{Countable, ObjectsFault, StoreError};
use tokio::task::JoinError;

impl From<StoreError> for Refusal {
    fn from(fault: StoreError) -> Self {
        let told = fault.to_string();
        match fault {
            StoreError::UnknownJob(_) => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_job",
                "There is no such job",
                format!("{told}: `executor job list` tells which there are"),
            ),
            StoreError::UnknownLogEntry { .. } => {
                Self::new(StatusCode::NOT_FOUND, "unknown_log_entry", "There is no such log entry", told)
            }
            StoreError::Rejected(_) => {
                Self::new(StatusCode::CONFLICT, "job_ended", "The job has ended", told)
            }
            StoreError::UnknownFile(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_file", "There is no such file", told)
            }
            StoreError::QueueFull { .. }
            | StoreError::QueuePortion { .. }
            | StoreError::QueueReserved { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", "The queue is full", told)
            }
            StoreError::KeyReused { .. } => Self::new(
                StatusCode::CONFLICT,
                "idempotency_key_reused",
                "The idempotency key was used for another submission",
                told,
            ),
            StoreError::SubmittedTwice(_) | StoreError::Outdated => Self::new(
                StatusCode::CONFLICT,
                "submission_under_way",
                "The same submission is under way",
                told,
            ),
            StoreError::TooMany { of: Countable::Lanes, .. }
            | StoreError::TooManyOf { of: Countable::Lanes, .. }
            | StoreError::TooManyShared { of: Countable::Lanes, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_lanes",
                "There is no room for more kinds of jobs",
                told,
            ),
            StoreError::UnknownExecutor(_) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_executor", "There is no such executor", told)
            }
            StoreError::TokenExists { .. } => {
                Self::new(StatusCode::CONFLICT, "token_exists", "The name is taken", told)
            }
            StoreError::TooMany { .. } | StoreError::TooManyOf { .. } | StoreError::TooManyShared { .. } => {
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "too_many_tokens",
                    "There is no room for more",
                    told,
                )
            }
            StoreError::PersonExists(_) => {
                Self::new(StatusCode::CONFLICT, "user_exists", "The name is taken", told)
            }
            StoreError::UnknownSecret(_) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_secret", "There is no such secret", told)
            }
            StoreError::SecretExists(_) => {
                Self::new(StatusCode::CONFLICT, "secret_exists", "The key is taken", told)
            }
            StoreError::TooManySecrets(_) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "too_many_secrets",
                "There is no room for another secret",
                told,
            ),
            StoreError::RepositoryExists { .. } => {
                Self::new(StatusCode::CONFLICT, "repository_exists", "The name is taken", told)
            }
            StoreError::UnknownUpload(id) => uploads::unknown(&format!("there is no upload {id}")),
            StoreError::Objects(fault) => fault.into(),
            StoreError::Full(_) => Self::disk_full(&fault),
            StoreError::Away(_) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "the database does not answer");
                let detail =
                    "the server's log tells the cause; it goes on by itself when the database answers again";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "database_away", "The database does not answer", detail)
            }
            StoreError::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy", told)
            }
            StoreError::ClockSet => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "clock_set", "The database's clock was set", told)
            }
            StoreError::NewerSpec(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "newer_server", "A newer server knows this job", told)
            }
            StoreError::UnknownSealingKey { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "unknown_sealing_key", "A key of the secrets is missing here", told)
            }
            _ => Self::internal(&fault),
        }
    }
}

impl From<ObjectsFault> for Refusal {
    fn from(fault: ObjectsFault) -> Self {
        let told = fault.to_string();
        match fault {
            ObjectsFault::Missing { .. } => {
                Self::new(StatusCode::NOT_FOUND, "result_gone", "The result is not there any more", told)
            }
            ObjectsFault::Elsewhere { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                RESULT_ELSEWHERE,
                "The result is not on this server",
                told,
            ),
            ObjectsFault::Full { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "object_store_full",
                "There is no room for results",
                told,
            ),
            ObjectsFault::Failed { .. } => {
                tracing::error!(error = &fault as &dyn std::error::Error, "the object store failed");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let detail = format!("{told}: try again; the server's log tells the cause");
                Self::new(status, "object_store_failed", "Results can't be reached", detail)
            }
            ObjectsFault::Short { .. } => Self::internal(&fault),
        }
    }
}

impl From<GitFault> for Refusal {
    fn from(fault: GitFault) -> Self {
        let told = fault.to_string();
        match fault {
            GitFault::Store(fault) => fault.into(),
            GitFault::Full { .. } => Self::disk_full(&fault),
            GitFault::TooMany { .. } | GitFault::TooManyOf { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "too_many_repositories",
                "There is no room for another repository",
                told,
            ),
            GitFault::TooManyFetches { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "too_many_fetches", "The server is busy", told)
            }
            GitFault::UnknownRepository(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_repository",
                "There is no such repository",
                format!("{told}: add it with `executor repo add`, or name one of `executor repo list`"),
            ),
            GitFault::UnknownRevision { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_revision",
                "There is no such revision",
                format!("{told}: name a branch, a tag or a commit that its source has"),
            ),
            GitFault::Unreachable { ref cause, .. } if matches!(**cause, GitFault::Forbidden { .. }) => {
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "forbidden_source",
                    "The repository's source must not be connected to",
                    told,
                )
            }
            GitFault::Unreachable { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "source_unreachable",
                "The repository's source can't be fetched",
                format!("{told}. Check that the server's user can read it: git ls-remote SOURCE"),
            ),
            GitFault::Io(_)
            | GitFault::Refused { .. }
            | GitFault::TooSlow { .. }
            | GitFault::TooLarge { .. }
            | GitFault::HeadWithheld { .. }
            | GitFault::Forbidden { .. } => Self::internal(&fault),
        }
    }
}

impl From<FileFault> for Refusal {
    fn from(fault: FileFault) -> Self {
        let fault = match fault {
            FileFault::Store(fault @ (StoreError::Objects(_) | StoreError::Full(_))) => return fault.into(),
            FileFault::Store(fault) if fault.passes() => return fault.into(),
            FileFault::BelowFloor(below) => return below.into(),
            fault => fault,
        };
        let (status, code) = match &fault {
            FileFault::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "file_too_large"),
            FileFault::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
            FileFault::Broken => (StatusCode::BAD_REQUEST, "body_broken"),
            FileFault::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads"),
            FileFault::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "files_full"),
            FileFault::Io(disk) if disk.kind() == ErrorKind::StorageFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
            }
            FileFault::Io(_) | FileFault::Store(_) | FileFault::BelowFloor(_) => {
                return Self::internal(&fault);
            }
        };
        Self::new(status, code, "The file can't be taken", fault.to_string())
    }
}

impl From<BelowFloor> for Refusal {
    fn from(below: BelowFloor) -> Self {
        Self::disk_full(&below)
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        let code = match fault {
            BodyFault::TooLarge { .. } => "body_too_large",
            BodyFault::TooSlow { .. } => "body_too_slow",
            BodyFault::Broken => "body_broken",
            BodyFault::Busy => "too_many_large_requests",
        };
        Self::new(fault.status(), code, "The request body can't be taken", fault.to_string())
    }
}

impl From<PasswordFault> for Refusal {
    fn from(fault: PasswordFault) -> Self {
        match fault {
            PasswordFault::Busy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "too_many_passwords", "The server is busy", fault.to_string())
            }
            PasswordFault::Hash(_) => Self::internal(&fault),
        }
    }
}

impl From<JoinError> for Refusal {
    fn from(fault: JoinError) -> Self {
        Self::internal(&fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use http::header::RETRY_AFTER;

    #[test]
    fn a_database_that_does_not_answer_is_no_fault_of_the_server_and_worth_another_try() {
        let response = Refusal::from(StoreError::Away("it stands still".into())).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        let response = Refusal::from(FileFault::Store(StoreError::Away("it stands still".into())));
        assert_eq!(response.into_problem().code, "database_away");
    }

    #[test]
    fn busy_is_told_of_load_alone() {
        for (fault, code) in [
            (StoreError::Busy, "busy"),
            (StoreError::ClockSet, "clock_set"),
            (StoreError::NewerSpec(jobs::JobId(7)), "newer_server"),
        ] {
            let problem = Refusal::from(fault).into_problem();
            assert_eq!((problem.status, problem.code.as_str()), (503, code));
        }
        let problem = Refusal::from(FileFault::Store(StoreError::Busy)).into_problem();
        assert_eq!((problem.status, problem.code.as_str()), (503, "busy"));
    }

    #[test]
    fn who_has_too_much_of_a_queue_or_of_lanes_may_try_again() {
        let namespace = || jobs::Namespace::Organisation("acme".to_owned());
        let (of, queue) = (Countable::Lanes, || "batches".to_owned());
        for (refused, expect) in [
            (StoreError::TooMany { of, limit: 2 }, "too_many_lanes"),
            (StoreError::TooManyOf { of, namespace: namespace(), limit: 1, total: 2 }, "too_many_lanes"),
            (StoreError::TooManyShared { of, limit: 1, total: 2 }, "too_many_lanes"),
            (StoreError::QueueFull { queue: queue(), limit: 2 }, "queue_full"),
            (
                StoreError::QueuePortion { queue: queue(), namespace: namespace(), limit: 1, total: 2 },
                "queue_full",
            ),
            (StoreError::QueueReserved { queue: queue(), limit: 1, total: 2 }, "queue_full"),
            (StoreError::TooMany { of: Countable::Tokens, limit: 2 }, "too_many_tokens"),
        ] {
            let problem = Refusal::from(refused).into_problem();
            let status = if expect == "too_many_tokens" { 507 } else { 503 };
            assert_eq!((problem.status, problem.code.as_str()), (status, expect));
        }
    }

    #[test]
    fn a_file_that_the_database_has_no_room_for_meets_a_full_disk() {
        let problem = Refusal::from(FileFault::Store(StoreError::Full("no room".into()))).into_problem();
        assert_eq!((problem.status, problem.code.as_str()), (507, "disk_full"));
    }
}
