//! `executor repo`.

use super::print;
use crate::args::RepoCommand;
use crate::client::{Client, with_query};
use crate::exit::{Failure, Outcome};
use jobs::Namespace;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{AddRepository, RepositoryView};
use std::path::Path;

pub(crate) async fn run(client: &Client, command: RepoCommand) -> Outcome {
    match command {
        RepoCommand::Add { name, source, namespace, json } => {
            let source = absolute(source)?;
            add(client, &AddRepository { name, namespace, source }, json).await
        }
        RepoCommand::List { json } => list(client, json).await,
        RepoCommand::Remove { name, namespace, json } => remove(client, &name, namespace, json).await,
    }
}

async fn add(client: &Client, request: &AddRepository, json: bool) -> Outcome {
    let added: Result<RepositoryView, _> = client.post_fetching("/api/v1/repositories", request).await;
    let added = added.map_err(|failure| about(request, &failure))?;
    print::tell(json, &added, &format!("added repository {} from {}", added.name, added.source))
}

/// The server repeats no source, since one may hold a password; here it can be told whether it does.
fn about(request: &AddRepository, failure: &Failure) -> Failure {
    let AddRepository { name, source, .. } = request;
    let source = if source.contains('@') { "its source" } else { source };
    Failure { message: format!("repository {name} from {source}: {}", failure.message), exit: failure.exit }
}

/// A path is told as the server will find it: whole. What is no path here is a URL, or a path on the
/// server's own host.
fn absolute(source: String) -> Result<String, Failure> {
    if source.contains("://") || !Path::new(&source).exists() {
        return Ok(source);
    }
    let path = std::fs::canonicalize(&source)
        .map_err(|fault| Failure::usage(format!("repository path {source:?} can't be resolved: {fault}")))?;
    let path = path.into_os_string().into_string();
    path.map_err(|path| Failure::usage(format!("path {} is not UTF-8: rename it", path.display())))
}

async fn list(client: &Client, json: bool) -> Outcome {
    let repositories: Vec<RepositoryView> = client.all("/api/v1/repositories").await?;
    let none = "no repositories yet: add one with `executor repo add NAME PATH-OR-URL`";
    print::list(json, &repositories, &["NAME", "NAMESPACE", "SOURCE", "ADDED"], none, |row| {
        vec![row.name.clone(), row.namespace.to_string(), row.source.clone(), print::ago(row.created_at)]
    })
}

async fn remove(client: &Client, name: &str, namespace: Option<Namespace>, json: bool) -> Outcome {
    let path = format!("/api/v1/repositories/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    let whose = [("namespace", namespace.map(|of| of.to_string()))];
    client.delete(&with_query(&path, whose)).await?;
    print::tell(json, &serde_json::json!({ "name": name }), &format!("removed repository {name}"))
}
