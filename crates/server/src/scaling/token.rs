//! Tokens for Google's services: of a service account, whose key signs a claim that is changed for one, or of the machine.

use super::{GoogleCredentials, Refused, ScalingError, answer, begin_of};
use http::StatusCode;
use reqwest::Client;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};
use url::Url;

/// What the token is good for: writing metrics, and nothing else.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.write";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long a claim is good, in seconds; Google takes an hour at most.
const CLAIM: i64 = 600;
/// How long before its end a token is not used any more.
const EARLY: Duration = Duration::from_mins(2);
/// Where a machine of Google's finds its own token.
const MACHINE: &str = "http://metadata.google.internal/";
const MACHINE_PATH: &str = "computeMetadata/v1/instance/service-accounts/default/token";

/// Whose tokens they are.
pub(super) enum Identity {
    Account(Box<Account>),
    Machine(Url),
}

/// A service account.
pub(super) struct Account {
    email: String,
    key_id: String,
    key: KeyPair,
    token_uri: Url,
}

/// The JSON that Google gives, as far as it matters.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: SecretString,
    token_uri: Url,
}

/// A token that was given, and until when to use it.
pub(super) struct Token {
    pub(super) token: SecretString,
    until: Instant,
}

#[derive(Deserialize)]
struct Given {
    access_token: SecretString,
    expires_in: u64,
}

impl Token {
    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Identity {
    /// Reads what proves who we are.
    pub(super) fn read(credentials: &GoogleCredentials) -> Result<Self, ScalingError> {
        let bad = ScalingError::Credentials;
        let json = match credentials {
            GoogleCredentials::Machine(at) => {
                let at = at.clone().map_or_else(|| MACHINE.parse(), Ok);
                let url = at.and_then(|at: Url| at.join(MACHINE_PATH));
                return url.map(Self::Machine).map_err(|fault| bad(fault.to_string()));
            }
            GoogleCredentials::Content(json) => json.clone(),
            GoogleCredentials::File(path) => {
                let read = std::fs::read_to_string(path);
                SecretString::from(read.map_err(|fault| bad(format!("{}: {fault}", path.display())))?)
            }
        };
        Account::read(&json).map(|account| Self::Account(Box::new(account))).map_err(bad)
    }

    /// Asks for a token. `now` is in seconds since 1970.
    pub(super) async fn token(&self, client: &Client, now: i64) -> Result<Token, Refused> {
        let request = match self {
            Self::Machine(url) => client.get(url.clone()).header("Metadata-Flavor", "Google"),
            Self::Account(account) => {
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("grant_type", GRANT)
                    .append_pair("assertion", &account.claim(now)?)
                    .finish();
                let form_type = "application/x-www-form-urlencoded";
                client
                    .post(account.token_uri.clone())
                    .header(http::header::CONTENT_TYPE, form_type)
                    .body(form)
            }
        };
        let (status, told) = answer(request).await?;
        if status != StatusCode::OK {
            return Err(Refused(format!(
                "no token for Google Cloud is given: {} {}",
                status.as_u16(),
                begin_of(&told)
            )));
        }
        // What was given is not shown, whatever it is.
        let given: Given = serde_json::from_str(&told)
            .map_err(|_| Refused("the answer to the question for a token holds none".to_owned()))?;
        let good_for = Duration::from_secs(given.expires_in).saturating_sub(EARLY);
        Ok(Token { token: given.access_token, until: Instant::now() + good_for })
    }
}

impl Account {
    fn read(json: &SecretString) -> Result<Self, String> {
        // The parser's error tells a place in the text, and not the text.
        let KeyFile { kind, client_email, private_key_id, private_key, token_uri } =
            serde_json::from_str(json.expose_secret())
                .map_err(|fault| format!("they are no key of a service account: {fault}"))?;
        if kind != "service_account" {
            return Err(format!("their type is {kind:?}: use the key of a service_account"));
        }
        let loopback = token_uri.host_str().is_some_and(addresses::is_loopback_host);
        if token_uri.scheme() != "https" && !loopback {
            return Err("their token_uri is not https".to_owned());
        }
        let pem = PrivatePkcs8KeyDer::from_pem_slice(private_key.expose_secret().as_bytes())
            .map_err(|_| "their private_key is not PEM of PKCS #8".to_owned())?;
        let key = KeyPair::from_pkcs8(pem.secret_pkcs8_der())
            .map_err(|fault| format!("their private_key is no RSA key: {fault}"))?;
        Ok(Self { email: client_email, key_id: private_key_id, key, token_uri })
    }

    /// A signed claim that we are this account.
    fn claim(&self, now: i64) -> Result<String, Refused> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + CLAIM,
        });
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| Refused("the service account's key does not sign".to_owned()))?;
        Ok(format!("{signed}.{}", base64(signature)))
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}
