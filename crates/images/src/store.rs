//! The content-addressed store.
/// The content-addressed store of images.
#[derive(Debug)]
pub struct ImageStore {}
