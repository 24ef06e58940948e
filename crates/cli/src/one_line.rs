//! Files that hold one line, which is a secret: URLs with passwords, credentials. Nothing of what is in them is told.

use crate::exit::Failure;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Bytes of such a file at most.
const MOST: u64 = 16 << 10;

/// The line in the file that `option` names; `write` says what is to be in there. White space around it counts for nothing, as
/// `echo` leaves some.
pub(crate) fn read(option: &str, path: &Path, write: &str) -> Result<String, Failure> {
    let refused = |why: String| Err(Failure::usage(format!("{option} {}: {why}", path.display())));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    if let Err(fault) = read {
        return refused(match fault.kind() {
            ErrorKind::NotFound => {
                format!("there is no such file: {write} there, readable by this user alone")
            }
            ErrorKind::PermissionDenied => format!(
                "it can't be read by this user ({}): chown it to them, mode 600, or run as the user whose it is",
                rustix::process::geteuid().as_raw()
            ),
            ErrorKind::IsADirectory => "it is a directory: name the file in it".to_owned(),
            _ => format!("it can't be read: {fault}"),
        });
    }
    if bytes.len() as u64 > MOST {
        return refused(format!("it has more than {MOST} bytes, and must hold one line: {write} there"));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return refused(format!("it is not UTF-8 text: {write} there"));
    };
    match text.trim() {
        "" => refused(format!("it is empty: {write} there")),
        line if line.lines().count() > 1 => {
            refused(format!("it holds several lines, and must hold one: {write} there and nothing else"))
        }
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_and_nothing_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        let read = || read("--x-file", &file, "write a URL").map_err(|failure| failure.message);
        let told = read().unwrap_err();
        assert!(
            told.starts_with(&format!("--x-file {}: there is no such file: write a URL", file.display()))
        );
        for (bytes, why) in [
            (&b""[..], "it is empty: write a URL there"),
            (b" \n\n", "it is empty"),
            (b"hunter2\nhunter2\n", "it holds several lines"),
            (b"hunter2\xff", "it is not UTF-8 text"),
            (&vec![b'7'; 20_000], "it has more than 16384 bytes"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let told = read().unwrap_err();
            assert!(told.contains(why) && !told.contains("hunter2") && !told.contains("777"), "{told}");
        }
        for good in ["one", "one\n", "one\r\n", "  one\n\n"] {
            std::fs::write(&file, good).unwrap();
            assert_eq!(read().as_deref(), Ok("one"), "{good:?}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(read().unwrap_err().ends_with("it is a directory: name the file in it"));
    }
}
