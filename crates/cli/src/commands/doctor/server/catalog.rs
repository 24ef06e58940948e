//! What is looked at of a control plane: see [`crate::commands::doctor::catalog`].

use crate::commands::doctor::catalog::{Check, check};
use crate::commands::doctor::finding::Severity::{Fatal, Info, Ok, Warning};

/// By `executor server doctor` alone.
pub(in crate::commands::doctor) const CHECKS: &[Check] = &[
    check(
        "server.environment",
        &[Ok, Fatal],
        "Every variable that a server reads has a value that it can use.",
    ),
    check(
        "server.data-dir",
        &[Ok, Info, Warning, Fatal],
        "The data directory can be written to, belongs to the user who looks, and is nobody else's to look into.",
    ),
    check("server.disk", &[Ok, Warning, Fatal], "A tenth of its disk is free, and 256 MiB at least."),
    check(
        "server.file-system",
        &[Warning],
        "It is on a disk of this host: not on a network's file system, in memory, or in a container's own layer.",
    ),
    check(
        "server.fsync",
        &[Ok, Info, Warning],
        "A write of 4 KiB is on the disk within 20 ms, at the median: each commit waits for one.",
    ),
    check(
        "server.database",
        &[Ok, Info, Fatal],
        "The database answers, its version, and whether its schema is this version's, older, or one that this version does \
         not know.",
    ),
    check("server.clock", &[Ok, Warning], "PostgreSQL's clock and this host's differ by less than 10 s."),
    check(
        "server.site-config",
        &[Ok, Info, Warning, Fatal],
        "The site configuration can be used, holds no key without effect, has a shared secret, and is its user's alone.",
    ),
    check(
        "server.old-secret",
        &[Ok, Warning],
        "No shared secret before the present one is good, as `executors.accessTokenPrevious` lets it be.",
    ),
    check(
        "server.results",
        &[Ok, Warning],
        "With PostgreSQL, which several servers may share: logs and files of jobs go where all of them find them.",
    ),
    check(
        "server.keys",
        &[Ok, Info, Warning, Fatal],
        "The keys that secrets are sealed with can be read, and by their user alone; all are there that the database's \
         secrets need, which is tried; tells to keep a copy.",
    ),
    check("server.api-token", &[Ok, Warning, Fatal], "The file `api-token` is its user's alone."),
    check(
        "server.tls",
        &[Ok, Warning, Fatal],
        "The certificate of `--tls-cert` can be read, belongs to the key, and is valid for two weeks more; which names it is \
         for; the key is its user's alone.",
    ),
    check(
        "server.listen",
        &[Ok, Info, Warning],
        "Where it listens can be reached from this host alone, or by TLS; tells where tokens go in plain text.",
    ),
    check("server.git", &[Ok, Fatal], "git is there, and is 2.26 or later."),
    check(
        "server.running",
        &[Ok, Info, Warning, Fatal],
        "Whether a server with this data directory answers, and is of this program's version.",
    ),
    check(
        "server.executors",
        &[Ok, Info],
        "None of the executors that were heard of just now says that it is of another version than the server.",
    ),
    check("server.queues", &[Ok, Info, Warning], "Each queue in which jobs wait is served by an executor."),
];
