//! Amazon's signatures, version 4.

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What is signed for whom.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a SecretString,
}

/// A request, as far as it is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it goes over the wire.
    pub(super) path: &'a str,
    /// Encoded, and sorted.
    pub(super) query: &'a str,
    /// Names in lower case, sorted; the host and `x-amz-date` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
    /// As in `x-amz-date`: `20150830T123600Z`.
    pub(super) at: &'a str,
}

/// The value of the header `Authorization`.
pub(super) fn authorization(request: &Signed<'_>, scope: &Scope<'_>) -> String {
    let Signed { method, path, query, headers, body, at } = request;
    let mut canonical = format!("{method}\n{path}\n{query}\n");
    for (name, value) in *headers {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        // Writing to a string can't fail.
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let _ = write!(canonical, "\n{names}\n{}", hex::encode(Sha256::digest(body)));
    let date = at.get(..8).unwrap_or_default();
    let Scope { region, service, access_key_id, secret_access_key } = scope;
    let credential = format!("{date}/{region}/{service}/aws4_request");
    let digest = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{credential}\n{digest}");
    let mut key = format!("AWS4{}", secret_access_key.expose_secret()).into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = keyed(&key, part.as_bytes());
    }
    let signature = hex::encode(keyed(&key, to_sign.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/{credential}, SignedHeaders={names}, Signature={signature}"
    )
}

fn keyed(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, method, query, headers, body and signature.
    type Vector<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

    /// From Amazon's published suite of test vectors (`aws-sig-v4-test-suite`): each request is signed with these credentials
    /// at this moment, and the signature is the suite's.
    #[test]
    fn signatures_are_those_of_the_published_test_vectors() {
        const HOST: (&str, &str) = ("host", "example.amazonaws.com");
        const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
        let secret = SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: &secret,
        };
        let form = ("content-type", "application/x-www-form-urlencoded");
        let vectors: [Vector<'_>; 5] = [
            (
                "get-vanilla",
                "GET",
                "",
                &[HOST, DATE],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "Param1=value1&Param2=value2",
                &[HOST, DATE],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-vanilla",
                "POST",
                "",
                &[HOST, DATE],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "",
                &[form, HOST, DATE],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "get-header-value-trim",
                "GET",
                "",
                &[HOST, ("my-header1", " value1"), ("my-header2", " \"a   b   c\""), DATE],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
        ];
        for (name, method, query, headers, body, signature) in vectors {
            let request = Signed { method, path: "/", query, headers, body: body.as_bytes(), at: DATE.1 };
            let header = authorization(&request, &scope);
            let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!(header, expected, "{name}");
        }
    }
}
