//! Making, keeping and comparing secrets.

use crate::error::ServerError;
use crate::private_files;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Characters that a secret of ours has at least.
const MIN_CHARACTERS: usize = 20;

/// 32 random bytes as hex digits.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|fault| io::Error::other(fault.to_string()))?;
    Ok(hex::encode(bytes))
}

/// Whether `presented` is `expected`. Takes the same time wherever they differ, and whatever their
/// lengths are: only the digests are compared.
pub(crate) fn same(expected: &SecretString, presented: &str) -> bool {
    let expected = Sha256::digest(expected.expose_secret().as_bytes());
    let presented = Sha256::digest(presented.as_bytes());
    expected.ct_eq(&presented).into()
}

/// Reads the API token, after writing a new one if there is none.
pub(crate) fn open_api_token(path: &Path) -> Result<SecretString, ServerError> {
    let file = |source| ServerError::File { path: path.to_owned(), source };
    if !path.try_exists().map_err(file)? {
        let token = random_hex().map_err(file)?;
        private_files::write_new_private(path, &format!("{token}\n")).map_err(file)?;
        tracing::info!(file = %path.display(), "wrote a new API token");
    }
    private_files::warn_if_readable_by_others(path);
    let text = std::fs::read_to_string(path).map_err(file)?;
    let token = text.trim();
    if token.len() < MIN_CHARACTERS {
        return Err(ServerError::ApiToken { path: path.to_owned() });
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_whole_secret_is_the_same() {
        let secret = SecretString::from("abcdefghijklmnopqrst");
        assert!(same(&secret, "abcdefghijklmnopqrst"));
        for other in ["", "abcdefghijklmnopqrs", "abcdefghijklmnopqrstu", "ABCDEFGHIJKLMNOPQRST"] {
            assert!(!same(&secret, other), "{other}");
        }
    }

    #[test]
    fn the_api_token_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-token");
        let first = open_api_token(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open_api_token(&path).unwrap().expose_secret(), first.expose_secret());
        std::fs::write(&path, "short\n").unwrap();
        assert!(open_api_token(&path).unwrap_err().to_string().contains("delete the file"));
    }
}
