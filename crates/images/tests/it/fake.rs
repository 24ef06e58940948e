//! A fake registry with a token server: what no honest registry does, and what no registry in a
//! package can do.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use testkit::image::{Archive, digest};

/// What a fake has and what it was asked.
pub(crate) struct Fake {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By path beneath the repository, such as `manifests/1`.
    answers: Mutex<HashMap<String, Vec<u8>>>,
    /// Requests in order, path and query.
    asked: Mutex<Vec<String>>,
    /// What was shown with them, where anything was.
    shown: Mutex<Vec<String>>,
    /// When set, only this token opens anything.
    token: Mutex<Option<Token>>,
    /// When set, everything is answered with it.
    refusal: Mutex<Option<(StatusCode, HeaderMap)>>,
    /// What is never answered.
    silent: Mutex<Vec<String>>,
    /// What is said to it.
    words: Mutex<String>,
}

/// Instead of a login.
const ANYONE: &str = "anyone";

#[derive(Clone)]
struct Token {
    realm: String,
    value: String,
    login: Option<String>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/token", get(token).post(exchange))
            .route("/v2/team/tool/{kind}/{name}", get(answer))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// The image's name here.
    pub(crate) fn name(&self) -> String {
        format!("{}/team/tool:1", self.address)
    }

    /// Offers an image under tag 1 by its manifest.
    pub(crate) fn offer(&self, archive: &Archive) {
        self.put("manifests/1", archive.manifest());
        self.put(&format!("manifests/{}", digest(&archive.manifest())), archive.manifest());
        self.offer_blobs(archive);
    }

    /// Offers an image under tag 1 by an index.
    pub(crate) fn offer_index(&self, archive: &Archive) {
        self.put("manifests/1", archive.index());
        self.put(&format!("manifests/{}", digest(&archive.manifest())), archive.manifest());
        self.offer_blobs(archive);
    }

    fn offer_blobs(&self, archive: &Archive) {
        for blob in archive.blobs().into_iter().chain([archive.config()]) {
            self.put(&format!("blobs/{}", digest(&blob)), blob);
        }
    }

    /// Sets one answer, honest or not.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.shared.answers.lock().expect("no test panicked").insert(path.to_owned(), bytes);
    }

    /// Whoever asks for this waits for ever.
    pub(crate) fn keep_waiting(&self, path: String) {
        self.shared.silent.lock().expect("no test panicked").push(path);
    }

    /// Takes one answer back.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.answers.lock().expect("no test panicked").remove(path).expect("it was there");
    }

    /// From now on a token is needed, and given to whoever asks, with a login or without.
    pub(crate) fn want_token_of_anyone(&self) {
        self.want_token(None, Some(ANYONE));
    }

    /// From now on a token is needed, given at `realm` or here, to whoever logs in as `login`.
    pub(crate) fn want_token(&self, realm: Option<&str>, login: Option<&str>) {
        let realm = realm.map_or_else(|| format!("http://{}/token", self.address), str::to_owned);
        let token = Token { realm, value: "first".to_owned(), login: login.map(str::to_owned) };
        *self.shared.token.lock().expect("no test panicked") = Some(token);
    }

    /// Tokens given so far are no longer good.
    pub(crate) fn expire_tokens(&self) {
        let mut token = self.shared.token.lock().expect("no test panicked");
        token.as_mut().expect("tokens are wanted").value.push('+');
    }

    /// From now on everything is refused.
    pub(crate) fn refuse(&self, status: StatusCode, headers: HeaderMap) {
        *self.shared.refusal.lock().expect("no test panicked") = Some((status, headers));
    }

    /// From now on everything is refused with these words.
    pub(crate) fn refuse_with(&self, status: StatusCode, words: &str) {
        words.clone_into(&mut self.shared.words.lock().expect("no test panicked"));
        self.refuse(status, HeaderMap::new());
    }

    /// Everything is as before again.
    pub(crate) fn accept(&self) {
        *self.shared.refusal.lock().expect("no test panicked") = None;
        *self.shared.token.lock().expect("no test panicked") = None;
    }

    /// Every `Authorization` that was shown.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.shared.shown.lock().expect("no test panicked").clone()
    }

    /// How often something was asked for.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.shared.asked.lock().expect("no test panicked").iter().filter(|path| path.contains(what)).count()
    }
}

type Reply = Result<Vec<u8>, Response<Body>>;

async fn token(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    shared.asked.lock().expect("no test panicked").push(request.uri().to_string());
    let token = shared.token.lock().expect("no test panicked").clone().expect("tokens are wanted");
    note(&shared, request.headers());
    let login = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token.login.as_deref() != Some(ANYONE) && login != token.login.as_deref() {
        return Err(refusal(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
    }
    Ok(format!(r#"{{"token":"{}"}}"#, token.value).into_bytes())
}

/// Gives a token for an identity token, which is the login here.
async fn exchange(State(shared): State<Arc<Shared>>, body: String) -> Reply {
    let token = shared.token.lock().expect("no test panicked").clone().expect("tokens are wanted");
    shared.asked.lock().expect("no test panicked").push(body.clone());
    if !token.login.is_some_and(|login| body.contains(&format!("refresh_token={login}&"))) {
        return Err(refusal(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
    }
    Ok(format!(r#"{{"access_token":"{}"}}"#, token.value).into_bytes())
}

fn note(shared: &Shared, headers: &HeaderMap) {
    let shown = headers.get(header::AUTHORIZATION).map(|value| value.to_str().expect("it is text"));
    shared.shown.lock().expect("no test panicked").extend(shown.map(str::to_owned));
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((kind, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    let path = format!("{kind}/{name}");
    shared.asked.lock().expect("no test panicked").push(path.clone());
    note(&shared, &headers);
    let is_silent = shared.silent.lock().expect("no test panicked").contains(&path);
    if is_silent {
        std::future::pending::<()>().await;
    }
    if let Some((status, headers)) = &*shared.refusal.lock().expect("no test panicked") {
        let words = shared.words.lock().expect("no test panicked").clone();
        return Err(refusal(*status, headers).map(|_| Body::from(words)));
    }
    if let Some(token) = &*shared.token.lock().expect("no test panicked") {
        let good = format!("Bearer {}", token.value);
        if headers.get(header::AUTHORIZATION).is_none_or(|sent| sent != good.as_str()) {
            let challenge = format!(r#"Bearer realm="{}",service="fake""#, token.realm);
            let challenge = challenge.parse().expect("a header");
            return Err(refusal(
                StatusCode::UNAUTHORIZED,
                &[(header::WWW_AUTHENTICATE, challenge)].into_iter().collect(),
            ));
        }
    }
    let answers = shared.answers.lock().expect("no test panicked");
    answers.get(&path).cloned().ok_or_else(|| refusal(StatusCode::NOT_FOUND, &HeaderMap::new()))
}

fn refusal(status: StatusCode, headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    response
}
