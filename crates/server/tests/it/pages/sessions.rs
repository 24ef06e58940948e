//! Signing in and out, and what a session is good for.

use super::{Form, Visitor, told, user};
use crate::harness::{Harness, client, problem};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

#[tokio::test]
async fn somebody_signs_in_with_a_password_until_they_sign_out_or_are_removed() {
    let harness = Harness::start().await;
    user(&harness, "ann", "operator", "org:acme").await;
    let mut ann = Visitor::new(&harness);
    for (name, password) in [("ann", "wrong horse"), ("bob", "correct horse"), ("", "")] {
        let told = ann.sign_in(&[("name", name), ("password", password)]).await;
        assert_eq!(told.status, 401);
        assert!(told.body.contains("the name or the password is wrong"), "{}", told.body);
    }
    let door = [("name", "ann"), ("password", "correct horse"), ("next", "/secrets")];
    let response = ann.request(Method::POST, "/sign-in").form(&door).send().await.unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("executor=") && !cookie.contains("Secure"), "{cookie}");
    for part in ["; Path=/;", "; HttpOnly", "; SameSite=Strict", "; Max-Age=604800"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert_eq!(told(response).await.location, "/secrets");

    assert_eq!(ann.sign_in(&door).await.status, 303);
    let account = ann.get("/account").await;
    assert!(account.body.contains("operator") && account.body.contains("org:acme"), "{}", account.body);
    let out = ann.request(Method::POST, "/sign-out").send().await.unwrap();
    assert!(out.headers()[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(
        ann.get("/account").await.location,
        "/sign-in?next=%2Faccount",
        "the session has ended at the server"
    );

    ann.sign_in(&door).await;
    assert_eq!(ann.get("/account").await.status, 200);
    assert_eq!(harness.api(Method::DELETE, "/users/ann").send().await.unwrap().status(), 204);
    assert_eq!(ann.get("/account").await.status, 303, "whoever was removed is out at once");
    let acts = harness.get("/audit").await;
    let actions: Vec<_> = acts["items"].as_array().unwrap().iter().map(|act| act["action"].clone()).collect();
    assert_eq!(actions, ["user.delete", "session.begin", "session.begin", "session.begin", "user.create"]);
}

#[tokio::test]
async fn guesses_that_come_at_one_time_are_no_more_than_others() {
    let harness = Harness::start().await;
    user(&harness, "ann", "operator", "org:acme").await;
    let begun = std::time::Instant::now();
    let guesses = (0..50).map(async |n| {
        let password = format!("guess number {n}");
        Visitor::new(&harness).sign_in(&[("name", "ann"), ("password", &password)]).await.status
    });
    let told = futures_util::future::join_all(guesses).await;
    // One more is looked at every two seconds.
    let most = 31 + begun.elapsed().as_secs() / 2;
    let looked_at = told.iter().filter(|status| **status == 401).count() as u64;
    assert!(looked_at <= most, "{looked_at} of {most}");
    assert!(told.iter().all(|status| [401, 429].contains(status)), "{told:?}");
}

#[tokio::test]
async fn a_new_password_ends_all_sessions() {
    let harness = Harness::start().await;
    user(&harness, "ann", "reader", "org:acme").await;
    let door = [("name", "ann"), ("password", "correct horse")];
    let (mut one, mut other) = (Visitor::new(&harness), Visitor::new(&harness));
    one.sign_in(&door).await;
    other.sign_in(&door).await;
    let change = async |present: &str, new: &str| {
        one.post("/account/password", &[("present", present), ("password", new)]).await
    };
    assert_eq!(change("wrong horse", "battery staple").await.status, 403);
    assert_eq!(change("correct horse", "short").await.status, 422);
    assert_eq!(other.get("/jobs").await.status, 200);
    assert_eq!(change("correct horse", "battery staple").await.location, "/sign-in");
    assert_eq!((one.get("/jobs").await.status, other.get("/jobs").await.status), (303, 303));
    assert_eq!(one.sign_in(&door).await.status, 401);
    assert_eq!(other.sign_in(&[("name", "ann"), ("password", "battery staple")]).await.status, 303);
    let body = json!({"password": "correct horse"});
    assert_eq!(
        harness.api(Method::PUT, "/users/ann/password").json(&body).send().await.unwrap().status(),
        200
    );
    assert_eq!(other.get("/jobs").await.status, 303);
}

#[tokio::test]
async fn a_session_of_a_token_is_no_more_than_that() {
    let harness = Harness::start().await;
    let root = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    assert!(root.get("/account").await.body.contains("root"));
    let body = json!({"name": "ci", "role": "reader", "namespace": "org:acme"});
    let made: Value =
        harness.api(Method::POST, "/tokens").json(&body).send().await.unwrap().json().await.unwrap();
    let ci = Visitor::with_token(&harness, made["token"].as_str().unwrap()).await;
    assert_eq!(ci.get("/tokens").await.status, 403, "a reader looks after no tokens");
    assert_eq!(ci.get("/jobs").await.status, 200);
    let revoke = format!("/tokens/{}/revoke", made["id"]);
    assert_eq!(root.post(&revoke, &[]).await.location, "/tokens?done=token");
    assert_eq!(ci.get("/jobs").await.status, 303);
    let mut nobody = Visitor::new(&harness);
    assert_eq!(nobody.sign_in(&[("token", "executor_api_wrong")]).await.status, 401);
}

#[tokio::test]
async fn the_link_of_the_terminal_works_once_and_while_nobody_has_an_account() {
    let harness = Harness::start().await;
    let first = harness.server.first_sign_in().await.unwrap().unwrap();
    let link = harness.server.first_sign_in().await.unwrap().unwrap();
    let mut visitor = Visitor::new(&harness);
    assert_eq!(visitor.get(&first).await.status, 401, "a newer one is there");
    let response = visitor.request(Method::GET, &link).send().await.unwrap();
    visitor.keep(&response);
    let page = told(response).await;
    // From a page of ours the browser sends the cookie.
    assert!(page.body.contains("http-equiv=\"refresh\" content=\"0; url=/jobs\""), "{}", page.body);
    assert!(visitor.get("/account").await.body.contains("admin of global"));
    assert_eq!(Visitor::new(&harness).get(&link).await.status, 401, "it was used");
    user(&harness, "ann", "reader", "global").await;
    assert_eq!(harness.server.first_sign_in().await.unwrap(), None);
}

#[tokio::test]
async fn a_form_must_be_of_the_session_and_of_our_page() {
    let harness = Harness::start().await;
    let token = harness.server.api_token().expose_secret().to_owned();
    let (one, other) =
        (Visitor::with_token(&harness, &token).await, Visitor::with_token(&harness, &token).await);
    let pause = async |csrf: &str, headers: &[(&'static str, &str)]| {
        let cookie = one.cookie.clone().unwrap();
        let mut request = one.client.post(format!("{}/queues/batches", one.base)).header("Cookie", cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let fields = [("csrf", csrf), ("paused", "true")];
        told(request.form(&fields).send().await.unwrap()).await.status
    };
    let site = |site| [("Sec-Fetch-Site", site)];
    assert_eq!(pause("", &site("same-origin")).await, 403);
    assert_eq!(pause(&other.csrf, &site("same-origin")).await, 403);
    for elsewhere in ["cross-site", "same-site", "none"] {
        assert_eq!(pause(&one.csrf, &site(elsewhere)).await, 403, "{elsewhere}");
    }
    assert_eq!(pause(&one.csrf, &[]).await, 403, "the browser says nothing");
    assert_eq!(pause(&one.csrf, &[("Origin", "http://evil.example")]).await, 403);
    assert!(harness.get("/queues/batches").await["pausedAt"].is_null());
    let here = one.base.clone();
    assert_eq!(pause(&one.csrf, &[("Origin", &here)]).await, 303);
    assert!(harness.get("/queues/batches").await["pausedAt"].is_string());
    // Nobody is signed in by others' pages either.
    let request = client().post(format!("{here}/sign-in")).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(told(request.form(&[("token", token.as_str())]).send().await.unwrap()).await.status, 403);
}

#[tokio::test]
async fn the_api_takes_no_cookie() {
    let harness = Harness::start().await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let (status, code, _) = problem(visitor.request(Method::GET, "/api/v1/jobs")).await;
    assert_eq!((status, code.as_str()), (401, "unauthorized"));
}

#[tokio::test]
async fn who_comes_by_https_has_a_cookie_that_goes_no_other_way() {
    let harness = Harness::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let token = harness.server.api_token().expose_secret().to_owned();
    let visitor = Visitor::new(&harness);
    let request = visitor.request(Method::POST, "/sign-in").header("X-Forwarded-Proto", "https");
    let response = request.form(&[("token", token.as_str())]).send().await.unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-executor=") && cookie.ends_with("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let with = |proto: &'static str| {
        let request = visitor.request(Method::GET, "/account").header("X-Forwarded-Proto", proto);
        request.header("Cookie", pair.clone())
    };
    assert_eq!(told(with("https").send().await.unwrap()).await.status, 200);
    assert_eq!(told(with("http").send().await.unwrap()).await.status, 303);
}

#[tokio::test]
async fn an_address_that_guesses_has_to_wait() {
    let harness = Harness::start().await;
    user(&harness, "ann", "reader", "global").await;
    let mut visitor = Visitor::new(&harness);
    for _ in 0..30 {
        assert_eq!(visitor.sign_in(&[("token", "executor_api_wrong")]).await.status, 401);
    }
    for fields in
        [[("name", "ann"), ("password", "correct horse")], [("name", ""), ("token", "executor_api_x")]]
    {
        let told = visitor.sign_in(&fields).await;
        assert_eq!(told.status, 429, "{}", told.body);
        assert!(told.body.contains("try again in"), "{}", told.body);
        assert!(told.retry_after.is_some(), "programs are told as well");
    }
}

#[tokio::test]
async fn a_link_from_elsewhere_leads_on_by_a_page_of_ours() {
    let harness = Harness::start().await;
    let here = format!("{}/jobs/7?x=1", harness.url(""));
    let told = told(client().get(here).header("Sec-Fetch-Site", "cross-site").send().await.unwrap()).await;
    assert_eq!(told.status, 200);
    assert!(told.body.contains("content=\"0; url=/jobs/7?x=1\""), "{}", told.body);
}

#[tokio::test]
async fn a_name_that_can_be_nobodys_is_a_failed_attempt() {
    let harness = Harness::start().await;
    let mut visitor = Visitor::new(&harness);
    for name in ["\0", "a\0b", " "] {
        assert_eq!(visitor.sign_in(&[("name", name), ("password", "x")]).await.status, 401, "{name:?}");
    }
}

#[tokio::test]
async fn whoever_only_looks_at_the_first_link_does_not_use_it_up() {
    let harness = Harness::start().await;
    let link = harness.server.first_sign_in().await.unwrap().unwrap();
    let visitor = Visitor::new(&harness);
    let looked = visitor.request(Method::HEAD, &link).send().await.unwrap();
    assert!(looked.status().is_success() && !looked.headers().contains_key(SET_COOKIE));
    let signed_in = visitor.request(Method::GET, &link).send().await.unwrap();
    assert!(signed_in.headers().contains_key(SET_COOKIE), "{}", signed_in.status());
    let again = visitor.request(Method::GET, &link).send().await.unwrap();
    assert_eq!(again.status(), 401, "it is good once");
}
