//! Sealing what nobody may read who has the database alone.
//!
//! Each value is sealed with a data key of its own (XChaCha20-Poly1305), and that with one of the operator's keys. So to
//! change the operator's key is to wrap small data keys anew; no value is opened for it. What a value belongs to is
//! bound to both seals: a row that was put in another one's place opens nothing.

mod keys;

pub use keys::{BadKeys, new_key_line};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use keys::{KEY_BYTES, Key, Keys};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a nonce: so many that random ones never meet.
const NONCE_BYTES: usize = 24;

/// The operator's keys as they are now. The first seals what is new; what any of them sealed can be opened.
pub struct Keyring(RwLock<Arc<Keys>>);

/// What was sealed, as it is stored.
pub(crate) struct Sealed {
    /// Which of the operator's keys seals the data key.
    pub(crate) key_id: String,
    /// The nonce and the sealed data key.
    pub(crate) data_key: Vec<u8>,
    /// The nonce and the sealed value.
    pub(crate) value: Vec<u8>,
}

/// What a sealed value belongs to, in parts: the table, the row, and whatever else must not be exchanged.
pub(crate) struct Place<'a>(pub(crate) &'a [&'a str]);

/// Why something can't be sealed or opened. Nothing of it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealFault {
    /// None of the keys has the id.
    #[error("it is sealed with the key {0:?}, which is not known here")]
    UnknownKey(String),
    /// The seal is not of this key and place, or what it holds was changed.
    #[error("its seal is broken")]
    Broken,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl Keyring {
    /// Reads keys as a file has them: `ID:KEY` in lines, KEY as 64 hexadecimal digits, the one for new values first.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        Ok(Self(RwLock::new(Arc::new(Keys::parse(text)?))))
    }

    /// The id of the key that seals what is new.
    pub fn first(&self) -> String {
        self.keys().first().id.clone()
    }

    /// Whether there is a key of that id.
    pub fn knows(&self, id: &str) -> bool {
        self.keys().find(id).is_some()
    }

    /// Whether both hold the same keys in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, others) = (self.keys(), other.keys());
        ours.ids().eq(others.ids())
            && ours.ids().all(|id| ours.find(id).zip(others.find(id)).is_some_and(|(a, b)| keys::same(a, b)))
    }

    /// Takes the keys of `other` in place of its own, for everybody who has this keyring.
    pub(crate) fn replace(&self, other: &Self) {
        let keys = other.keys();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(crate) fn seal(&self, place: &Place<'_>, value: &[u8]) -> Result<Sealed, SealFault> {
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *data_key).map_err(|_| SealFault::Random)?;
        let value = close(&data_key, &place.bound("value"), value)?;
        let (key_id, data_key) = wrap(self.keys().first(), place, &data_key)?;
        Ok(Sealed { key_id, data_key, value })
    }

    pub(crate) fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        let data_key = self.data_key(place, &sealed.key_id, &sealed.data_key)?;
        open(&data_key, &place.bound("value"), &sealed.value)
    }

    /// The data key wrapped anew, and with which key; `None` where that is the first one already.
    pub(crate) fn wrap_anew(
        &self,
        place: &Place<'_>,
        key_id: &str,
        data_key: &[u8],
    ) -> Result<Option<(String, Vec<u8>)>, SealFault> {
        if self.keys().first().id == key_id {
            return Ok(None);
        }
        let data_key = self.data_key(place, key_id, data_key)?;
        wrap(self.keys().first(), place, &data_key).map(Some)
    }

    fn data_key(
        &self,
        place: &Place<'_>,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealFault> {
        let keys = self.keys();
        let key = keys.find(key_id).ok_or_else(|| SealFault::UnknownKey(key_id.to_owned()))?;
        let opened = open(key.secret.expose_secret(), &place.bound_key(key_id), sealed)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        if opened.len() != KEY_BYTES {
            return Err(SealFault::Broken);
        }
        data_key.copy_from_slice(&opened);
        Ok(data_key)
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the ids alone.
impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.keys().ids()).finish()
    }
}

impl Place<'_> {
    /// Its parts and a last one, each after its length, so that no two lists of parts are the same bytes.
    fn bound(&self, last: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.0.iter().chain([&last]) {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }

    /// The same for a data key. No id of a key has a blank, so that no key is ever taken for a value.
    fn bound_key(&self, id: &str) -> Vec<u8> {
        self.bound(&format!("key {id}"))
    }
}

fn wrap(key: &Key, place: &Place<'_>, data_key: &[u8; KEY_BYTES]) -> Result<(String, Vec<u8>), SealFault> {
    let wrapped = close(key.secret.expose_secret(), &place.bound_key(&key.id), data_key)?;
    Ok((key.id.clone(), wrapped))
}

/// A new nonce and the sealed text.
fn close(key: &[u8; KEY_BYTES], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, SealFault> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| SealFault::Random)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    // Fails only for more bytes than a machine has.
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg, aad }).map_err(|_| SealFault::Broken)?;
    Ok([&nonce[..], &sealed].concat())
}

fn open(key: &[u8; KEY_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealFault> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealFault::Broken)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad });
    opened.map(Zeroizing::new).map_err(|_| SealFault::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring_of(ids: &str) -> Keyring {
        let line = |id: char| format!("{id}:{}", format!("{:02x}", id as u8).repeat(32));
        Keyring::parse(&ids.chars().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    const PLACE: Place<'static> = Place(&["table", "7", "KEY"]);

    #[test]
    fn what_was_sealed_opens_at_its_place_and_nowhere_else() {
        let ring = ring_of("a");
        let sealed = ring.seal(&PLACE, b"hunter2").unwrap();
        assert_eq!(&**ring.open(&PLACE, &sealed).unwrap(), b"hunter2");
        for other in
            [&["table", "8", "KEY"][..], &["table", "7K", "EY"], &["table", "7"], &["table", "7", "KEY", ""]]
        {
            assert_eq!(ring.open(&Place(other), &sealed).err(), Some(SealFault::Broken), "{other:?}");
        }
        let again = ring.seal(&PLACE, b"hunter2").unwrap();
        assert!(again.value != sealed.value && again.data_key != sealed.data_key);
    }

    #[test]
    fn a_changed_bit_anywhere_opens_nothing() {
        let ring = ring_of("a");
        let sealed = || ring.seal(&PLACE, b"hunter2").unwrap();
        let whole = sealed();
        for at in 0..whole.value.len() {
            let mut value = whole.value.clone();
            value[at] ^= 1;
            let changed = Sealed { value, key_id: "a".to_owned(), data_key: whole.data_key.clone() };
            assert_eq!(ring.open(&PLACE, &changed).err(), Some(SealFault::Broken));
        }
        for at in 0..whole.data_key.len() {
            let mut data_key = whole.data_key.clone();
            data_key[at] ^= 1;
            let changed = Sealed { data_key, key_id: "a".to_owned(), value: whole.value.clone() };
            assert_eq!(ring.open(&PLACE, &changed).err(), Some(SealFault::Broken));
        }
        // The data key of one value opens no other one, even at the same place.
        let mixed = Sealed { value: sealed().value, ..whole };
        assert_eq!(ring.open(&PLACE, &mixed).err(), Some(SealFault::Broken));
        for short in [0, 23, 24, 39] {
            let cut = Sealed { value: vec![0; short], ..sealed() };
            assert_eq!(ring.open(&PLACE, &cut).err(), Some(SealFault::Broken));
        }
    }

    #[test]
    fn a_new_key_takes_over_without_a_value_being_opened() {
        let ring = ring_of("a");
        let mut sealed = ring.seal(&PLACE, b"hunter2").unwrap();
        assert_eq!(ring.wrap_anew(&PLACE, "a", &sealed.data_key), Ok(None));
        ring.replace(&ring_of("ba"));
        assert_eq!(&**ring.open(&PLACE, &sealed).unwrap(), b"hunter2", "the older key is still known");
        (sealed.key_id, sealed.data_key) = ring.wrap_anew(&PLACE, "a", &sealed.data_key).unwrap().unwrap();
        ring.replace(&ring_of("b"));
        assert_eq!(&**ring.open(&PLACE, &sealed).unwrap(), b"hunter2", "and not needed any more");
        ring.replace(&ring_of("c"));
        assert_eq!(ring.open(&PLACE, &sealed).err(), Some(SealFault::UnknownKey("b".to_owned())));
        assert_eq!(format!("{ring:?}"), "[\"c\"]");
    }

    #[test]
    fn another_key_under_the_same_id_is_told_from_the_first() {
        let sealed = ring_of("a").seal(&PLACE, b"hunter2").unwrap();
        let other = Keyring::parse(&format!("a:{}", "00".repeat(32))).unwrap();
        assert_eq!(other.open(&PLACE, &sealed).err(), Some(SealFault::Broken));
        assert!(
            !other.is_same(&ring_of("a"))
                && ring_of("ab").is_same(&ring_of("ab"))
                && !ring_of("ab").is_same(&ring_of("ba"))
        );
    }
}
