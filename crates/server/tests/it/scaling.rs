//! Queue sizes for clouds. Fakes stand in for Amazon's and Google's services at the socket, since those can't be had here;
//! what they are sent is checked as those do, from the bytes that came in, by code of their own.

use crate::harness::{Harness, job, job_on};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use server::{Allocations, Aws, Google, GoogleCredentials, Scaling, SecretKeys, ServerConfig};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Postgres, Told};
use tls::{Places, Roots};
use url::Url;

const SOON: Duration = Duration::from_secs(20);
/// Made for this test, and of no use elsewhere.
const KEY: &str = include_str!("scaling-test-key.pem");
const SECRET: &str = "aws-s3cret-key-of-the-test";
const TOKEN: &str = "t0ken-of-google";

/// What came in: the request's line and headers, and its body.
type Call = (http::request::Parts, Bytes);

/// A cloud: remembers what it is sent, and says what it was told to.
#[derive(Clone, Default)]
struct FakeCloud {
    calls: Arc<Mutex<Vec<Call>>>,
    fails: Arc<Mutex<bool>>,
}

impl FakeCloud {
    async fn start() -> (Self, Url) {
        let cloud = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(Self::hear).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (cloud, url)
    }

    async fn hear(State(cloud): State<Self>, request: Request) -> (StatusCode, String) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let gives_token = parts.uri.path().ends_with("token");
        cloud.calls.lock().unwrap().push((parts, body));
        if *cloud.fails.lock().unwrap() {
            return (StatusCode::FORBIDDEN, format!("not you {SECRET} {TOKEN}"));
        }
        let token = json!({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"});
        (StatusCode::OK, if gives_token { token.to_string() } else { "{}".to_owned() })
    }

    /// The first call that `is` one, when it has come.
    async fn call(&self, is: impl Fn(&Call) -> bool) -> Call {
        let begun = Instant::now();
        loop {
            let found = self.calls.lock().unwrap().iter().find(|call| is(call)).cloned();
            match found {
                Some(call) => return call,
                None => assert!(begun.elapsed() < SOON, "no such call came"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn scaling(config: &mut ServerConfig, fill: impl FnOnce(&mut Scaling)) {
    let mut scaling = Scaling::new("staging", Roots::new(Places::default()));
    (scaling.every, scaling.together_every) = (Duration::from_millis(50), Duration::from_millis(50));
    scaling.allocations = Allocations::parse(r#"{"batches": {"aws": 0.5, "gcp": 1}}"#).unwrap();
    fill(&mut scaling);
    config.scaling = Some(scaling);
    config.limits.depths_kept = Duration::ZERO;
}

fn amazon(endpoint: Url) -> Aws {
    Aws {
        namespace: "sourcegraph-executor".to_owned(),
        region: "eu-west-1".to_owned(),
        access_key_id: "AKIDTEST".to_owned(),
        secret_access_key: SECRET.into(),
        session_token: Some("s3ssion".into()),
        endpoint: Some(endpoint),
    }
}

/// As Amazon checks it: out of the request, knowing the secret.
fn is_signed((parts, body): &Call) {
    let header = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
    let given = header("authorization");
    let given = given.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let fields: BTreeMap<&str, &str> =
        given.split(", ").map(|field| field.split_once('=').unwrap()).collect();
    let (id, scope) = fields["Credential"].split_once('/').unwrap();
    let at = header("x-amz-date");
    assert_eq!((id, scope), ("AKIDTEST", &*format!("{}/eu-west-1/monitoring/aws4_request", &at[..8])));
    for must in ["host", "x-amz-date", "x-amz-security-token"] {
        assert!(fields["SignedHeaders"].split(';').any(|name| name == must), "{must}");
    }
    let lines = fields["SignedHeaders"].split(';').map(|name| format!("{name}:{}", header(name).trim()));
    let signed = lines.chain([String::new()]).collect::<Vec<_>>().join("\n");
    let request = [
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
        &signed,
        fields["SignedHeaders"],
        &hex::encode(Sha256::digest(body)),
    ]
    .join("\n");
    let text = ["AWS4-HMAC-SHA256", &at, scope, &hex::encode(Sha256::digest(request))].join("\n");
    let first = format!("AWS4{SECRET}");
    let key = scope.split('/').fold(first.into_bytes(), |key, part| {
        sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
    });
    let signature = hex::encode(sign(&Key::new(HMAC_SHA256, &key), text.as_bytes()));
    assert_eq!(fields["Signature"], signature);
}

fn form(body: &Bytes) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

#[tokio::test]
async fn cloudwatch_is_told_under_the_documented_names() {
    let (cloud, url) = FakeCloud::start().await;
    let harness =
        Harness::start_with(|config| scaling(config, |scaling| scaling.aws = Some(amazon(url)))).await;
    for queue in ["batches", "batches", "batches", "codeintel"] {
        harness.submit(&job_on(queue)).await;
    }
    let call = cloud.call(|(_, body)| {
        let form = form(body);
        // All of them, also the one that was submitted last.
        [(2, "1"), (3, "2")].iter().all(|(member, jobs)| {
            form.get(&format!("MetricData.member.{member}.Value")).is_some_and(|told| told == jobs)
        })
    });
    let call = call.await;
    is_signed(&call);
    assert_eq!(call.0.headers["x-amz-security-token"], "s3ssion");
    let form = form(&call.1);
    let of = |name: &str| form[name].as_str();
    assert_eq!((of("Action"), of("Namespace")), ("PutMetricData", "sourcegraph-executor"));
    // Half of three jobs is two, and half of all four as well: the share of the first queue counts for all.
    for (number, queue, jobs) in [(1, "batches", "2"), (2, "codeintel", "1"), (3, "batches_codeintel", "2")] {
        let of = |name: &str| form[&format!("MetricData.member.{number}.{name}")].as_str();
        assert_eq!((of("MetricName"), of("Unit")), ("src_executors_queue_size", "Count"));
        assert_eq!((of("Dimensions.member.1.Name"), of("Dimensions.member.1.Value")), ("queueName", queue));
        assert_eq!(
            (of("Dimensions.member.2.Name"), of("Dimensions.member.2.Value")),
            ("environment", "staging")
        );
        assert_eq!(of("Value"), jobs, "{queue}");
    }
}

/// The key of the service account, as Google gives it.
fn account(token_uri: &Url) -> String {
    json!({
        "type": "service_account", "project_id": "acme", "private_key_id": "k1", "private_key": KEY,
        "client_email": "metrics@acme.iam.gserviceaccount.com",
        "token_uri": token_uri.join("oauth/token").unwrap(),
    })
    .to_string()
}

#[tokio::test]
async fn cloud_monitoring_is_told_with_a_token_for_a_signed_claim() {
    let (cloud, url) = FakeCloud::start().await;
    let google = Google {
        project: "acme".to_owned(),
        credentials: GoogleCredentials::Content(account(&url).into()),
        endpoint: Some(url.clone()),
    };
    let harness =
        Harness::start_with(|config| scaling(config, |scaling| scaling.google = Some(google))).await;
    harness.submit(&job()).await;
    let (parts, body) = cloud
        .call(|(parts, body)| {
            let told: Value = serde_json::from_slice(body).unwrap_or_default();
            parts.uri.path().ends_with("timeSeries")
                && told["timeSeries"][2].is_object()
                && told["timeSeries"][0]["points"][0]["value"]["int64Value"] == "1"
        })
        .await;
    assert_eq!(parts.uri.path(), "/v3/projects/acme/timeSeries");
    assert_eq!(parts.headers["authorization"], format!("Bearer {TOKEN}"));
    let told: Value = serde_json::from_slice(&body).unwrap();
    let series = &told["timeSeries"][2];
    assert_eq!(
        series["metric"],
        json!({"type": "custom.googleapis.com/executors/queue/size",
               "labels": {"queueName": "batches_codeintel", "environment": "staging"}})
    );
    assert_eq!(series["resource"], json!({"type": "global", "labels": {"project_id": "acme"}}));

    let asks = |(parts, _): &Call| parts.uri.path() == "/oauth/token";
    let (_, asked) = cloud.call(asks).await;
    let asked = form(&asked);
    assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (signed, signature) = asked["assertion"].rsplit_once('.').unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let public = KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap().public().as_ref().to_vec();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let part = |index: usize| -> Value {
        let part = signed.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = part(1);
    assert_eq!(claims["iss"], "metrics@acme.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/monitoring.write");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let tokens = cloud.calls.lock().unwrap().iter().filter(|call| asks(call)).count();
    assert_eq!(tokens, 1, "a token is used for as long as it is good");
}

#[tokio::test]
async fn a_machine_of_googles_shows_its_own_account() {
    let (cloud, url) = FakeCloud::start().await;
    let google = Google {
        project: "acme".to_owned(),
        credentials: GoogleCredentials::Machine(Some(url.clone())),
        endpoint: Some(url),
    };
    let _harness =
        Harness::start_with(|config| scaling(config, |scaling| scaling.google = Some(google))).await;
    let (parts, _) = cloud.call(|(parts, _)| parts.uri.path().ends_with("/default/token")).await;
    assert_eq!(parts.headers["metadata-flavor"], "Google");
    let (parts, _) = cloud.call(|(parts, _)| parts.uri.path().ends_with("timeSeries")).await;
    assert_eq!(parts.headers["authorization"], format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_cloud_that_refuses_is_told_of_once_and_stops_nothing() {
    let heard = Told::default();
    let writer = heard.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let (cloud, url) = FakeCloud::start().await;
    *cloud.fails.lock().unwrap() = true;
    let content = account(&url);
    let harness = Harness::start_with(|config| {
        scaling(config, |scaling| {
            scaling.aws = Some(amazon(url.clone()));
            scaling.google = Some(Google {
                project: "acme".to_owned(),
                credentials: GoogleCredentials::Content(content.into()),
                endpoint: Some(url),
            });
        });
    })
    .await;
    let counted = async |outcome: &str, least: u64| {
        let begun = Instant::now();
        loop {
            let text =
                harness.api(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
            let line = format!(
                "executor_server_scaling_pushes_total{{target=\"cloudwatch\",outcome=\"{outcome}\"}} "
            );
            let count = text.lines().find_map(|told| told.strip_prefix(&line)?.parse::<u64>().ok());
            if count.is_some_and(|count| count >= least) {
                return;
            }
            assert!(begun.elapsed() < SOON, "{outcome}: {text}");
        }
    };
    counted("failed", 3).await;
    harness.submit(&job()).await;
    assert!(harness.dequeue("batches").await.is_some());
    *cloud.fails.lock().unwrap() = false;
    counted("ok", 1).await;
    harness.stop().await;
    let log = heard.text();
    let errors: Vec<&str> =
        log.lines().filter(|line| line.contains("ERROR") && line.contains("cloudwatch")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("answers 403"), "{errors:?}");
    let key = KEY.lines().nth(1).unwrap();
    for secret in [SECRET, TOKEN, "AKIDTEST", "s3ssion", key] {
        let line = log.lines().find(|line| line.contains(secret) && !line.contains("not you"));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}

/// Servers of one database know the same sizes. Each is given a cloud of its own here, so that it shows who tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_one_tells_and_is_succeeded() {
    let test = "of_several_servers_one_tells_and_is_succeeded";
    let Some(postgres) = Postgres::start(test) else { return };
    let start = async |endpoint: Url| {
        let postgres = postgres.url();
        Harness::start_with(move |config| {
            config.database_url = Some(postgres);
            config.secret_keys = SecretKeys::Given(format!("first:{}", "1".repeat(64)).into());
            scaling(config, |scaling| scaling.aws = Some(amazon(endpoint)));
        })
        .await
    };
    let ((first, at_first), (second, at_second)) = (FakeCloud::start().await, FakeCloud::start().await);
    let told = |cloud: &FakeCloud| cloud.calls.lock().unwrap().len();
    let a = start(at_first).await;
    first.call(|_| true).await;
    let b = start(at_second).await;
    let (begun, before) = (Instant::now(), told(&first));
    while told(&first) < before + 10 {
        assert!(begun.elapsed() < SOON, "the first one goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told(&second), 0, "what the one tells the other does not");
    *first.fails.lock().unwrap() = true;
    second.call(|_| true).await;
    *first.fails.lock().unwrap() = false;
    let (begun, before) = (Instant::now(), told(&second));
    while told(&second) < before + 10 {
        assert!(begun.elapsed() < SOON, "the one that reaches its cloud goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = told(&first);
    b.stop().await;
    let (begun, at_second) = (Instant::now(), told(&second));
    while told(&first) == before {
        assert!(begun.elapsed() < SOON, "nobody succeeds it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told(&second), at_second);
    a.stop().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_start_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |content: &str| {
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), dir.path().join("data"));
        let google = Google {
            project: "acme".to_owned(),
            credentials: GoogleCredentials::Content(content.into()),
            endpoint: None,
        };
        scaling(&mut config, |scaling| scaling.google = Some(google));
        server::start(config, tokio_util::sync::CancellationToken::new()).await.err().unwrap().to_string()
    };
    crate::harness::client();
    let here: Url = "http://127.0.0.1:1/".parse().unwrap();
    let far: Url = "http://example.com/".parse().unwrap();
    let spoilt = account(&here).replace("MII", "h4lf-a-key");
    for (content, why) in [
        ("h4lf-a-key".to_owned(), "no key of a service account"),
        (account(&here).replace("service_account", "authorized_user"), "use the key of a service_account"),
        (account(&far), "not https"),
        (spoilt, "private_key"),
    ] {
        let told = start(&content).await;
        assert!(told.contains(why) && !told.contains("h4lf-a-key"), "{told}");
    }
}
