//! Header names and the two authentication schemes.

/// Carries the job's id on every call that is made with a job token.
pub const JOB_ID: &str = "X-Sourcegraph-Job-ID";
/// Carries the executor's name on every call that is made with a job token.
pub const EXECUTOR_NAME: &str = "X-Sourcegraph-Executor-Name";
/// Sent with git traffic; its value is always [`ACTOR_INTERNAL`].
pub const ACTOR_UID: &str = "X-Sourcegraph-Actor-UID";
/// The only value of [`ACTOR_UID`].
pub const ACTOR_INTERNAL: &str = "internal";

/// Request header of an upload: bytes of the index before compression, as a decimal number. Optional.
pub const UNCOMPRESSED_SIZE: &str = "X-Uncompressed-Size";

/// What an `Authorization` header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// `token-executor <shared secret>`: the executor itself.
    Shared(&'a str),
    /// `Bearer <job token>`: one job.
    Job(&'a str),
}

/// Why an `Authorization` header can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthorization {
    /// No header, or an empty one.
    #[error("no token value in the HTTP Authorization request header")]
    Missing,
    /// Not exactly two parts.
    #[error("malformed HTTP Authorization request header")]
    Malformed,
    /// Two parts, but the first is neither scheme.
    #[error("unrecognized HTTP Authorization request header scheme")]
    UnknownScheme,
}

impl<'a> Credentials<'a> {
    /// Reads the value of an `Authorization` header.
    pub fn parse(value: Option<&'a str>) -> Result<Self, BadAuthorization> {
        let value = value.unwrap_or_default().trim();
        if value.is_empty() {
            return Err(BadAuthorization::Missing);
        }
        let mut parts = value.split_ascii_whitespace();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(scheme), Some(token), None) => match scheme {
                "token-executor" => Ok(Self::Shared(token)),
                "Bearer" => Ok(Self::Job(token)),
                _ => Err(BadAuthorization::UnknownScheme),
            },
            _ => Err(BadAuthorization::Malformed),
        }
    }

    /// The header value for these credentials. It holds the secret: never log it.
    pub fn to_header(self) -> String {
        match self {
            Self::Shared(token) => format!("token-executor {token}"),
            Self::Job(token) => format!("Bearer {token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_round_trip() {
        for credentials in [Credentials::Shared("s3cret"), Credentials::Job("abc")] {
            let header = credentials.to_header();
            assert_eq!(Credentials::parse(Some(&header)), Ok(credentials));
        }
    }

    #[test]
    fn each_fault_has_its_own_name() {
        use BadAuthorization::{Malformed, Missing, UnknownScheme};
        for (value, fault) in [
            (None, Missing),
            (Some(""), Missing),
            (Some("Bearer"), Malformed),
            (Some("Bearer a b"), Malformed),
            (Some("Basic abc"), UnknownScheme),
        ] {
            assert_eq!(Credentials::parse(value), Err(fault), "{value:?}");
        }
    }
}
