//! An agent gets an identity of its own for a registration token, once.

use super::validate::{ask, below};
use crate::agent_config::Connection;
use crate::exit::{Exit, Failure, chain};
use agent::Identity;
use reqwest::{StatusCode, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tls::Roots;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wire::additions::{REGISTER, Register};
use wire::headers::Credentials;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The pause after a control plane did not answer.
const PAUSE: Duration = Duration::from_secs(2);
/// Characters that are told of what the control plane says.
const EXCERPT: usize = 300;

/// Makes the control plane know `identity` as that of the agent called `name`. One that can't be reached is waited for, until
/// `drain`.
pub(super) async fn enrol(
    identity: &mut Identity,
    name: &str,
    connection: &Connection,
    token: &SecretString,
    roots: &Roots,
    drain: &CancellationToken,
) -> Result<(), Failure> {
    if identity.is_registered() {
        match ask(&connection.url, identity.secret(), roots, LIMIT).await {
            // It may have been forgotten: then it is registered again, if the token still is good.
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                let refused = said(answer).await;
                return match register(identity, name, connection, token, roots).await {
                    Ok(Registered::Done) => Ok(()),
                    _ => Err(refusal(connection, &refused)),
                };
            }
            // Whatever else is wrong, the agent tells when it calls.
            _ => return Ok(()),
        }
    }
    let registered = async {
        loop {
            match register(identity, name, connection, token, roots).await? {
                Registered::Done => return Ok(()),
                Registered::Refused(why) => return Err(refusal(connection, &why)),
                Registered::Later(why) => {
                    tracing::warn!(why, "the control plane could not be asked for an identity yet");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    let left = Failure {
        exit: Exit::Failed,
        message: "the agent was told to leave before it had registered".into(),
    };
    drain.run_until_cancelled(registered).await.unwrap_or(Err(left))?;
    identity.note_registered().map_err(|fault| Failure::chain(Exit::System, &fault))?;
    tracing::info!(name, "the agent has an identity of its own from now on");
    Ok(())
}

/// What came of one call.
enum Registered {
    Done,
    Refused(String),
    Later(String),
}

async fn register(
    identity: &Identity,
    name: &str,
    connection: &Connection,
    token: &SecretString,
    roots: &Roots,
) -> Result<Registered, Failure> {
    let client = reqwest::Client::builder()
        .timeout(LIMIT)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config())
        .build()
        .map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let identity = identity.secret().expose_secret().to_owned();
    let answer = client
        .post(below(&connection.url, REGISTER))
        .header(header::AUTHORIZATION, Credentials::Shared(token.expose_secret()).to_header())
        .json(&Register { executor_name: name.to_owned(), identity })
        .send()
        .await;
    Ok(match answer {
        Ok(answer) => match answer.status() {
            StatusCode::NO_CONTENT => Registered::Done,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Registered::Refused(
                "it gives executors no identity of their own: set EXECUTOR_FRONTEND_PASSWORD in place of \
                 EXECUTOR_REGISTRATION_TOKEN"
                    .to_owned(),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::CONFLICT | StatusCode::BAD_REQUEST => {
                Registered::Refused(said(answer).await)
            }
            status => Registered::Later(format!("it answers {status}")),
        },
        Err(fault) => Registered::Later(chain(&fault.without_url())),
    })
}

/// What an answer says, on one line.
async fn said(answer: reqwest::Response) -> String {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let line = text.trim().chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c });
    let line: String = line.collect();
    if line.is_empty() { format!("it answers {status}") } else { line }
}

fn refusal(connection: &Connection, why: &str) -> Failure {
    let mut url = connection.url.clone();
    url.set_query(None);
    Failure { exit: Exit::Failed, message: format!("the control plane at {url} refuses this agent: {why}") }
}
