//! `executor secret`.

use super::print;
use crate::args::{SecretArgs, SecretCommand, SecretSetArgs, WhoseArgs};
use crate::client::{Client, with_query};
use crate::exit::{Exit, Failure, Outcome};
use jiff::Timestamp;
use jobs::Namespace;
use jobs::secrets::{Scope, check_key};
use server::api::{ActView, Page, SecretAccessView, SecretView, SetSecret};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Bytes that are read of a value: one more than any may have, so that it is told to be too large.
const MAX_READ: u64 = jobs::secrets::MAX_VALUE_BYTES as u64 + 2;
/// Secrets that are asked for at one time.
const PAGE: u32 = 400;

pub(crate) async fn run(client: &Client, command: SecretCommand) -> Outcome {
    match command {
        SecretCommand::Set(args) => set(client, args).await,
        SecretCommand::List { whose, json } => list(client, &whose, json).await,
        SecretCommand::Show { which, json } => show(client, &which, json).await,
        SecretCommand::Delete { which, json } => delete(client, &which, json).await,
        SecretCommand::Log { which, limit, before, json } => log(client, &which, (limit, before), json).await,
    }
}

async fn set(client: &Client, args: SecretSetArgs) -> Outcome {
    let SecretSetArgs { key, file, whose: WhoseArgs { scope, namespace }, json } = args;
    if let Some((key, _)) = key.split_once('=') {
        return Err(Failure::usage(format!(
            "a secret's value may not be on the command line: say `executor secret set {key}` and write the value to its \
             standard input"
        )));
    }
    check_key(&key).map_err(Failure::usage)?;
    let value = match &file {
        Some(path) => of_file(path)?,
        None => of_standard_input()?,
    };
    let secret = SetSecret { scope: scope.unwrap_or_default(), namespace, key, value };
    let kept: SecretView = client.put("/api/v1/secrets", &secret).await?;
    let told = format!("{} is kept for {} jobs of {}", kept.key, kept.scope, of(&kept.namespace));
    print::tell(json, &kept, &told)
}

fn of(namespace: &Namespace) -> String {
    match namespace {
        Namespace::Global => "everybody".to_owned(),
        named => named.to_string(),
    }
}

/// A file is taken as it is: some are of no use without the end of their last line.
fn of_file(path: &Path) -> Result<String, Failure> {
    let told = format!("the value in {}", path.display());
    let file = std::fs::File::open(path);
    read(&told, file.map_err(|fault| Failure::usage(format!("{told} can't be read: {fault}")))?)
}

/// Of one line the end is left out, which `echo` and terminals put there.
fn of_standard_input() -> Result<String, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Failure::usage(
            "standard input is a terminal, which would show the value: write it there from a program or a file, as with \
             `< FILE`, or name a file with --file",
        ));
    }
    let value = read("the value on standard input", input.lock())?;
    Ok(without_end(value))
}

fn without_end(value: String) -> String {
    let line = value.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    match line {
        Some(line) if !line.contains('\n') => line.to_owned(),
        _ => value,
    }
}

fn read(told: &str, from: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_READ).read_to_end(&mut bytes);
    read.map_err(|fault| Failure::usage(format!("{told} can't be read: {fault}")))?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!(
            "{told} is not UTF-8 text: encode it, as base64 for instance, and decode it in the step"
        ))
    })
}

async fn list(client: &Client, whose: &WhoseArgs, json: bool) -> Outcome {
    let secrets = all(client, (whose.scope, whose.namespace.as_ref(), None)).await?;
    let none = "no secrets yet: keep one with `executor secret set KEY`";
    print::list(json, &secrets, &["KEY", "SCOPE", "NAMESPACE", "BY", "SET", ""], none, |secret| {
        let note = if secret.overwrites_global { "overwrites the global one" } else { "" };
        vec![
            secret.key.clone(),
            secret.scope.to_string(),
            secret.namespace.to_string(),
            secret.creator.clone(),
            print::ago(secret.updated_at),
            note.to_owned(),
        ]
    })
}

async fn show(client: &Client, which: &SecretArgs, json: bool) -> Outcome {
    let id = find(client, which).await?;
    let secret: SecretView = client.get(&format!("/api/v1/secrets/{id}")).await?;
    if json {
        print::json(&secret)?;
        return Ok(Exit::Success);
    }
    let mut facts = vec![
        ("secret", secret.key),
        ("id", secret.id),
        ("scope", secret.scope.to_string()),
        ("namespace", secret.namespace.to_string()),
        ("by", secret.creator),
        ("created", secret.created_at.to_string()),
        ("set", secret.updated_at.to_string()),
    ];
    facts.extend(secret.overwrites_global.then(|| ("note", "overwrites the global one".to_owned())));
    print::facts(facts)?;
    Ok(Exit::Success)
}

async fn delete(client: &Client, which: &SecretArgs, json: bool) -> Outcome {
    let id = find(client, which).await?;
    client.delete(&format!("/api/v1/secrets/{id}")).await?;
    let told = format!(
        "{} is kept no more; who was handed it stays known for 90 days: `executor secret log {id}`",
        which.key
    );
    print::tell(json, &serde_json::json!({ "id": id }), &told)
}

async fn log(
    client: &Client,
    which: &SecretArgs,
    (limit, before): (u32, Option<i64>),
    json: bool,
) -> Outcome {
    let (id, deleted) = match found(client, which).await? {
        Some(id) => (id, None),
        None => match deleted(client, which).await? {
            Some((id, at)) => (id, Some(at)),
            None => return Err(not_found(which)),
        },
    };
    let asked = [("limit", Some(limit.to_string())), ("cursor", before.map(|id| id.to_string()))];
    let path = with_query(&format!("/api/v1/secrets/{id}/access"), asked);
    let page: Page<SecretAccessView> = client.get(&path).await.map_err(|fault| match deleted {
        Some(at) if fault.exit == Exit::Usage => forgotten(&which.key, at),
        _ => fault,
    })?;
    if let Some(at) = deleted.filter(|_| !json) {
        print::line(&format!("{} was deleted {}; it had been handed to:", which.key, print::ago(at)))?;
    }
    let head = ["WHEN", "JOB", "TRY", "OF", "EXECUTOR"];
    print::page(json, &page, &head, "no job was given it", |access| {
        vec![
            print::ago(access.at),
            access.job.to_string(),
            access.attempt.to_string(),
            access.owner.to_string(),
            access.executor.clone(),
        ]
    })
}

/// Of a secret that is gone, nothing is known where nothing was noted.
fn forgotten(key: &str, deleted_at: Timestamp) -> Failure {
    Failure::usage(format!(
        "{key} was deleted {}, and of no job is it known any more that it was handed it",
        print::ago(deleted_at)
    ))
}

/// The id of a secret.
async fn find(client: &Client, which: &SecretArgs) -> Result<String, Failure> {
    found(client, which).await?.ok_or_else(|| not_found(which))
}

fn not_found(SecretArgs { key, whose }: &SecretArgs) -> Failure {
    let scope = whose.scope.unwrap_or_default();
    Failure::usage(format!(
        "there is no secret {key} for {scope} jobs: `executor secret list` tells which there are"
    ))
}

/// The id of the last secret that was deleted under a key, and when that was: as far as the audit log tells whoever asks.
async fn deleted(client: &Client, which: &SecretArgs) -> Result<Option<(String, Timestamp)>, Failure> {
    let SecretArgs { key, whose: WhoseArgs { scope, namespace } } = which;
    let asked = [
        ("action", Some("secret.delete".to_owned())),
        ("namespace", namespace.as_ref().map(Namespace::to_string)),
        ("limit", Some(PAGE.to_string())),
    ];
    let subject = format!("{key} for {}", scope.unwrap_or_default());
    let acts: Page<ActView> =
        client.get(&with_query("/api/v1/audit", asked)).await.map_err(|fault| match fault.exit {
            Exit::Usage => Failure::usage(format!(
                "there is no secret {subject} jobs, and whether there was one is for admins to see: give the id that its \
                 deletion told in place of the key"
            )),
            // Nobody was refused: who asks again may be told.
            _ => fault,
        })?;
    let last = acts.items.into_iter().find(|act| act.subject == subject);
    let Some(last) = last else { return Ok(None) };
    let id = last.reference.ok_or_else(|| {
        Failure::usage(format!(
            "{subject} jobs was deleted {}, by a server that did not note its id: give the id that its deletion told in place \
             of the key ({})",
            print::ago(last.at),
            last.detail
        ))
    })?;
    Ok(Some((id, last.at)))
}

/// The id of a secret, if it is there. Keys have capital letters, and ids have none.
async fn found(client: &Client, which: &SecretArgs) -> Result<Option<String>, Failure> {
    let SecretArgs { key, whose: WhoseArgs { scope, namespace } } = which;
    let is_id = key.len() == 32 && key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_id {
        return Ok(Some(key.clone()));
    }
    check_key(key).map_err(Failure::usage)?;
    let scope = scope.unwrap_or_default();
    let mut found = all(client, (Some(scope), namespace.as_ref(), Some(key))).await?;
    if let Some(namespace) = namespace {
        found.retain(|secret| secret.namespace == *namespace);
    }
    match &found[..] {
        [one] => Ok(Some(one.id.clone())),
        [] => Ok(None),
        several => {
            let whose: Vec<String> = several.iter().map(|secret| secret.namespace.to_string()).collect();
            Err(Failure::usage(format!(
                "{} have a secret {key}: say which with --namespace",
                whose.join(" and ")
            )))
        }
    }
}

/// All pages of the secrets of a scope, a namespace, with a key.
async fn all(
    client: &Client,
    (scope, namespace, key): (Option<Scope>, Option<&Namespace>, Option<&str>),
) -> Result<Vec<SecretView>, Failure> {
    let filter = [
        ("scope", scope.map(|scope| scope.to_string())),
        ("namespace", namespace.map(Namespace::to_string)),
        ("key", key.map(str::to_owned)),
    ];
    client.all_of("/api/v1/secrets", filter).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::FakeServer;

    /// What is said of a key that is not kept, by who can't ask whether it was: the control plane answers all with `status`.
    async fn of_a_deleted_one(status: &str) -> Failure {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let server = FakeServer::that_says(answer, "http").await;
        let which = SecretArgs { key: "TOKEN".to_owned(), whose: WhoseArgs { scope: None, namespace: None } };
        deleted(&server.client, &which).await.unwrap_err()
    }

    #[tokio::test]
    async fn who_may_not_ask_is_told_so_and_a_fault_is_told_as_one() {
        let refused = of_a_deleted_one("403 Forbidden").await;
        assert!(refused.message.contains("is for admins to see"), "{}", refused.message);
        let failed = of_a_deleted_one("500 Internal Server Error").await;
        assert!(failed.exit == Exit::System && failed.message.contains("500"), "{}", failed.message);
    }

    #[test]
    fn the_end_of_one_line_is_left_out_and_nothing_else() {
        for (given, kept) in [
            ("value\n", "value"),
            ("value\r\n", "value"),
            ("value", "value"),
            (" value \n", " value "),
            ("\n", ""),
            ("value\n\n", "value\n\n"),
            ("-----BEGIN\nkey\n-----END\n", "-----BEGIN\nkey\n-----END\n"),
        ] {
            assert_eq!(without_end(given.to_owned()), kept, "{given:?}");
        }
    }
}
