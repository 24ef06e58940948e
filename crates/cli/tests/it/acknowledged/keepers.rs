//! Those who keep what is not a job: secrets, tokens, people, repositories, and indexes that come in parts.

use super::caller::{Caller, PAUSE};
use super::ledger::{Kind, SECRET};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::io::Write;

/// Secrets that are kept, each of which is written over again and again: few, so that it often is.
const SECRETS: u64 = 20;
/// Parts of an index.
const PARTS: usize = 3;
/// The repository of the indexes.
pub(super) const INDEXED: &str = "indexed";

/// A person's password.
pub(super) fn password(name: &str) -> String {
    format!("the-password-of-{name}")
}

impl Caller {
    /// Keeps secrets, and makes and revokes tokens.
    pub(super) async fn keep(self) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            self.keep_a_secret(&format!("{SECRET}{}", n % SECRETS)).await;
            let token = json!({"name": format!("token-{n}"), "role": "reader"});
            // Made by a call whose answer was lost, it is not shown again.
            if let Some(made) = self.make("/tokens", &token).await {
                let value = made["token"].as_str().unwrap().to_owned();
                self.ledger.made(Kind::Token, &value);
                if n % 2 == 0 {
                    self.ledger.doubt(Kind::Token, &value);
                    self.remove(&format!("/tokens/{}", made["id"])).await;
                    self.ledger.removed(Kind::Token, value);
                }
            }
            tokio::time::sleep(PAUSE * 3).await;
        }
    }

    pub(super) async fn keep_a_secret(&self, key: &str) {
        let number = self.ledger.begin(key);
        let secret = json!({"key": key, "value": format!("value-{number}")});
        while !self.has_written(key, number, self.api("PUT", "/secrets").json(&secret)).await {}
    }

    /// Lets people in, and some of them out.
    pub(super) async fn let_in(self) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let name = format!("person-{n}");
            let person = json!({"name": name, "password": password(&name), "role": "reader"});
            self.make("/users", &person).await;
            self.ledger.made(Kind::Person, &name);
            if n % 2 == 0 {
                self.ledger.doubt(Kind::Person, &name);
                self.remove(&format!("/users/{name}")).await;
                self.ledger.removed(Kind::Person, name);
            }
            // A password is slow to look at, by intention.
            tokio::time::sleep(PAUSE * 20).await;
        }
    }

    /// Adds repositories, and removes some.
    pub(super) async fn mirror(self, source: String) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let name = format!("repository-{n}");
            self.add_repository(&name, &source).await;
            if n % 2 == 0 {
                self.ledger.doubt(Kind::Repository, &name);
                self.remove(&format!("/repositories/{name}")).await;
                self.ledger.removed(Kind::Repository, name);
            }
            tokio::time::sleep(PAUSE * 10).await;
        }
    }

    pub(super) async fn add_repository(&self, name: &str, source: &str) {
        self.make("/repositories", &json!({"name": name, "source": source})).await;
        self.ledger.made(Kind::Repository, name);
    }

    /// Uploads indexes, each in parts.
    pub(super) async fn index(self, commit: String) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let parts: Vec<_> =
                (0..PARTS).map(|part| packed(&format!("part {part} of index {n}\n"))).collect();
            let about = format!("repository={INDEXED}&commit={commit}&multiPart=true&numParts={PARTS}");
            let (status, text) = self.upload(&about, &[]).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{text}");
            let begun: Value = serde_json::from_str(&text).unwrap();
            let id = begun["id"].as_str().unwrap();
            for (index, part) in parts.iter().enumerate() {
                let (status, text) = self.upload(&format!("uploadId={id}&index={index}"), part).await;
                assert_eq!(status, StatusCode::NO_CONTENT, "part {index} of upload {id}: {text}");
            }
            let (status, text) = self.upload(&format!("uploadId={id}&done=true"), &[]).await;
            assert_eq!(status, StatusCode::NO_CONTENT, "the end of upload {id}: {text}");
            self.ledger.indexed(id.parse().unwrap(), parts.concat());
            tokio::time::sleep(PAUSE * 5).await;
        }
    }

    async fn upload(&self, query: &str, body: &[u8]) -> (StatusCode, String) {
        let path = format!("/.executors/scip/upload?{query}");
        self.until_answered(|| self.shared("POST", &path).body(body.to_vec())).await
    }
}

/// A gzip member of its own: several after one another are one index.
fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}
