//! What the client reads.

use crate::env::variable::{Kind, Reader, Variable, ours};

pub(super) const ROWS: &[Variable] = &[
    ours(
        "EXECUTOR_SERVER_URL",
        Kind::Text,
        "",
        "URL of the control plane. Unset, the settings that `executor up` and `executor server` wrote for this user are used.",
    )
    .read_by(Reader::Client),
    ours("EXECUTOR_API_TOKEN", Kind::Text, "", "API token of the control plane.")
        .secret()
        .read_by(Reader::Client),
];
