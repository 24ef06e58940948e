//! Signing in where nobody has an account yet: with a code that was printed to the terminal the server was started at.

use super::secret::random_hex;
use sha2::{Digest, Sha256};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a code is good.
const GOOD_FOR: Duration = Duration::from_mins(10);

/// The code that is good now, if there is one: its digest, and until when. It is good once.
#[derive(Default)]
pub(crate) struct FirstCode(Mutex<Option<([u8; 32], Instant)>>);

impl FirstCode {
    /// A new code, in place of the one before.
    pub(crate) fn make(&self) -> io::Result<String> {
        self.make_at(Instant::now())
    }

    fn make_at(&self, now: Instant) -> io::Result<String> {
        let code = random_hex()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Sha256::digest(&code).into(), now + GOOD_FOR));
        Ok(code)
    }

    /// Whether `shown` is the code; if so, it is good no longer.
    pub(crate) fn take(&self, shown: &str) -> bool {
        self.take_at(Instant::now(), shown)
    }

    fn take_at(&self, now: Instant, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let mut code = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = code.is_some_and(|(digest, until)| now < until && bool::from(digest.ct_eq(&shown)));
        if good {
            *code = None;
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_ten_minutes() {
        let codes = FirstCode::default();
        let now = Instant::now();
        assert!(!codes.take_at(now, ""));
        let code = codes.make_at(now).unwrap();
        assert!(!codes.take_at(now, &code[1..]));
        assert!(!codes.take_at(now + GOOD_FOR, &code), "it is over");
        assert!(codes.take_at(now, &code));
        assert!(!codes.take_at(now, &code), "it was used");
        let older = codes.make_at(now).unwrap();
        let newer = codes.make_at(now).unwrap();
        assert!(!codes.take_at(now, &older) && codes.take_at(now, &newer));
    }
}
