//! Telling a failure of TLS from others.

use std::error::Error;
use std::io;

/// Whether an error comes of the two sides not agreeing on TLS, above all on a certificate. HTTP clients
/// tell such as connections that could not be made.
pub fn comes_of_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error that wraps another names the other's cause, not the other.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|wrapped| comes_of_tls(wrapped))
        || error.source().is_some_and(comes_of_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_however_deep() {
        let tls = || rustls::Error::General("no".to_owned());
        assert!(comes_of_tls(&tls()));
        assert!(comes_of_tls(&io::Error::other(io::Error::other(tls()))));
        assert!(!comes_of_tls(&io::Error::other("connection refused")));
        assert!(!comes_of_tls(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
