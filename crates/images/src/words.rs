//! What is told of input: our own words about it, and of its bytes only names, printable and short.
//!
//! Libraries quote what they read. Who names a file that is no image must not find its text in a message,
//! and what a registry sends must not draw on anybody's terminal.

use crate::ImageError;
use std::error::Error;
use std::io;

/// Characters of a name that are passed on.
pub(crate) const NAME: usize = 200;

/// Printable and short: it goes into logs.
pub(crate) fn shown(text: &str, characters: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(characters).collect()
}

/// What a JSON document is refused for.
pub(crate) fn of_json(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("it ends too early, at line {line} column {column}"),
        Category::Syntax => format!("it is no JSON at line {line} column {column}"),
        Category::Data => {
            format!("a value is missing, or is not of the kind it must be, at line {line} column {column}")
        }
        Category::Io => "it could not be read".to_owned(),
    }
}

/// What a compressed or archived stream is refused for.
pub(crate) fn of_stream(error: &io::Error) -> String {
    if let Some(own) = own_words(error) {
        return own;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early",
        io::ErrorKind::ConnectionAborted => "the download was given up",
        _ => "it breaks the rules of its format",
    }
    .to_owned()
}

/// Of what the operating system or we said ourselves below all that decoders said about it.
fn own_words(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(own) = error.downcast_ref::<ImageError>() {
        return Some(own.to_string());
    }
    let within = match error.downcast_ref::<io::Error>() {
        Some(io) => match io.raw_os_error() {
            Some(code) => return Some(io::Error::from_raw_os_error(code).to_string()),
            None => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        },
        None => error.source(),
    };
    own_words(within?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stream_nothing_of_its_text_is_told() {
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, io::Error::other("root:x:0\n\u{1b}[31m"));
        assert_eq!(of_stream(&wrapped), "it breaks the rules of its format");
        assert_eq!(of_stream(&io::ErrorKind::UnexpectedEof.into()), "it ends too early");
        let disk = io::Error::other(io::Error::from_raw_os_error(5));
        assert!(of_stream(&disk).contains("os error 5"), "what the disk says is told: {disk}");
        let own = io::Error::other(io::Error::other(ImageError::too_large("it", "1 byte")));
        assert!(of_stream(&own).contains("limit of 1 byte"), "what we said ourselves is told");
    }

    #[test]
    fn of_a_document_the_place_is_told_and_nothing_else() {
        for (text, part) in [
            ("[1", "ends too early"),
            ("[1,\n secret]", "no JSON at line 2"),
            ("[\"secret\\nvalue\"]", "line 1 column"),
        ] {
            let error = serde_json::from_str::<Vec<u8>>(text).expect_err(text);
            let told = of_json(&error);
            assert!(told.contains(part) && !told.contains("secret"), "{told}");
        }
    }
}
