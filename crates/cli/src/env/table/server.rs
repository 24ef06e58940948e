//! What the control plane reads.

use crate::env::variable::{Kind, Reader, Variable, documented, ours};

pub(super) const ROWS: &[Variable] = &[
    ours(
        "EXECUTOR_SERVER_SECRET_KEYS",
        Kind::Text,
        "",
        "What the control plane seals secrets with, in place of a file: ID:KEY, separated by commas, the first for new secrets; KEY as `openssl rand -hex 32` makes one.",
    )
    .secret()
    .read_by(Reader::Server),
    ours(
        "EXECUTOR_SERVER_S3_CREDENTIALS",
        Kind::Text,
        "",
        "Who the control plane is where the object store of its site configuration is, in place of a file: ACCESS_KEY_ID:SECRET_ACCESS_KEY.",
    )
    .secret()
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_ENVIRONMENT_LABEL",
        Kind::Text,
        "dev",
        "The dimension or label `environment` of queue sizes that are told to a cloud: as the Terraform modules have it in metrics_environment_label.",
    )
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_AWS_NAMESPACE",
        Kind::Text,
        "sourcegraph-executor",
        "The namespace of queue sizes in Amazon CloudWatch. Queue sizes are told there where this or the region is set.",
    )
    .read_by(Reader::Server),
    documented("EXECUTOR_METRIC_AWS_REGION", Kind::Text, "", "The region of Amazon CloudWatch.")
        .read_by(Reader::Server),
    documented("EXECUTOR_METRIC_AWS_ACCESS_KEY_ID", Kind::Text, "", "Who may put metrics into Amazon CloudWatch.")
        .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_AWS_SECRET_ACCESS_KEY",
        Kind::Text,
        "",
        "What proves that to Amazon CloudWatch.",
    )
    .secret()
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_AWS_SESSION_TOKEN",
        Kind::Text,
        "",
        "What goes with an access key that ends by itself.",
    )
    .secret()
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_GCP_PROJECT_ID",
        Kind::Text,
        "",
        "The project that queue sizes are told in Google Cloud Monitoring (Stackdriver). Unset, they are not told there.",
    )
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE",
        Kind::Text,
        "",
        "A file with the key of a service account that may write metrics. Unset, and without the content, the machine's own account is asked for.",
    )
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE_CONTENT",
        Kind::Text,
        "",
        "The content of such a file.",
    )
    .secret()
    .read_by(Reader::Server),
    documented(
        "EXECUTOR_ALLOCATIONS",
        Kind::Json,
        "",
        "Which share of a queue's jobs is told to which cloud: {\"batches\": {\"aws\": 0.5, \"gcp\": 0.5}}. Unset, each is told of all.",
    )
    .read_by(Reader::Server),
];
