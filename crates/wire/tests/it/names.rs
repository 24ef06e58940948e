//! Paths and headers, as peers know them.

use wire::paths::{self, QueueCall};
use wire::{additions, headers, heartbeat, upload};

#[test]
fn paths_are_what_peers_ask_for() {
    for (ours, theirs) in [
        (paths::TEST_AUTH.to_owned(), "/.executors/test/auth"),
        (paths::MULTI_DEQUEUE.to_owned(), "/.executors/queue/dequeue"),
        (paths::MULTI_HEARTBEAT.to_owned(), "/.executors/queue/heartbeat"),
        (paths::GIT.to_owned(), "/.executors/git"),
        (paths::FILES.to_owned(), "/.executors/files"),
        (paths::LSIF_UPLOAD.to_owned(), "/.executors/lsif/upload"),
        (paths::SCIP_UPLOAD.to_owned(), "/.executors/scip/upload"),
        (paths::SRC_CLI_VERSION.to_owned(), "/.api/src-cli/version"),
        (QueueCall::Dequeue.path("batches"), "/.executors/queue/batches/dequeue"),
        (QueueCall::Heartbeat.path("batches"), "/.executors/queue/batches/heartbeat"),
        (QueueCall::AddLogEntry.path("codeintel"), "/.executors/queue/codeintel/addExecutionLogEntry"),
        (QueueCall::UpdateLogEntry.path("codeintel"), "/.executors/queue/codeintel/updateExecutionLogEntry"),
        (QueueCall::AppendLog.path("codeintel"), "/.executors/queue/codeintel/appendExecutionLog"),
        (QueueCall::MarkComplete.path("batches"), "/.executors/queue/batches/markComplete"),
        (QueueCall::MarkErrored.path("batches"), "/.executors/queue/batches/markErrored"),
        (QueueCall::MarkFailed.path("batches"), "/.executors/queue/batches/markFailed"),
    ] {
        assert_eq!(ours, theirs);
    }
    assert_eq!(paths::QUEUES, ["batches", "codeintel"]);
}

#[test]
fn headers_and_constants_are_what_peers_send() {
    for (ours, theirs) in [
        (headers::JOB_ID, "X-Sourcegraph-Job-ID"),
        (headers::EXECUTOR_NAME, "X-Sourcegraph-Executor-Name"),
        (headers::ACTOR_UID, "X-Sourcegraph-Actor-UID"),
        (headers::ACTOR_INTERNAL, "internal"),
        (headers::UNCOMPRESSED_SIZE, "X-Uncompressed-Size"),
        (upload::LSIF, "application/x-ndjson+lsif"),
        (upload::SCIP, "application/x-protobuf+scip"),
        (&*headers::Credentials::Shared("s").to_header(), "token-executor s"),
        (&*headers::Credentials::Job("s").to_header(), "Bearer s"),
        (heartbeat::VERSION, "V2"),
        (additions::CAPABILITIES, "Executors-Capabilities"),
        (additions::LOG_APPEND, "log-append"),
        (additions::PREFER, "Prefer"),
        (additions::TERM_PREFERENCE, "lease-term"),
        (additions::PREFERENCE_APPLIED, "Preference-Applied"),
    ] {
        assert_eq!(ours, theirs);
    }
}
