//! What pages are made of besides HTML. The digest of its content is in the path of each, so browsers may keep it.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// One of them.
pub(super) struct Asset {
    kind: &'static str,
    content: &'static str,
    /// Where it is.
    pub(super) path: LazyLock<String>,
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            kind: $kind,
            content: include_str!(concat!("assets/", $name)),
            path: LazyLock::new(|| {
                let digest = Sha256::digest(include_str!(concat!("assets/", $name)));
                format!("/assets/{}/{}", &hex::encode(digest)[..16], $name)
            }),
        }
    };
}

pub(super) static STYLE: Asset = asset!("style.css", "text/css; charset=utf-8");
pub(super) static LIVE: Asset = asset!("live.js", "text/javascript; charset=utf-8");
pub(super) static LOG: Asset = asset!("log.js", "text/javascript; charset=utf-8");
pub(super) static ICON: Asset = asset!("icon.svg", "image/svg+xml");

static ALL: [&Asset; 4] = [&STYLE, &LIVE, &LOG, &ICON];

/// `GET /assets/{digest}/{name}`
pub(super) async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let path = format!("/assets/{digest}/{name}");
    match ALL.into_iter().find(|asset| *asset.path == path) {
        Some(asset) => asset.answer("public, max-age=31536000, immutable"),
        None => (StatusCode::NOT_FOUND, "there is no such file: reload the page\n").into_response(),
    }
}

/// `GET /favicon.ico`, which browsers ask for whatever a page says.
pub(super) async fn icon() -> Response {
    ICON.answer("public, max-age=86400")
}

impl Asset {
    fn answer(&self, kept: &'static str) -> Response {
        ([(CONTENT_TYPE, self.kind), (CACHE_CONTROL, kept)], self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_there_is_served_and_under_its_digest() {
        for asset in ALL {
            let (_, below) = asset.path.split_once("/assets/").unwrap();
            let (digest, name) = below.split_once('/').unwrap();
            let found = serve(Path((digest.to_owned(), name.to_owned()))).await;
            assert_eq!(found.status(), 200, "{name}");
            let stale = serve(Path(("0".repeat(16), name.to_owned()))).await;
            assert_eq!(stale.status(), 404, "{name}");
        }
    }

    #[test]
    fn modules_make_no_elements_out_of_text() {
        for asset in [&LIVE, &LOG] {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
            {
                assert!(!asset.content.contains(word), "{word} in {}", *asset.path);
            }
        }
    }
}
