//! Jobs of a Kubernetes cluster. All of it is read and checked, and nothing acts in this version.

use crate::env::RuntimeName::Kubernetes;
use crate::env::variable::{Effect, Kind, Variable};

/// As everywhere, with no effect yet.
const fn documented(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Variable {
    crate::env::variable::documented(name, kind, default, doc).effect(Effect::NotYet(&[Kubernetes]))
}

const QUANTITY: &str = "Kubernetes quantity";

pub(super) const ROWS: &[Variable] = &[
    documented(
        "EXECUTOR_KUBERNETES_CONFIG_PATH",
        Kind::Text,
        "",
        "The kubeconfig; the pod's own account where it can't be read.",
    )
    .derived("$HOME/.kube/config", |env| {
        env.text("HOME").map_or_else(String::new, |home| format!("{home}/.kube/config"))
    }),
    documented("EXECUTOR_KUBERNETES_NODE_NAME", Kind::Text, "", "The node that every job runs on."),
    documented(
        "EXECUTOR_KUBERNETES_NODE_SELECTOR",
        Kind::List,
        "",
        "Labels that a job's node must have: key=value,key=value.",
    ),
    documented(
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS",
        Kind::Json,
        "",
        "Required node affinity: an array of node selector requirements on labels.",
    ),
    documented(
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS",
        Kind::Json,
        "",
        "Required node affinity: an array of node selector requirements on fields.",
    ),
    documented(
        "EXECUTOR_KUBERNETES_POD_AFFINITY",
        Kind::Json,
        "",
        "Required pod affinity: an array of pod affinity terms, each with a topologyKey.",
    ),
    documented(
        "EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY",
        Kind::Json,
        "",
        "Required pod anti-affinity: an array of pod affinity terms, each with a topologyKey.",
    ),
    documented("EXECUTOR_KUBERNETES_NODE_TOLERATIONS", Kind::Json, "", "An array of tolerations."),
    documented(
        "EXECUTOR_KUBERNETES_NAMESPACE",
        Kind::Text,
        "default",
        "The namespace of everything that jobs need.",
    )
    .required(),
    documented(
        "EXECUTOR_KUBERNETES_PERSISTENCE_VOLUME_NAME",
        Kind::Text,
        "sg-executor-pvc",
        "The volume claim that pods of the older mode, one per step, share.",
    )
    .required(),
    documented(
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_CPU",
        Kind::Text,
        "",
        "CPU limit of each container; empty or 0 means none.",
    )
    .unit(QUANTITY),
    documented(
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_MEMORY",
        Kind::Text,
        "12Gi",
        "Memory limit of each container; 0 means none.",
    )
    .required()
    .unit(QUANTITY),
    documented(
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_CPU",
        Kind::Text,
        "",
        "CPU that each container asks for; empty or 0 means none.",
    )
    .unit(QUANTITY),
    documented(
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_MEMORY",
        Kind::Text,
        "12Gi",
        "Memory that each container asks for; 0 means none.",
    )
    .required()
    .unit(QUANTITY),
    documented("KUBERNETES_JOB_DEADLINE", Kind::Int, "1200", "How long a job's pod may run.").unit("seconds"),
    documented("KUBERNETES_KEEP_JOBS", Kind::Bool, "false", "Delete nothing after a job, for debugging."),
    documented(
        "KUBERNETES_RUN_AS_USER",
        Kind::MaybeInt,
        "-1",
        "The user that pods run as; -1 or empty leaves it to the image.",
    )
    .unit("user id"),
    documented(
        "KUBERNETES_RUN_AS_GROUP",
        Kind::MaybeInt,
        "-1",
        "The group that pods run as; -1 or empty leaves it to the image.",
    )
    .unit("group id"),
    documented("KUBERNETES_FS_GROUP", Kind::Int, "1000", "The group that volumes of pods belong to.")
        .unit("group id"),
    documented("KUBERNETES_JOB_ANNOTATIONS", Kind::Json, "", "Annotations of jobs: an object of texts."),
    documented("KUBERNETES_JOB_POD_ANNOTATIONS", Kind::Json, "", "Annotations of pods: an object of texts."),
    documented(
        "KUBERNETES_IMAGE_PULL_SECRETS",
        Kind::List,
        "",
        "Names of secrets for pulling images, separated by commas without blanks.",
    ),
    documented(
        "KUBERNETES_IMAGE_PULL_POLICY",
        Kind::Text,
        "",
        "When images are pulled: Always, IfNotPresent or Never.",
    ),
    documented("KUBERNETES_JOB_HOST_NETWORK", Kind::Bool, "false", "Whether pods use their node's network."),
    documented(
        "KUBERNETES_SINGLE_JOB_POD",
        Kind::Bool,
        "false",
        "Whether a job is one pod rather than one for each step. Newer references know one pod only.",
    ),
    documented(
        "KUBERNETES_JOB_VOLUME_TYPE",
        Kind::Text,
        "emptyDir",
        "What the workspace of a job's one pod is kept on: emptyDir or pvc.",
    )
    .required(),
    documented("KUBERNETES_JOB_VOLUME_SIZE", Kind::Text, "5Gi", "How large that volume is.")
        .required()
        .unit(QUANTITY),
    documented(
        "KUBERNETES_ADDITIONAL_JOB_VOLUMES",
        Kind::Json,
        "",
        "More volumes of pods: an array of volumes.",
    ),
    documented(
        "KUBERNETES_ADDITIONAL_JOB_VOLUME_MOUNTS",
        Kind::Json,
        "",
        "Where every container mounts them: an array of volume mounts.",
    ),
    documented(
        "KUBERNETES_SINGLE_JOB_STEP_IMAGE",
        Kind::Text,
        "sourcegraph/batcheshelper:insiders",
        "Older name of KUBERNETES_JOB_STEP_IMAGE, which follows it.",
    )
    .required(),
    documented(
        "KUBERNETES_JOB_STEP_IMAGE",
        Kind::Text,
        "",
        "Image of the containers that fill and close the workspace.",
    )
    .required()
    .derived("the value of KUBERNETES_SINGLE_JOB_STEP_IMAGE", |env| {
        env.text("KUBERNETES_SINGLE_JOB_STEP_IMAGE").unwrap_or_default()
    }),
    documented(
        "KUBERNETES_GIT_CA_CERT",
        Kind::Text,
        "",
        "Path of a certificate that git trusts in the container that clones.",
    ),
    documented(
        "EXECUTOR_ADD_SAFE",
        Kind::Text,
        "",
        "Set to false in the steps of a job's one pod, for a program there; the agent itself never reads it.",
    )
    .effect(Effect::Nothing("it is for programs in steps")),
    documented(
        "KUBERNETES_SERVICE_HOST",
        Kind::Text,
        "",
        "With KUBERNETES_SERVICE_PORT, whatever the values: the agent runs in a Kubernetes pod.",
    )
    .effect(Effect::Always),
    documented("KUBERNETES_SERVICE_PORT", Kind::Text, "", "See KUBERNETES_SERVICE_HOST.")
        .effect(Effect::Always),
];
