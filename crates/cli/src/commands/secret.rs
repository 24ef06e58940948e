//! `executor secret`.

use super::print;
use crate::args::{SecretArgs, SecretCommand, SecretSetArgs, WhoseArgs};
use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use jobs::Namespace;
use jobs::secrets::{Scope, check_key};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{Page, SecretAccessView, SecretView, SetSecret};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Bytes that are read of a value: one more than any may have, so that it is told to be too large.
const MAX_READ: u64 = jobs::secrets::MAX_VALUE_BYTES as u64 + 2;

pub(crate) async fn run(client: &Client, command: SecretCommand) -> Outcome {
    match command {
        SecretCommand::Set(args) => set(client, args).await,
        SecretCommand::List { whose, json } => list(client, &whose, json).await,
        SecretCommand::Delete { which, json } => delete(client, &which, json).await,
        SecretCommand::Log { which, limit, json } => log(client, &which, limit, json).await,
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
    if json {
        print::json(&kept)?;
    } else {
        print::line(&format!("{} is kept for {} jobs of {}", kept.key, kept.scope, of(&kept.namespace)))?;
    }
    Ok(Exit::Success)
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
    let secrets = all(client, &query(whose.scope, whose.namespace.as_ref(), None)).await?;
    if json {
        print::json(&secrets)?;
        return Ok(Exit::Success);
    }
    let rows = secrets.iter().map(|secret| {
        let note = if secret.overwrites_global { "overwrites the global one" } else { "" };
        vec![
            secret.key.clone(),
            secret.scope.to_string(),
            secret.namespace.to_string(),
            secret.creator.clone(),
            print::ago(secret.updated_at),
            note.to_owned(),
        ]
    });
    let none = "no secrets yet: keep one with `executor secret set KEY`";
    print::table(&["KEY", "SCOPE", "NAMESPACE", "BY", "SET", ""], rows.collect(), none)?;
    Ok(Exit::Success)
}

async fn delete(client: &Client, which: &SecretArgs, json: bool) -> Outcome {
    let id = find(client, which).await?;
    client.delete(&format!("/api/v1/secrets/{id}")).await?;
    if json {
        print::json(&serde_json::json!({ "id": id }))?;
    } else {
        print::line(&format!("{} is kept no more", which.key))?;
    }
    Ok(Exit::Success)
}

async fn log(client: &Client, which: &SecretArgs, limit: u32, json: bool) -> Outcome {
    let id = find(client, which).await?;
    let path = format!("/api/v1/secrets/{id}/access?limit={limit}");
    let page: Page<SecretAccessView> = client.get(&path).await?;
    if json {
        print::json(&page.items)?;
        return Ok(Exit::Success);
    }
    let rows = page.items.iter().map(|access| {
        vec![
            print::ago(access.at),
            access.job.to_string(),
            access.attempt.to_string(),
            access.owner.to_string(),
            access.executor.clone(),
        ]
    });
    print::table(&["WHEN", "JOB", "TRY", "OF", "EXECUTOR"], rows.collect(), "no job was given it")?;
    Ok(Exit::Success)
}

/// The id of a secret. Keys have capital letters, and ids have none.
async fn find(client: &Client, which: &SecretArgs) -> Result<String, Failure> {
    let SecretArgs { key, whose: WhoseArgs { scope, namespace } } = which;
    let is_id = key.len() == 32 && key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_id {
        return Ok(key.clone());
    }
    check_key(key).map_err(Failure::usage)?;
    let scope = scope.unwrap_or_default();
    let mut found = all(client, &query(Some(scope), namespace.as_ref(), Some(key))).await?;
    if let Some(namespace) = namespace {
        found.retain(|secret| secret.namespace == *namespace);
    }
    match &found[..] {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::usage(format!(
            "there is no secret {key} for {scope} jobs: `executor secret list` tells which there are"
        ))),
        several => {
            let whose: Vec<String> = several.iter().map(|secret| secret.namespace.to_string()).collect();
            Err(Failure::usage(format!(
                "{} have a secret {key}: say which with --namespace",
                whose.join(" and ")
            )))
        }
    }
}

/// All pages of a list.
async fn all(client: &Client, query: &str) -> Result<Vec<SecretView>, Failure> {
    let (mut secrets, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Page<SecretView> = client.get(&format!("/api/v1/secrets?limit=400{query}{cursor}")).await?;
        secrets.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", utf8_percent_encode(&next, NON_ALPHANUMERIC)),
            None => return Ok(secrets),
        }
    }
}

fn query(scope: Option<Scope>, namespace: Option<&Namespace>, key: Option<&str>) -> String {
    let parts = [
        scope.map(|scope| format!("&scope={scope}")),
        namespace.map(|namespace| {
            format!("&namespace={}", utf8_percent_encode(&namespace.to_string(), NON_ALPHANUMERIC))
        }),
        key.map(|key| format!("&key={key}")),
    ];
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
