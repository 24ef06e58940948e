//! What can go wrong with an image.

/// An image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference can't be read.
    #[error("invalid image reference {value:?}: {rule}")]
    BadReference {
        /// What was given.
        value: String,
        /// The rule it breaks.
        rule: String,
    },
}
