//! Docker engines, registries and their credentials.

use crate::env::RuntimeName::{Docker, Oci};
use crate::env::variable::{Effect, Kind, Variable, documented, ours, system};

const GATEWAY: Effect = Effect::Missed {
    acts: &[Docker],
    by: &[Oci],
    remedy: "use EXECUTOR_RUNTIME=docker, or an address that a step can reach",
};

pub(super) const ROWS: &[Variable] = &[
    documented(
        "EXECUTOR_DOCKER_HOST_MOUNT_PATH",
        Kind::Text,
        "",
        "Where the parent directory of workspaces is on the Docker engine's host, if that is another.",
    )
    .effect(Effect::With(&[Docker])),
    documented(
        "EXECUTOR_DOCKER_REGISTRY_MIRROR_URL",
        Kind::List,
        "",
        "Registry mirrors, separated by commas; asked before Docker Hub, in this order.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    documented(
        "EXECUTOR_DOCKER_ADD_HOST_GATEWAY",
        Kind::Bool,
        "false",
        "Let containers reach their host as host.docker.internal.",
    )
    .effect(GATEWAY),
    documented(
        "EXECUTOR_DOCKER_AUTH_CONFIG",
        Kind::Json,
        "",
        "Registry credentials, {\"auths\": {\"HOST\": {\"auth\": \"BASE64 OF USER:PASSWORD\"}}}. A job's own credentials come first.",
    )
    .secret()
    .effect(Effect::With(&[Oci, Docker])),
    documented(
        "EXECUTOR_DOCKER_ADDITIONAL_MOUNTS",
        Kind::Text,
        "",
        "More mounts for every container, as `docker run --mount` takes them, separated by semicolons; with the runtime oci those of type bind and tmpfs.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    ours(
        "EXECUTOR_DOCKER_NETWORK",
        Kind::Text,
        "",
        "The engine's network that containers join: none, or the name of one; the engine's default unless set.",
    )
    .effect(Effect::With(&[Docker])),
    ours(
        "EXECUTOR_DOCKER_RIGHTS",
        Kind::Text,
        "few",
        "What processes in a container may do: few, the capabilities and system calls that the runtime oci grants; none, no capability at all; engine, what the engine grants by itself.",
    )
    .effect(Effect::With(&[Docker])),
    ours(
        "EXECUTOR_SRC_STEPS",
        Kind::Bool,
        "",
        "Run steps that are calls of `src batch exec` as programs on this host, by the src on PATH, as jobs of the queue batches need unless the instance's site configuration has batchChanges.nativeServerSideExecution. Their containers get the limits and rights of any step, and see nothing but the workspace. Else such jobs are refused, which is told at start where the control plane may send them, unless false is set in so many words.",
    )
    .derived("true where EXECUTOR_USE_FIRECRACKER=false has chosen docker and EXECUTOR_STRICT is not set, else false", |_| {
        "false".to_owned()
    })
    .effect(Effect::With(&[Docker])),
    ours(
        "EXECUTOR_DOCKER_SHARED_IMAGES",
        Kind::Bool,
        "false",
        "Let every job use every image that the engine has, also what a registry would not give it: for engines whose images their operator put there, and that can't ask a registry.",
    )
    .effect(Effect::With(&[Docker])),
    system(
        "DOCKER_CONFIG",
        "Directory of the executor's own Docker configuration, config.json, for jobs without other registry credentials; ~/.docker unless set.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    system(
        "DOCKER_HOST",
        "Where the Docker engine, or Podman's service, listens: unix:///path or tcp://host:port. Unless set, the first that answers of /var/run/docker.sock, /run/podman/podman.sock and podman/podman.sock below XDG_RUNTIME_DIR.",
    )
    .effect(Effect::With(&[Docker])),
    system(
        "XDG_RUNTIME_DIR",
        "The user's directory of sockets: an ordinary user's Podman service is looked for in it, and its systemd, which keeps control groups of jobs.",
    ),
];
