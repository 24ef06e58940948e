//! `executor agent invite`, and what comes of it: agents with an identity of their own.

use super::{print, token};
use crate::args::{AgentArgs, InviteCommand};
use crate::client::Client;
use crate::exit::Outcome;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{CreateRegistration, CreatedRegistration, IdentityView, RegistrationView};

const PATH: &str = "/api/v1/registration-tokens";
const IDENTITIES: &str = "/api/v1/identities";

pub(super) async fn run(client: &Client, command: InviteCommand) -> Outcome {
    match command {
        InviteCommand::Create { name, uses, expires, json } => {
            let expires_at = Some(token::from_now(expires));
            create(client, &CreateRegistration { name, uses, expires_at }, json).await
        }
        InviteCommand::List { json } => list(client, json).await,
        InviteCommand::Revoke(args) => {
            token::revoke(client, "registration-tokens", "registration token", &args).await
        }
    }
}

async fn create(client: &Client, request: &CreateRegistration, json: bool) -> Outcome {
    let created: CreatedRegistration = client.post(PATH, request).await?;
    let RegistrationView { id, name, max_uses, expires_at, .. } = &created.about;
    let agents = if *max_uses == 1 { "one agent".to_owned() } else { format!("{max_uses} agents") };
    let said = format!(
        "made registration token {id}, {name}, for {agents}; it expires {}. Set it there as \
         EXECUTOR_REGISTRATION_TOKEN; it is shown now and never again:",
        token::expiry(*expires_at),
    );
    print::once(json, &created, &said, &created.token)
}

async fn list(client: &Client, json: bool) -> Outcome {
    let all: Vec<RegistrationView> = client.all(PATH).await?;
    let head = ["ID", "NAME", "USED", "MADE BY", "MADE", "EXPIRES"];
    let none = "no registration tokens: make one with `executor agent invite create NAME`";
    print::list(json, &all, &head, none, |row| {
        vec![
            row.id.to_string(),
            row.name.clone(),
            format!("{} of {}", row.uses, row.max_uses),
            row.created_by.clone(),
            print::ago(row.created_at),
            token::expiry(row.expires_at),
        ]
    })
}

/// The agents with an identity of their own.
pub(super) async fn identities(client: &Client, json: bool) -> Outcome {
    let all: Vec<IdentityView> = client.all(IDENTITIES).await?;
    let head = ["NAME", "STATE", "REGISTERED WITH", "REGISTERED", "LAST USED"];
    let none = "no agent has an identity of its own: `executor agent invite create NAME`";
    print::list(json, &all, &head, none, |row| {
        vec![
            row.name.clone(),
            row.revoked_at.map_or_else(|| "good".to_owned(), |at| format!("revoked {}", print::ago(at))),
            row.registration.clone(),
            print::ago(row.created_at),
            print::ago(row.last_used_at),
        ]
    })
}

pub(super) async fn revoke(client: &Client, args: &AgentArgs) -> Outcome {
    let all: Vec<IdentityView> = client.all(IDENTITIES).await?;
    let registration =
        all.into_iter().find(|identity| identity.name == args.name).map(|identity| identity.registration);
    let name = utf8_percent_encode(&args.name, NON_ALPHANUMERIC);
    client.delete(&format!("{IDENTITIES}/{name}")).await?;
    let good = match &registration {
        Some(registration) => still_good(client, registration).await,
        None => Good::No,
    };
    let told = format!(
        "revoked agent {}: its calls are refused, and its jobs are given away when their leases are over{}",
        args.name,
        good.told(registration.as_deref().unwrap_or_default()),
    );
    let id = match good {
        Good::Token(id) => Some(id),
        Good::No | Good::Unknown => None,
    };
    let json =
        serde_json::json!({ "name": args.name, "registration": registration, "goodRegistrationToken": id });
    print::tell(args.json, &json, &told)
}

/// Whether a revoked agent could come back by what it registered with.
enum Good {
    /// Its token is used up, revoked or expired.
    No,
    /// The token of this id can be used again.
    Token(i64),
    /// Who asks may not know.
    Unknown,
}

/// Whether a token of that name is good for another agent.
async fn still_good(client: &Client, registration: &str) -> Good {
    // The agent is revoked: what can't be looked at is no failure of that.
    let Ok(tokens) = client.all::<RegistrationView>(PATH).await else { return Good::Unknown };
    let now = Timestamp::now();
    let good = |token: &&RegistrationView| {
        token.name == registration && token.uses < token.max_uses && token.expires_at > now
    };
    tokens.iter().find(good).map_or(Good::No, |token| Good::Token(token.id))
}

impl Good {
    fn told(&self, registration: &str) -> String {
        match self {
            Self::No => String::new(),
            Self::Token(id) => format!(
                ". Registration token {id}, {registration}, which it registered with, is still good: whoever has it can \
                 register again. `executor agent invite revoke {id}` ends that; agents that it brought stay"
            ),
            Self::Unknown => format!(
                ". Whether the registration token {registration}, which it registered with, is still good can't be seen with \
                 your token: have an admin look with `executor agent invite list`, and end it with `executor agent invite \
                 revoke ID`"
            ),
        }
    }
}
