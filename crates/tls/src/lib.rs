//! Whom we believe when we speak TLS: certificates from the system's documented places and those that
//! somebody named besides.
//!
//! Invariant: what is named is added to what the system has and never replaces it. There is one store
//! of certificates in a process, read when the first server shows its certificate.

mod cause;
mod error;
mod mismatch;
mod places;
mod roots;
mod verifier;

pub use cause::comes_of_tls;
pub use error::CertificateError;
pub use mismatch::{Mismatch, wants_tls};
pub use places::{Certificates, Places};
pub use roots::Roots;
