//! The pages over real HTTP, and in a real browser.

mod executors;
mod following;
mod hostile;
mod job;
mod log;
mod looks;
mod results;
mod routes;
mod sessions;
mod world;

use crate::harness::Harness;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::json;

/// Sends a form as browsers do.
pub(crate) trait Form {
    fn form(self, fields: &[(&str, &str)]) -> Self;
}

impl Form for RequestBuilder {
    fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }
}

/// What an answer was.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// Somebody with a browser's manners, and the cookie that it keeps.
pub(crate) struct Visitor {
    client: Client,
    base: String,
    cookie: Option<String>,
    csrf: String,
}

impl Visitor {
    pub(crate) fn new(harness: &Harness) -> Self {
        crate::harness::client();
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, base: harness.url(""), cookie: None, csrf: String::new() }
    }

    /// One who signed in with a token.
    pub(crate) async fn with_token(harness: &Harness, token: &str) -> Self {
        let mut visitor = Self::new(harness);
        let told = visitor.sign_in(&[("token", token)]).await;
        assert_eq!((told.status, told.location.as_str()), (303, "/jobs"), "{}", told.body);
        visitor
    }

    /// Sends the form of the door, and keeps the cookie that comes of it.
    pub(crate) async fn sign_in(&mut self, fields: &[(&str, &str)]) -> Told {
        let told = self.door(fields).await;
        if told.status == 303 {
            self.csrf = self.get("/account").await.csrf();
        }
        told
    }

    /// The same where no page can be looked at after it.
    pub(crate) async fn door(&mut self, fields: &[(&str, &str)]) -> Told {
        let response = self.request(Method::POST, "/sign-in").form(fields).send().await.unwrap();
        self.keep(&response);
        told(response).await
    }

    /// The cookie that it keeps.
    pub(crate) fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap_or_default()
    }

    pub(crate) fn keep(&mut self, response: &Response) {
        for line in response.headers().get_all(SET_COOKIE) {
            let cookie = line.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(cookie.to_owned()).filter(|cookie| !cookie.ends_with('='));
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = request.header("Sec-Fetch-Site", "same-origin");
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        told(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// Sends a form of a page, with what proves that it is ours.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Told {
        let fields: Vec<_> =
            [("csrf", self.csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
        told(self.request(Method::POST, path).form(&fields).send().await.unwrap()).await
    }
}

impl Told {
    /// What the page's forms hold.
    pub(crate) fn csrf(&self) -> String {
        let (_, after) =
            self.body.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("{}", self.body));
        after.split('"').next().unwrap().to_owned()
    }
}

pub(crate) async fn told(response: Response) -> Told {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (location, retry_after) = (header("location").unwrap_or_default(), header("retry-after"));
    let status = response.status().as_u16();
    Told { status, location, retry_after, body: response.text().await.unwrap() }
}

/// Lets somebody in who signs in with the password `correct horse`.
pub(crate) async fn user(harness: &Harness, name: &str, role: &str, namespace: &str) {
    let body = json!({"name": name, "password": "correct horse", "role": role, "namespace": namespace});
    let response = harness.api(Method::POST, "/users").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
}
