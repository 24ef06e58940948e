//! `executor server openapi`: the public API as a document.

use super::print;
use crate::exit::{Exit, Outcome};

/// Prints it.
pub(crate) fn run() -> Outcome {
    print::line(text().trim_end())?;
    Ok(Exit::Success)
}

fn text() -> String {
    format!("{:#}\n", server::openapi(env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_that_is_kept_is_the_one_that_is_served() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            written == super::text(),
            "docs/reference/openapi.json is out of date: write it anew with \
             `executor server openapi > docs/reference/openapi.json`"
        );
    }
}
