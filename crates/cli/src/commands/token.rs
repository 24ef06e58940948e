//! `executor token`.

use super::print;
use crate::args::{NumberedArgs, TokenCommand};
use crate::client::Client;
use crate::exit::Outcome;
use jiff::Timestamp;
use server::api::{CreateToken, CreatedToken, TokenView, WhoamiView};
use std::time::Duration;

pub(crate) async fn run(client: &Client, command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create { name, role, namespace, expires, json } => {
            let expires_at = expires.map(from_now);
            create(client, &CreateToken { name, role, namespace, expires_at }, json).await
        }
        TokenCommand::List { json } => list(client, json).await,
        TokenCommand::Revoke(args) => revoke(client, "tokens", "token", &args).await,
        TokenCommand::Whoami { json } => whoami(client, json).await,
    }
}

/// When something is over that lasts so long from now on. None that can be said is longer than times go.
pub(super) fn from_now(duration: Duration) -> Timestamp {
    Timestamp::now().checked_add(duration).unwrap_or(Timestamp::MAX)
}

async fn create(client: &Client, request: &CreateToken, json: bool) -> Outcome {
    let created: CreatedToken = client.post("/api/v1/tokens", request).await?;
    let TokenView { id, name, role, namespace, .. } = &created.about;
    let said = format!("made token {id}, {name}: {role} of {namespace}. It is shown now and never again:");
    print::once(json, &created, &said, &created.token)
}

async fn list(client: &Client, json: bool) -> Outcome {
    let tokens: Vec<TokenView> = client.all("/api/v1/tokens").await?;
    let head = ["ID", "NAME", "ROLE", "NAMESPACE", "MADE BY", "MADE", "EXPIRES", "LAST USED"];
    let none = "no tokens yet: make one with `executor token create NAME --role ROLE`";
    print::list(json, &tokens, &head, none, |token| {
        vec![
            token.id.to_string(),
            token.name.clone(),
            token.role.to_string(),
            token.namespace.to_string(),
            token.created_by.clone(),
            print::ago(token.created_at),
            token.expires_at.map_or_else(|| "never".to_owned(), expiry),
            token.last_used_at.map_or_else(|| "never".to_owned(), print::ago),
        ]
    })
}

/// When something is over, for people.
pub(super) fn expiry(at: Timestamp) -> String {
    let now = Timestamp::now();
    if at <= now { "expired".to_owned() } else { format!("in {}", print::span(now, at)) }
}

/// Revokes a token of either kind.
pub(super) async fn revoke(client: &Client, path: &str, what: &str, args: &NumberedArgs) -> Outcome {
    client.delete(&format!("/api/v1/{path}/{}", args.id)).await?;
    print::tell(args.json, &serde_json::json!({ "id": args.id }), &format!("revoked {what} {}", args.id))
}

async fn whoami(client: &Client, json: bool) -> Outcome {
    let me: WhoamiView = client.get("/api/v1/whoami").await?;
    print::tell(json, &me, &format!("{}: {} of {}", me.name, me.role, me.namespace))
}
