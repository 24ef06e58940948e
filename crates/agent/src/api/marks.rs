//! Saying how a job ended. Repeating such a call is safe: the second finds the job ended.

use super::{Api, ApiError, CALL_TIMEOUT, JobAuth};
use http::Method;
use serde::{Deserialize, Serialize};
use wire::additions::EndDetail;
use wire::paths::QueueCall;
use wire::{Mark, MarkWithError};

/// Which final call to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub(crate) enum Final {
    Complete,
    /// It went wrong in a way that may be tried again.
    Errored {
        message: String,
        end: EndDetail,
    },
    /// It is over for good.
    Failed {
        message: String,
        end: EndDetail,
    },
}

impl Api {
    /// Makes the final call once.
    pub(crate) async fn mark(&self, job: &JobAuth, last: &Final) -> Result<(), ApiError> {
        let executor_name = self.config().name.clone();
        let job_id = job.id;
        let with_error = |message: &String, end: &EndDetail| MarkWithError {
            executor_name: executor_name.clone(),
            job_id,
            error_message: message.clone(),
            end: Some(end.clone()),
        };
        let post = |call: QueueCall| self.as_job(Method::POST, &call.path(&job.queue), job);
        match last {
            Final::Complete => {
                let body = Mark { executor_name, job_id };
                self.call(QueueCall::MarkComplete, post(QueueCall::MarkComplete), &body, CALL_TIMEOUT).await
            }
            Final::Errored { message, end } => {
                self.call(
                    QueueCall::MarkErrored,
                    post(QueueCall::MarkErrored),
                    &with_error(message, end),
                    CALL_TIMEOUT,
                )
                .await
            }
            Final::Failed { message, end } => {
                self.call(
                    QueueCall::MarkFailed,
                    post(QueueCall::MarkFailed),
                    &with_error(message, end),
                    CALL_TIMEOUT,
                )
                .await
            }
        }
        .map(drop)
    }
}
