//! People who sign in, by the public API.

use crate::access::Holder;
use crate::harness::{Harness, problem, told};
use jobs::Role;
use reqwest::Method;
use serde_json::{Value, json};

fn asked(name: &str, password: &str, role: &str, namespace: &str) -> Value {
    json!({"name": name, "password": password, "role": role, "namespace": namespace})
}

#[tokio::test]
async fn users_are_let_in_listed_and_removed() {
    let harness = Harness::start().await;
    let create = |body: &Value| harness.api(Method::POST, "/users").json(body);
    let (status, body) = told(create(&asked("ann", "correct horse", "operator", "org:acme"))).await;
    assert_eq!(status, 201, "{body}");
    assert!(!body.contains("correct horse") && !body.contains("argon2"), "{body}");
    let users = harness.list("/users").await;
    assert_eq!(users[0]["name"], "ann");
    assert_eq!((&users[0]["role"], &users[0]["namespace"]), (&json!("operator"), &json!("org:acme")));
    for (body, expected, code) in [
        (asked("ann", "correct horse", "reader", "global"), 409, "user_exists"),
        (asked("bob", "too short", "reader", "global"), 422, "invalid_user"),
        (asked("-bob", "correct horse", "reader", "global"), 422, "invalid_user"),
        (asked("root", "correct horse", "reader", "global"), 422, "invalid_user"),
        (json!({"name": "bob"}), 422, "invalid_user"),
    ] {
        let (status, told, detail) = problem(create(&body)).await;
        assert_eq!((status, told.as_str()), (expected, code), "{detail}");
        assert!(!detail.contains("correct horse"), "{detail}");
    }
    assert_eq!(told(harness.api(Method::DELETE, "/users/ann")).await.0, 204);
    assert_eq!(problem(harness.api(Method::DELETE, "/users/ann")).await.1, "unknown_user");
}

#[tokio::test]
async fn nobody_lets_in_who_may_more_than_they() {
    let harness = Harness::start().await;
    let admin = Holder::new(&harness, Role::Admin, "org:acme").await;
    for (namespace, expected) in [("org:acme", 201), ("org:other", 403), ("global", 403)] {
        let body = asked(&format!("in-{}", namespace.replace(':', "-")), "correct horse", "admin", namespace);
        let (status, body) = told(admin.call(&harness, Method::POST, "/users").json(&body)).await;
        assert_eq!(status, expected, "{body}");
    }
}
