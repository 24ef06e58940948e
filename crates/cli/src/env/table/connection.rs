//! Where the agent finds its control plane, and which jobs it takes.

use crate::env::variable::{Kind, Reader, Variable, documented, ours};

pub(super) const ROWS: &[Variable] = &[
    documented(
        "EXECUTOR_FRONTEND_URL",
        Kind::Text,
        "",
        "Base URL of the control plane, scheme://host[:port][/path].",
    )
    .required()
    .read_by(Reader::Run),
    documented(
        "EXECUTOR_FRONTEND_PASSWORD",
        Kind::Text,
        "",
        "The shared secret: the control plane's executors.accessToken. It may be left out where EXECUTOR_REGISTRATION_TOKEN is set.",
    )
    .required()
    .secret()
    .read_by(Reader::Run),
    ours(
        "EXECUTOR_REGISTRATION_TOKEN",
        Kind::Text,
        "",
        "What a control plane of this project gives the agent an identity of its own for, once, in place of the shared secret; executor agent invite create makes one. The identity is kept in the agent's state directory; the token is not needed again, and may stay set.",
    )
    .secret()
    .read_by(Reader::Run),
    documented(
        "EXECUTOR_QUEUE_NAME",
        Kind::Text,
        "",
        "The one queue to take jobs from: batches or codeintel. Exactly one of this and EXECUTOR_QUEUE_NAMES must be set.",
    )
    .read_by(Reader::Run),
    documented(
        "EXECUTOR_QUEUE_NAMES",
        Kind::List,
        "",
        "Several queues to take jobs from, separated by commas without blanks.",
    )
    .read_by(Reader::Run),
    documented(
        "EXECUTOR_QUEUE_POLL_INTERVAL",
        Kind::Duration,
        "1s",
        "Pause after a dequeue that found nothing, where the control plane does not hold such requests itself.",
    ),
];
