//! Lists of which only so much is read.

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// A list of which `MOST` items are read, and those beyond only counted: a body can hold many more items than there is memory for,
/// once each is a value. What is to be done about a list that is longer is said by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded<T, const MOST: usize> {
    /// As many as are read.
    pub items: Vec<T>,
    /// How many more there were.
    pub beyond: usize,
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

struct Reader<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut beyond) = (Vec::new(), 0);
        while items.len() < MOST {
            let Some(item) = list.next_element()? else { return Ok(Bounded { items, beyond }) };
            items.push(item);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            beyond += 1;
        }
        Ok(Bounded { items, beyond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_is_counted_and_not_read() {
        let read = |text| serde_json::from_str::<Bounded<u8, 2>>(text);
        for (text, items, beyond) in
            [("[]", vec![], 0), ("[1,2]", vec![1, 2], 0), (r#"[1,2,"three",{}]"#, vec![1, 2], 2)]
        {
            assert_eq!(read(text).unwrap(), Bounded { items, beyond }, "{text}");
        }
        for (text, why) in [("7", "a list of at most 2 items"), (r#"["one"]"#, "u8"), ("[1,2,3", "EOF")] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
