//! The little randomness an agent needs.

use std::time::Duration;

/// Random bytes from the system. Without any, which no supported system knows, there is no safe
/// way to go on.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// `duration`, at random up to a tenth shorter or longer, so that a fleet does not march in step.
pub(crate) fn about(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fraction())
}

/// A number in `[0, 1)`.
pub(crate) fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_stays_within_a_tenth() {
        for _ in 0..1_000 {
            let seen = about(Duration::from_secs(10)).as_secs_f64();
            assert!((9.0..11.0).contains(&seen), "{seen}");
        }
    }
}
