//! What isolates jobs.

use crate::env::RuntimeName::{Docker, Oci};
use crate::env::runtime_choice;
use crate::env::variable::{Effect, Kind, Variable, documented, ours};

pub(super) const ROWS: &[Variable] = &[
    ours(
        "EXECUTOR_RUNTIME",
        Kind::Text,
        "",
        "What isolates jobs: oci, docker, firecracker, kubernetes or shell. One that this version does not have is refused.",
    )
    .derived("what EXECUTOR_USE_FIRECRACKER and EXECUTOR_USE_KUBERNETES ask for, else oci", |_| String::new()),
    documented(
        "EXECUTOR_USE_FIRECRACKER",
        Kind::Bool,
        "",
        "Whether jobs run in virtual machines. Set to true, the agent refuses to start where it has none (this version never has); left to its default, jobs run under oci instead. EXECUTOR_RUNTIME has the last word.",
    )
    .derived("true on Linux outside Kubernetes, else false", |env| {
        (cfg!(target_os = "linux") && !runtime_choice::in_cluster(env)).to_string()
    }),
    documented(
        "EXECUTOR_USE_KUBERNETES",
        Kind::Bool,
        "",
        "Whether jobs run as Kubernetes jobs. Set to true, the agent refuses to start where it can't (this version never can); left to its default, jobs run under oci instead, with a warning. EXECUTOR_RUNTIME has the last word.",
    )
    .derived("true in a Kubernetes pod, else false", |env| runtime_choice::in_cluster(env).to_string()),
    ours(
        "EXECUTOR_OCI_RUNTIME",
        Kind::Text,
        "",
        "The OCI runtime to use, by name or path; else the first of crun, runc, youki and runsc on PATH. With the runtime docker, one that the engine knows by that name; else the engine's default.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    ours(
        "EXECUTOR_JOB_HOST_CERTIFICATES",
        Kind::Bool,
        "false",
        "Give every step the certificates that this executor trusts: a bundle at /etc/executor/certificates.pem, which SSL_CERT_FILE and its likes name.",
    )
    .effect(Effect::With(&[Oci, Docker])),
    ours(
        "EXECUTOR_USER_NAMESPACE",
        Kind::Bool,
        "",
        "Give each job users of its own: its root is then nobody on the host. Set to true, the agent refuses to start where that can't be; left to its default, it says so at start, and jobs run with the host's users.",
    )
    .derived("true where that can be, else false", |_| "true".to_owned())
    .effect(Effect::With(&[Oci])),
    ours(
        "EXECUTOR_OCI_NETWORK",
        Kind::Text,
        "auto",
        "What gives jobs a network, with which they reach the internet and nothing private of this host or its neighbours: slirp4netns, pasta, or none but a loopback; auto takes the first of them that is on PATH and works, and says so at start where none does. A program that is named and does not work keeps the agent from starting.",
    )
    .effect(Effect::With(&[Oci])),
    ours(
        "EXECUTOR_OCI_NETWORK_ALLOW",
        Kind::List,
        "",
        "What jobs may reach although it is private, such as mirrors: addresses and networks like 10.1.0.0/16, separated by commas. An address of this host's own must be named by itself; loopback, link-local, multicast and metadata services' addresses are refused.",
    )
    .effect(Effect::With(&[Oci])),
    ours(
        "EXECUTOR_STRICT",
        Kind::Bool,
        "false",
        "Refuse to start, rather than warn, when a limit can't be enforced on this host, or when a variable asks for what this version can't do.",
    ),
];
