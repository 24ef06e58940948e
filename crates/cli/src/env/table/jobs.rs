//! How many jobs, for how long, and what is told of them.

use crate::env::RuntimeName::{Docker, Oci};
use crate::env::variable::{Effect, Kind, Variable, documented, ours};

pub(super) const ROWS: &[Variable] = &[
    documented(
        "EXECUTOR_MAXIMUM_NUM_JOBS",
        Kind::Int,
        "1",
        "How many jobs run at the same time, at least 1.",
    )
    .unit("jobs"),
    documented(
        "EXECUTOR_MAXIMUM_RUNTIME_PER_JOB",
        Kind::Duration,
        "30m",
        "How long a job may run; 0 means without limit.",
    ),
    documented("EXECUTOR_NUM_TOTAL_JOBS", Kind::Int, "0", "Stop after this many jobs; 0 means never.")
        .unit("jobs"),
    documented(
        "EXECUTOR_MAX_ACTIVE_TIME",
        Kind::Duration,
        "0",
        "Take no more jobs after this long, finish those that run, and stop; 0 means never.",
    ),
    ours(
        "EXECUTOR_LABELS",
        Kind::Text,
        "",
        "What else jobs can ask for that is here, such as gpu,zone=b: labels with commas between them, which a control plane of this program's is told. A job that needs a label runs only where it is.",
    ),
    ours(
        "EXECUTOR_DISK_FLOOR",
        Kind::DiskSize,
        "",
        "Take no job while less is free on a disk that jobs fill, such as that of EXECUTOR_DATA_DIR, nor while it can hold few more files (a twentieth of all it can hold, 100,000 at most); 0 means never to look.",
    )
    .unit("bytes")
    .derived("a twentieth of the disk, from 1G to 20G, never more than a tenth", |_| String::new()),
    ours(
        "EXECUTOR_IMAGE_KEEP",
        Kind::Duration,
        "168h",
        "Remove images that were pulled and not used for this long, and sooner, the least recently used first, while less than twice EXECUTOR_DISK_FLOOR is free; what was imported stays. 0 means to keep all.",
    )
    .effect(Effect::With(&[Oci])),
    documented(
        "EXECUTOR_CLEANUP_TASK_INTERVAL",
        Kind::Duration,
        "1m",
        "Pause between two searches for what dead agents left.",
    )
    .effect(Effect::Nothing(
        "a dead agent's guardian removes it at once, and the next start removes the rest",
    )),
    ours(
        "EXECUTOR_JOB_SUPERVISORS",
        Kind::Bool,
        "true",
        "Run each job under a supervisor, a process of its own that outlives the agent: jobs go on while the agent is killed, restarted or upgraded.",
    ),
    ours(
        "EXECUTOR_STEP_STARTUP_SCRIPT_PATH",
        Kind::Text,
        "",
        "A script of this host that each step runs in its container before its commands: by the same shell, as the same user, with the same variables. Where it fails the step does. At most 1 MiB, and not to be written by everybody.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    documented(
        "EXECUTOR_KEEP_WORKSPACES",
        Kind::Bool,
        "false",
        "Keep each job's workspace on disk after the job, for debugging.",
    ),
    documented(
        "EXECUTOR_ENABLE_JOB_AUDIT_LOGGING",
        Kind::Bool,
        "false",
        "Write each job that is taken, redacted, to the agent's own log, at the level warn.",
    ),
    ours(
        "EXECUTOR_JOB_AUDIT_FILE",
        Kind::Text,
        "",
        "Add a line of JSON to this file for each job that begins and for each that ended, without secrets. Beyond 64 MiB its predecessor is FILE.1.",
    ),
    documented(
        "NODE_EXPORTER_URL",
        Kind::Text,
        "",
        "Base URL of a node exporter, without /metrics; its metrics travel with heartbeats.",
    ),
    documented(
        "DOCKER_REGISTRY_NODE_EXPORTER_URL",
        Kind::Text,
        "",
        "Base URL of the exporter proxy on the registry's machine; its metrics travel with heartbeats.",
    ),
    documented(
        "EXECUTOR_HEALTH_SERVER_ADDR",
        Kind::Text,
        "",
        "Address to answer questions about health on, and to tell metrics, HOST:PORT or :PORT: /healthz, /readyz, /metrics. Unset, nobody is answered.",
    ),
];
