//! `executor user`.

use super::print;
use crate::args::UserCommand;
use crate::client::Client;
use crate::exit::{Failure, Outcome};
use crate::terminal::ask_secretly;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{CreateUser, SetPassword, UserView};
use std::io::{IsTerminal, Read};

/// Bytes that are read of a password: more than any may have, so that it is told to be too long.
const MAX_READ: u64 = 4_096;

pub(crate) async fn run(client: &Client, command: UserCommand) -> Outcome {
    match command {
        UserCommand::Create { name, role, namespace, json } => {
            let password = password(&name)?;
            let request = CreateUser { name, password, role, namespace };
            let made: UserView = client.post("/api/v1/users", &request).await?;
            let UserView { name, role, namespace, .. } = &made;
            print::tell(json, &made, &format!("{name} can sign in now: {role} of {namespace}"))
        }
        UserCommand::List { json } => list(client, json).await,
        UserCommand::Remove { name, json } => {
            client.delete(&path(&name)).await?;
            let told = format!("{name} can sign in no longer");
            print::tell(json, &serde_json::json!({ "name": name }), &told)
        }
        UserCommand::Password { name, json } => {
            let request = SetPassword { password: password(&name)? };
            let set: UserView = client.put(&format!("{}/password", path(&name)), &request).await?;
            print::tell(json, &set, &format!("{name} has another password; their sessions have ended"))
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/users/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

async fn list(client: &Client, json: bool) -> Outcome {
    let users: Vec<UserView> = client.all("/api/v1/users").await?;
    let head = ["NAME", "ROLE", "NAMESPACE", "LET IN BY", "SINCE", "LAST HERE"];
    let none = "nobody yet: let somebody in with `executor user create NAME --role ROLE`";
    print::list(json, &users, &head, none, |user| {
        vec![
            user.name.clone(),
            user.role.to_string(),
            user.namespace.to_string(),
            user.created_by.clone(),
            print::ago(user.created_at),
            user.last_used_at.map_or_else(|| "never".to_owned(), print::ago),
        ]
    })
}

/// A password: typed twice at a terminal, which does not show it, else the first line of standard input.
fn password(name: &str) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        let first = ask_secretly(&format!("password of {name}: "))?;
        let second = ask_secretly("the same again: ")?;
        return if first == second {
            Ok(first)
        } else {
            Err(Failure::usage("the two passwords differ: nothing was done, try again"))
        };
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_READ).read_to_end(&mut bytes);
    read.map_err(|fault| Failure::usage(format!("the password on standard input can't be read: {fault}")))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the password on standard input is not UTF-8 text: nobody could type it in a browser")
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
