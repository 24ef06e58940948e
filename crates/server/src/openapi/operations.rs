//! What is said of each route. A test holds this together with the route table.

mod of_jobs;

use super::operation::{Content, Operation, query};
use crate::api::{
    ActView, AddRepository, ArtifactView, ChangeExecutor, ChangeQueue, CreateRegistration, CreateToken,
    CreateUser, CreatedRegistration, CreatedToken, ExecutorView, FileView, IdentityView, Page, QueueView,
    RESULT_ELSEWHERE, RegistrationView, RepositoryView, SecretAccessView, SecretView, SetPassword, SetSecret,
    TokenView, UploadView, UserView, VersionView, WhoamiView,
};
use jiff::Timestamp;
use jobs::Namespace;
use jobs::secrets::Scope;
use serde_json::Value;

/// Media types other than JSON.
const TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

/// A job was submitted to a newer server, and can't even be shown by this one.
const NEWER: (u16, &str) = (503, "newer_server");

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let groups = [
        of_jobs::all(),
        files(),
        repositories(),
        queues(),
        executors(),
        people(),
        secrets(),
        results(),
        users(),
        watching(),
    ];
    groups.into_iter().flatten().collect()
}

fn get(path: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new("GET", path, tag, summary)
}

fn files() -> Vec<Operation> {
    let mut upload = Operation::new("POST", "/api/v1/files", "files", "Uploads a file that jobs may name")
        .with(query::<String>("name", "What it is called.").required())
        .with(query::<Timestamp>("modifiedAt", "When it was last changed."))
        .gives::<FileView>(201, "The file: it is on disk when this answers.")
        .problems(&[
            (400, "body_broken"),
            (408, "body_too_slow"),
            (413, "file_too_large"),
            (415, "encoded_file"),
            (503, "too_many_uploads"),
            (507, "disk_full"),
            (507, "files_full"),
        ]);
    upload.body = Content::Other(BYTES);
    vec![upload]
}

fn repositories() -> Vec<Operation> {
    const TAG: &str = "repositories";
    const PATH: &str = "/api/v1/repositories";
    let namespace = || query::<Namespace>("namespace", "Whose; the caller's unless said.");
    vec![
        get(PATH, TAG, "Lists the repositories")
            .limit_and_cursor::<String>()
            .gives::<Page<RepositoryView>>(200, "A page of them."),
        Operation::new("POST", PATH, TAG, "Adds a repository")
            .takes::<AddRepository>()
            .gives::<RepositoryView>(201, "The repository.")
            .problems(&[
                (409, "repository_exists"),
                (422, "forbidden_source"),
                (422, "invalid_repository"),
                (422, "source_unreachable"),
                (503, "too_many_fetches"),
                (507, "too_many_repositories"),
            ]),
        Operation::new(
            "DELETE",
            "/api/v1/repositories/{*name}",
            TAG,
            "Forgets a repository and removes its mirror",
        )
        .with(namespace())
        .answers(204, "It is gone.", Content::Nothing)
        .problem(404, "unknown_repository"),
    ]
}

fn queues() -> Vec<Operation> {
    const TAG: &str = "queues";
    const ONE: &str = "/api/v1/queues/{name}";
    vec![
        get("/api/v1/queues", TAG, "Lists the queues")
            .gives::<Vec<QueueView>>(200, "All of them.")
            .problem(503, "too_many_reads"),
        get(ONE, TAG, "Shows a queue")
            .gives::<QueueView>(200, "The queue.")
            .problems(&[(404, "unknown_queue"), (503, "too_many_reads")]),
        Operation::new("PATCH", ONE, TAG, "Says how a queue's jobs are given out")
            .takes::<ChangeQueue>()
            .gives::<QueueView>(200, "The queue.")
            .problems(&[(404, "unknown_queue"), (422, "invalid_queue_change")]),
    ]
}

fn executors() -> Vec<Operation> {
    const TAG: &str = "executors";
    vec![
        get("/api/v1/executors", TAG, "Lists executors by name")
            .with(query::<bool>("active", "Only those that were heard of lately, or, where it is false, that were not."))
            .with(query::<String>(
                "text",
                "Only those that have it in their name, queues, version, platform, isolation or labels; upper or lower case.",
            ))
            .limit_and_cursor::<String>()
            .gives::<Page<ExecutorView>>(200, "A page of them."),
        Operation::new("PATCH", "/api/v1/executors/{name}", TAG, "Says whether an executor is given jobs")
            .takes::<ChangeExecutor>()
            .gives::<ExecutorView>(200, "The executor.")
            .problems(&[(404, "unknown_executor"), (422, "invalid_executor_change")]),
    ]
}

fn people() -> Vec<Operation> {
    const TAG: &str = "access";
    const TOKENS: &str = "/api/v1/tokens";
    const REGISTRATIONS: &str = "/api/v1/registration-tokens";
    let invalid = [(422, "invalid_token"), (507, "too_many_tokens")];
    let delete = |path, summary, unknown| {
        Operation::new("DELETE", path, TAG, summary)
            .answers(204, "It is good for nothing any more.", Content::Nothing)
            .problem(404, unknown)
    };
    vec![
        get("/api/v1/whoami", TAG, "Tells whose the token is").gives::<WhoamiView>(200, "Whose it is."),
        get(TOKENS, TAG, "Lists tokens of this API")
            .limit_and_cursor::<String>()
            .gives::<Page<TokenView>>(200, "A page of them."),
        Operation::new("POST", TOKENS, TAG, "Makes a token of this API")
            .takes::<CreateToken>()
            .gives::<CreatedToken>(201, "The token: nobody is told it again.")
            .problem(409, "token_exists")
            .problems(&invalid),
        delete("/api/v1/tokens/{id}", "Revokes a token of this API", "unknown_token"),
        get(REGISTRATIONS, TAG, "Lists registration tokens").limit_and_cursor::<String>().gives::<Page<
            RegistrationView,
        >>(
            200,
            "A page of them.",
        ),
        Operation::new("POST", REGISTRATIONS, TAG, "Makes a registration token for agents")
            .takes::<CreateRegistration>()
            .gives::<CreatedRegistration>(201, "The token: nobody is told it again.")
            .problems(&invalid),
        delete("/api/v1/registration-tokens/{id}", "Revokes a registration token", "unknown_token"),
        get("/api/v1/identities", TAG, "Lists agents that have an identity of their own")
            .limit_and_cursor::<String>()
            .gives::<Page<IdentityView>>(200, "A page of them."),
        delete("/api/v1/identities/{name}", "Revokes an agent's identity", "unknown_identity"),
        get("/api/v1/audit", TAG, "Lists who did what, newest first")
            .with(query::<String>("action", "Only acts of this kind."))
            .with(query::<bool>(
                "reads",
                "`false` leaves out what jobs were given of secrets, `secret.read`.",
            ))
            .with(query::<Namespace>(
                "namespace",
                "Only what was done to things of this namespace, and by its jobs.",
            ))
            .limit_and_cursor::<String>()
            .gives::<Page<ActView>>(200, "A page of acts."),
    ]
}

fn secrets() -> Vec<Operation> {
    const TAG: &str = "secrets";
    const PATH: &str = "/api/v1/secrets";
    const ONE: &str = "/api/v1/secrets/{id}";
    vec![
        get(PATH, TAG, "Lists secrets by key, without their values")
            .with(query::<Scope>("scope", "Only those for jobs of this queue."))
            .with(query::<Namespace>("namespace", "Those of this namespace, and the global ones."))
            .with(query::<String>("key", "Only the one with this key."))
            .limit_and_cursor::<String>()
            .gives::<Page<SecretView>>(200, "A page of secrets."),
        Operation::new("POST", PATH, TAG, "Keeps a secret")
            .takes::<SetSecret>()
            .problem(503, "too_many_large_requests")
            .gives::<SecretView>(201, "The secret, without its value.")
            .problems(&[(409, "secret_exists"), (422, "invalid_secret"), (507, "too_many_secrets")]),
        Operation::new("PUT", PATH, TAG, "Keeps a secret in place of the one that may be there")
            .takes::<SetSecret>()
            .problem(503, "too_many_large_requests")
            .gives::<SecretView>(200, "The secret, without its value: there was one.")
            .gives::<SecretView>(201, "The secret, without its value: there was none.")
            .problems(&[(422, "invalid_secret"), (507, "too_many_secrets")]),
        get(ONE, TAG, "Shows a secret, without its value")
            .gives::<SecretView>(200, "The secret.")
            .problem(404, "unknown_secret"),
        Operation::new("DELETE", ONE, TAG, "Forgets a secret")
            .answers(204, "It is gone.", Content::Nothing)
            .problem(404, "unknown_secret"),
        get("/api/v1/secrets/{id}/access", TAG, "Lists which jobs a secret was handed to, the latest first")
            .limit_and_cursor::<i64>()
            .gives::<Page<SecretAccessView>>(200, "A page of accesses; also after the secret is gone.")
            .problem(404, "unknown_secret"),
    ]
}

/// How it is told that what a job left can't be read.
const UNREADABLE: [(u16, &str); 3] =
    [(404, "result_gone"), (503, "object_store_failed"), (503, RESULT_ELSEWHERE)];

fn results() -> Vec<Operation> {
    const TAG: &str = "results";
    let attempt = || query::<u32>("attempt", "Which try; the latest that left some unless said.");
    vec![
        get("/api/v1/jobs/{id}/artifacts", TAG, "Lists the files that a job left")
            .with(attempt())
            .gives::<Vec<ArtifactView>>(200, "The files, without their content.")
            .problems(&[(404, "unknown_job"), (503, "too_many_reads")]),
        get("/api/v1/jobs/{id}/artifacts/{*file}", TAG, "Reads a file that a job left, named NAME/PATH")
            .with(attempt())
            .answers(200, "Its bytes.", Content::Other(BYTES))
            .problems(&[(404, "unknown_job"), (404, "unknown_artifact")])
            .problems(&UNREADABLE),
        get("/api/v1/uploads", TAG, "Lists code indexes that jobs uploaded, newest first")
            .with(query::<Namespace>("namespace", "Only those of this namespace."))
            .with(query::<String>("repository", "Only those of this repository."))
            .with(query::<i64>("job", "Only those that say that they came of this job."))
            .limit_and_cursor::<i64>()
            .gives::<Page<UploadView>>(200, "A page of uploads."),
        get("/api/v1/uploads/{id}", TAG, "Shows an upload")
            .gives::<UploadView>(200, "The upload.")
            .problem(404, "unknown_upload"),
        get("/api/v1/uploads/{id}/content", TAG, "Reads an upload, compressed with gzip")
            .answers(200, "Its bytes.", Content::Other(BYTES))
            .problem(404, "unknown_upload")
            .problems(&UNREADABLE),
    ]
}

fn users() -> Vec<Operation> {
    const TAG: &str = "access";
    const PATH: &str = "/api/v1/users";
    vec![
        get(PATH, TAG, "Lists the people who can sign in to the pages")
            .limit_and_cursor::<String>()
            .gives::<Page<UserView>>(200, "A page of them."),
        Operation::new("POST", PATH, TAG, "Lets somebody sign in")
            .takes::<CreateUser>()
            .gives::<UserView>(201, "Who it is.")
            .problems(&[
                (409, "user_exists"),
                (422, "invalid_user"),
                (503, "too_many_passwords"),
                (507, "too_many_tokens"),
            ]),
        Operation::new(
            "DELETE",
            "/api/v1/users/{name}",
            TAG,
            "Lets somebody in no longer, and ends their sessions",
        )
        .answers(204, "They are gone.", Content::Nothing)
        .problem(404, "unknown_user"),
        Operation::new(
            "PUT",
            "/api/v1/users/{name}/password",
            TAG,
            "Sets somebody's password, and ends their sessions",
        )
        .takes::<SetPassword>()
        .gives::<UserView>(200, "Who it is.")
        .problems(&[(404, "unknown_user"), (422, "invalid_user"), (503, "too_many_passwords")]),
    ]
}

fn watching() -> Vec<Operation> {
    const TAG: &str = "server";
    vec![
        get("/api/v1/version", TAG, "Tells the server's version").gives::<VersionView>(200, "The version."),
        get("/api/v1/openapi.json", TAG, "Describes this API, as OpenAPI 3.1")
            .gives::<Value>(200, "This document."),
        get("/healthz", TAG, "Tells whether the server lives, for what starts it anew when it hangs")
            .open()
            .answers(200, "It takes work: `ok`.", Content::Other(TEXT))
            .answers(503, "It stops.", Content::Other(TEXT)),
        get("/readyz", TAG, "Tells whether requests can be served, for balancers")
            .open()
            .answers(200, "They can: `ok`.", Content::Other(TEXT))
            .answers(503, "They can't, and why.", Content::Other(TEXT)),
        get("/metrics", TAG, "Tells metrics in Prometheus' text format").answers(
            200,
            "All of them.",
            Content::Other(TEXT),
        ),
        get("/metrics/queues", TAG, "Tells how long the queues are, for what starts and stops executors")
            .with(query::<String>("format", "`prometheus`, unless it is `json`."))
            .answers(200, "The queues.", Content::JsonOr(TEXT))
            .problem(503, "queues_unknown"),
    ]
}
