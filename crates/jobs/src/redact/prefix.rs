//! What of a long needle the end of a buffer may have begun, in time that grows with the buffer only.

/// A needle with its table of borders (Knuth, Morris and Pratt): for each prefix, the length of the
/// longest shorter prefix that it also ends with.
pub(super) struct LongNeedle {
    needle: Box<[u8]>,
    borders: Box<[u32]>,
}

impl LongNeedle {
    pub(super) fn new(needle: &[u8]) -> Self {
        let mut made = Self { needle: needle.into(), borders: vec![0; needle.len()].into() };
        let mut begun = 0;
        for (at, byte) in needle.iter().enumerate().skip(1) {
            begun = made.step(begun, *byte);
            made.borders[at] = begun as u32;
        }
        made
    }

    /// The longest end of `buffer` that begins the needle and is not all of it.
    pub(super) fn begun_at_end_of(&self, buffer: &[u8]) -> usize {
        let window = buffer.len().min(self.needle.len() - 1);
        buffer[buffer.len() - window..].iter().fold(0, |begun, byte| self.step(begun, *byte))
    }

    /// How much of the needle is begun after one more byte, when `begun` bytes were before it.
    fn step(&self, mut begun: usize, byte: u8) -> usize {
        while begun > 0 && self.needle[begun] != byte {
            begun = self.borders[begun - 1] as usize;
        }
        if self.needle[begun] == byte { begun + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_end_is_found_as_by_trying_every_place(needle in "[ab]{2,12}", buffer in "[ab]{0,30}") {
            let (needle, buffer) = (needle.as_bytes(), buffer.as_bytes());
            let places = buffer.len().saturating_sub(needle.len() - 1)..buffer.len();
            let tried = places.map(|at| &buffer[at..]).find(|end| needle.starts_with(end)).map_or(0, <[u8]>::len);
            prop_assert_eq!(LongNeedle::new(needle).begun_at_end_of(buffer), tried);
        }
    }
}
