//! Names that look like variables and never were: an early draft of the documentation has them, and
//! they still travel from note to note.

/// Each name, and what to do instead.
pub(crate) const NEVER: &[(&str, &str)] = &[
    ("EXECUTOR_MAX_NUM_JOBS", "set EXECUTOR_MAXIMUM_NUM_JOBS"),
    ("EXECUTOR_BACKEND", "set EXECUTOR_RUNTIME, or EXECUTOR_USE_FIRECRACKER"),
    ("EXECUTOR_KUBE_NAMESPACE", "set EXECUTOR_KUBERNETES_NAMESPACE"),
    ("EXECUTOR_FRONTEND_USERNAME", "unset it: EXECUTOR_FRONTEND_PASSWORD alone is the secret"),
    ("USE_FIRECRACKER", "set EXECUTOR_USE_FIRECRACKER"),
    ("KEEP_WORKSPACES", "set EXECUTOR_KEEP_WORKSPACES"),
];
