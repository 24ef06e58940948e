//! The operator's keys: what they look like in a file, and the one that new values are sealed with.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use std::collections::BTreeSet;
use std::fmt;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Keys in a file at most: one is used, and those before it for as long as something is sealed with them.
const MAX_KEYS: usize = 16;
/// Bytes of the id of a key at most.
const MAX_ID: usize = 32;

/// A key that values may be sealed with.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: SecretBox<[u8; KEY_BYTES]>,
}

/// The keys that are known, the one for new values first.
pub(super) struct Keys(Vec<Key>);

/// What is wrong with a list of keys. Nothing of a key is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// There is none.
    #[error("it holds no key: write ID:KEY, KEY as `openssl rand -hex 32` makes one")]
    None,
    /// A line is no key.
    #[error(
        "its line {0} is no key: write ID:KEY, ID of up to {MAX_ID} letters, digits, '.', '_' and '-', KEY as \
         `openssl rand -hex 32` makes one"
    )]
    Line(usize),
    /// Which of the two counts nobody could say.
    #[error("the id {0:?} is there twice: give each key an id of its own, and never that of another one")]
    Twice(String),
    /// There are more than anybody needs.
    #[error("it holds more than {MAX_KEYS} keys: remove those that nothing is sealed with")]
    TooMany,
}

impl Keys {
    /// Reads `ID:KEY` from each line that is neither empty nor begins with `#`; commas part keys in a line.
    pub(super) fn parse(text: &str) -> Result<Self, BadKeys> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
        let texts = lines.flat_map(|(at, line)| line.split(',').map(move |text| (at, text.trim())));
        let texts = texts.filter(|(_, text)| !text.is_empty());
        let keys: Vec<Key> =
            texts.map(|(at, text)| key(text).ok_or(BadKeys::Line(at + 1))).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !seen.insert(key.id.as_str())) {
            return Err(BadKeys::Twice(twice.id.clone()));
        }
        match keys.len() {
            0 => Err(BadKeys::None),
            1..=MAX_KEYS => Ok(Self(keys)),
            _ => Err(BadKeys::TooMany),
        }
    }

    /// The one that new values are sealed with.
    pub(super) fn first(&self) -> &Key {
        &self.0[0]
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }
}

fn key(line: &str) -> Option<Key> {
    let (id, digits) = line.split_once(':')?;
    let (id, digits) = (id.trim(), digits.trim());
    let id_fits = (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(digits, &mut *bytes).ok()?;
    let secret = SecretBox::init_with_mut(|secret: &mut [u8; KEY_BYTES]| *secret = *bytes);
    id_fits.then(|| Key { id: id.to_owned(), secret })
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.id)
    }
}

/// A new key as a line of a file: a random one under a random id.
pub fn new_key_line() -> Result<(String, Zeroizing<String>), getrandom::Error> {
    let (mut id, mut key) = ([0; 4], Zeroizing::new([0; KEY_BYTES]));
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut *key)?;
    let id = format!("k-{}", hex::encode(id));
    let digits = Zeroizing::new(hex::encode(*key));
    let line = Zeroizing::new(format!("{id}:{}", *digits));
    Ok((id, line))
}

/// That two lists hold the same key under an id.
pub(super) fn same(one: &Key, other: &Key) -> bool {
    one.id == other.id && one.secret.expose_secret() == other.secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        Keys::parse(text).err().unwrap().to_string()
    }

    #[test]
    fn the_first_key_is_for_what_is_new_and_the_others_are_known() {
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        for text in
            [format!("# rotated in May, before June\n\n b : {two} \na:{one}\n"), format!("b:{two},a:{one}")]
        {
            let keys = Keys::parse(&text).unwrap();
            assert_eq!(keys.first().id, "b");
            assert_eq!(keys.find("a").unwrap().secret.expose_secret(), &[0x11; 32]);
            assert!(keys.find("c").is_none());
        }
    }

    #[test]
    fn what_is_no_key_is_told_by_its_line_and_never_shown() {
        let key = "1f".repeat(32);
        assert!(told("# none\n").contains("no key: write ID:KEY"));
        for bad in [&key[..], &format!("a:{}", &key[1..]), &format!("a b:{key}"), &format!(":{key}"), "a:xyz"]
        {
            let told = told(&format!("ok:{key}\n\n{bad}\n"));
            assert!(told.starts_with("its line 3 is no key") && !told.contains("1f1f"), "{told}");
        }
        assert!(told(&format!("a:{key}\na:{}", "22".repeat(32))).contains("\"a\" is there twice"));
        let many: Vec<_> = (0..17).map(|n| format!("k{n}:{key}")).collect();
        assert!(told(&many.join("\n")).contains("more than 16"));
    }

    #[test]
    fn a_new_key_is_a_line_that_can_be_read_and_no_other_one() {
        let (id, line) = new_key_line().unwrap();
        let (other, _) = new_key_line().unwrap();
        assert_eq!(Keys::parse(&line).unwrap().first().id, id);
        assert_ne!(id, other);
        assert!(!format!("{:?}", Keys::parse(&line).unwrap().first()).contains(&line[12..]));
    }
}
