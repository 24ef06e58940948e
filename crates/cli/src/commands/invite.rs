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
        None => Good::Tokens(Vec::new()),
    };
    let told = format!(
        "revoked agent {}: its calls are refused, and its jobs are given away when their leases are over{}",
        args.name,
        good.told(registration.as_deref().unwrap_or_default()),
    );
    let ids = match good {
        Good::Tokens(ids) => Some(ids),
        Good::Unknown => None,
    };
    let json =
        serde_json::json!({ "name": args.name, "registration": registration, "goodRegistrationTokens": ids });
    print::tell(args.json, &json, &told)
}

/// Whether a revoked agent could come back by what it registered with.
#[derive(Debug, PartialEq, Eq)]
enum Good {
    /// The tokens of these ids can be used again. There may be several of one name, and which of them it was is not known; none
    /// where it is used up, revoked or expired.
    Tokens(Vec<i64>),
    /// Who asks may not know.
    Unknown,
}

/// Which tokens of that name are good for another agent.
async fn still_good(client: &Client, registration: &str) -> Good {
    // The agent is revoked: what can't be looked at is no failure of that.
    match client.all::<RegistrationView>(PATH).await {
        Ok(tokens) => Good::Tokens(good_ones(&tokens, registration, Timestamp::now())),
        Err(_) => Good::Unknown,
    }
}

fn good_ones(tokens: &[RegistrationView], name: &str, now: Timestamp) -> Vec<i64> {
    let good = |token: &&RegistrationView| {
        token.name == name && token.uses < token.max_uses && token.expires_at > now
    };
    tokens.iter().filter(good).map(|token| token.id).collect()
}

impl Good {
    fn told(&self, registration: &str) -> String {
        match self {
            Self::Tokens(ids) => match &ids[..] {
                [] => String::new(),
                [id] => format!(
                    ". Registration token {id}, {registration}, which it registered with, is still good: whoever has it can \
                     register again. `executor agent invite revoke {id}` ends that; agents that it brought stay"
                ),
                several => format!(
                    ". It registered with a token named {registration}, and {} of that name are still good, {}: whoever has \
                     the one can register again. `executor agent invite revoke ID` ends that; agents that it brought stay",
                    several.len(),
                    several.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
                ),
            },
            Self::Unknown => format!(
                ". Whether the registration token {registration}, which it registered with, is still good can't be seen with \
                 your token: have an admin look with `executor agent invite list`, and end it with `executor agent invite \
                 revoke ID`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_that_could_bring_an_agent_back_is_named() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let token = |id, name: &str, uses, expires: &str| RegistrationView {
            id,
            name: name.to_owned(),
            max_uses: 2,
            uses,
            created_by: "root".to_owned(),
            created_at: now,
            expires_at: expires.parse().unwrap(),
        };
        let (later, over) = ("2026-11-23T12:00:00Z", "2026-11-22T11:00:00Z");
        let tokens = [
            token(1, "rack", 1, later),
            token(2, "rack", 2, later),
            token(3, "rack", 0, over),
            token(4, "other", 0, later),
            token(5, "rack", 0, later),
        ];
        assert_eq!(good_ones(&tokens, "rack", now), [1, 5]);
        let told = Good::Tokens(good_ones(&tokens, "rack", now)).told("rack");
        assert!(told.contains("2 of that name are still good, 1, 5"), "{told}");
        let told = Good::Tokens(good_ones(&tokens, "other", now)).told("other");
        assert!(told.contains("`executor agent invite revoke 4`"), "{told}");
        assert_eq!(Good::Tokens(Vec::new()).told("rack"), "");
    }
}
