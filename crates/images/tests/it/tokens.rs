//! A fake token server for the real registry, which has none of its own: who may pull what.

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::registry::{PASSWORD, Tokens, USER};

/// Gives tokens on loopback. The usual user may do all; others may pull what they are said to.
pub(crate) struct TokenServer {
    realm: String,
    certificate: String,
}

struct Keeper {
    key: EcdsaKeyPair,
    /// The certificate of the key.
    chain: String,
    /// What each user may pull, by what they show.
    may_pull: HashMap<String, String>,
}

impl TokenServer {
    /// A server that lets each user, `user:password`, pull from one repository.
    pub(crate) async fn start(may_pull: &[(&str, &str)]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        let signing = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &SystemRandom::new(),
        );
        let keeper = Keeper {
            key: signing.expect("a key to sign with"),
            chain: STANDARD.encode(certificate.der()),
            may_pull: may_pull
                .iter()
                .map(|(user, repository)| (basic(user), (*repository).to_owned()))
                .collect(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let router = Router::new().route("/token", get(token)).with_state(Arc::new(keeper));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { realm: format!("http://{address}/token"), certificate: certificate.pem() }
    }

    /// What a registry must know of it.
    pub(crate) fn for_registry(&self) -> Tokens<'_> {
        Tokens { realm: &self.realm, certificate: &self.certificate }
    }
}

fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

async fn token(
    State(keeper): State<Arc<Keeper>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scope = query.get("scope").cloned().unwrap_or_default();
    let mut parts = scope.splitn(3, ':').skip(1);
    let (repository, actions) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let actions: Vec<_> = actions.split(',').collect();
    let granted = if shown == basic(&format!("{USER}:{PASSWORD}")) {
        actions
    } else {
        match keeper.may_pull.get(shown) {
            Some(own) if own == repository => vec!["pull"],
            Some(_) => vec![],
            // Whoever shows nothing may have a token that opens nothing, as on Docker Hub.
            None if shown.is_empty() => vec![],
            None => return Err(StatusCode::UNAUTHORIZED),
        }
    };
    let access = json!([{ "type": "repository", "name": repository, "actions": granted }]);
    Ok(Json(json!({ "token": keeper.sign(&access) })))
}

impl Keeper {
    fn sign(&self, access: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.chain] });
        let claims = json!({
            "iss": "test", "aud": "test", "sub": "somebody", "jti": "one",
            "nbf": now - 60, "iat": now - 60, "exp": now + 600, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("it can be signed");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
