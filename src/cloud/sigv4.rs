//! AWS signatures, version 4 (pure). They prove who sends a request without including the secret
//! key.
//!
//! Source: "Create a signed AWS API request",
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>.

use std::time::SystemTime;

use ring::{digest, hmac};

use crate::date::rfc3339;
use crate::error::Error;
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The credentials that AWS gave to the signer.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Identifies the key.
    pub access_key_id: Secret,
    /// The secret key.
    pub secret_access_key: Secret,
    /// Accompanies every temporary key.
    pub session_token: Option<Secret>,
}

/// What a signature is valid for, besides the day.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `us-east-1`
    pub region: &'a str,
    /// `sts`
    pub service: &'a str,
}

/// The request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST`
    pub method: &'a str,
    /// The path from the first `/` on, percent-encoded.
    pub path: &'a str,
    /// The query without its `?`, percent-encoded and ordered by name.
    pub query: &'a str,
    /// All headers that the signature covers, including `Host`, in any order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body as it will be sent.
    pub body: &'a [u8],
}

/// Signs a request and returns the headers to add: `X-Amz-Date`, `X-Amz-Security-Token` if there is
/// one, and `Authorization`. Whoever has all three can send the request for a while, so all of them
/// are secrets.
///
/// # Errors
/// 78 if the clock is before 1970 or after the year 9999.
pub fn sign(
    request: &Request<'_>,
    credentials: &Credentials,
    scope: Scope<'_>,
    time: SystemTime,
) -> Result<Vec<(&'static str, Secret)>, Error> {
    let (day, time) = compact(time)?;
    let mut added = vec![("X-Amz-Date", Secret::from(time.as_str()))];
    added.extend(
        credentials.session_token.iter().map(|token| ("X-Amz-Security-Token", token.clone())),
    );
    let headers = canonical(request.headers, &added);
    let names = names(&headers);
    let parts = [day.as_str(), scope.region, scope.service, "aws4_request"];
    let credential = parts.join("/");
    let content = hash(whole(request, &headers, &names).expose());
    let text = [ALGORITHM, &time, &credential, &content].join("\n");
    let signature = mac(&derived(&credentials.secret_access_key, parts), text.as_bytes());
    let rest =
        ["/", &credential, ", SignedHeaders=", &names, ", Signature=", &hex(signature.expose())]
            .concat();
    let id = credentials.access_key_id.expose();
    let authorization = [ALGORITHM.as_bytes(), b" Credential=", id, rest.as_bytes()].concat();
    added.push(("Authorization", Secret::from(authorization)));
    Ok(added)
}

/// Returns the day and the time, as in `20150830` and `20150830T123600Z`: RFC 3339 without
/// punctuation.
fn compact(time: SystemTime) -> Result<(String, String), Error> {
    let mut text = rfc3339(time).ok_or_else(|| {
        Error::config("this machine's clock has no date that a request could be signed with")
    })?;
    text.retain(|sign| sign.is_ascii_alphanumeric());
    let day = text.split_once('T').map(|(day, _)| day.to_owned());
    Ok((day.ok_or_else(|| Error::internal("a date without a day"))?, text))
}

/// Returns the headers sorted by their lower-case names. Runs of white space in a value become one
/// space, and values of the same name are joined with commas.
fn canonical(given: &[(&str, &str)], added: &[(&str, Secret)]) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for (name, value) in given {
        put(&mut headers, name, value.as_bytes());
    }
    for (name, value) in added {
        put(&mut headers, name, value.expose());
    }
    headers
}

/// Inserts a header. There are few headers, so a map would gain nothing.
fn put(headers: &mut Vec<(String, Secret)>, name: &str, value: &[u8]) {
    let name = name.to_ascii_lowercase();
    let words: Vec<&[u8]> =
        value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let value = words.join(&b' ');
    let at = headers.iter().position(|(known, _)| *known >= name).unwrap_or(headers.len());
    match headers.get_mut(at) {
        Some((known, values)) if *known == name => {
            *values = Secret::from([values.expose(), b",", &value].concat());
        }
        _ => headers.insert(at, (name, Secret::from(value))),
    }
}

fn names(headers: &[(String, Secret)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// Returns the request in the canonical form that both sides hash.
fn whole(request: &Request<'_>, headers: &[(String, Secret)], names: &str) -> Secret {
    let mut text = [request.method, request.path, request.query, ""].join("\n").into_bytes();
    for (name, value) in headers {
        text.extend([name.as_bytes(), b":", value.expose(), b"\n"].concat());
    }
    text.extend(["\n", names, "\n", &hash(request.body)].concat().into_bytes());
    Secret::from(text)
}

/// Returns the key for one day, region and service.
fn derived(secret_access_key: &Secret, parts: [&str; 4]) -> Secret {
    let start = Secret::from([b"AWS4", secret_access_key.expose()].concat());
    parts.iter().fold(start, |key, part| mac(&key, part.as_bytes()))
}

/// Returns a MAC. What this keeps is on the heap, which is wiped. ring leaves parts of its work on
/// the stack: of the key only its combination with a constant, and the result, which for a derived
/// key is that key.
fn mac(key: &Secret, message: &[u8]) -> Secret {
    let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    Secret::from(hmac::sign(&key, message).as_ref().to_vec())
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of AWS's test suite, `tests/aws-signing-test-suite/v4` of
    /// <https://github.com/awslabs/aws-c-auth>. Path and query are those of its canonical request.
    struct Case {
        name: &'static str,
        line: [&'static str; 3],
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
        token: Option<&'static str>,
        signed: &'static str,
        signature: &'static str,
    }

    const CASES: [Case; 23] = [
        Case {
            name: "get-vanilla",
            line: ["GET", "/", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        },
        Case {
            name: "get-header-key-duplicate",
            line: ["GET", "/", ""],
            headers: &[
                ("My-Header1", "value2"),
                ("My-Header1", "value2"),
                ("My-Header1", "value1"),
            ],
            body: "",
            token: None,
            signed: "host;my-header1;x-amz-date",
            signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        },
        Case {
            name: "get-header-value-multiline",
            line: ["GET", "/", ""],
            headers: &[("My-Header1", "value1\n  value2\n     value3")],
            body: "",
            token: None,
            signed: "host;my-header1;x-amz-date",
            signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        },
        Case {
            name: "get-header-value-order",
            line: ["GET", "/", ""],
            headers: &[
                ("My-Header1", "value4"),
                ("My-Header1", "value1"),
                ("My-Header1", "value3"),
                ("My-Header1", "value2"),
            ],
            body: "",
            token: None,
            signed: "host;my-header1;x-amz-date",
            signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        },
        Case {
            name: "get-header-value-trim",
            line: ["GET", "/", ""],
            headers: &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            body: "",
            token: None,
            signed: "host;my-header1;my-header2;x-amz-date",
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        },
        Case {
            name: "get-relative-unnormalized",
            line: ["GET", "/example/..", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282",
        },
        Case {
            name: "get-slashes-unnormalized",
            line: ["GET", "//example//", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
        },
        Case {
            name: "get-space-unnormalized",
            line: ["GET", "/example%20space/", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        },
        Case {
            name: "get-unreserved",
            line: [
                "GET",
                "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                "",
            ],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        },
        Case {
            name: "get-utf8",
            line: ["GET", "/%E1%88%B4", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        },
        Case {
            name: "get-vanilla-empty-query-key",
            line: ["GET", "/", "Param1=value1"],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        },
        Case {
            name: "get-vanilla-query-order-encoded",
            line: ["GET", "/", "%E1%88%B4=Value1&Param=Value2&Param-3=Value3"],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        },
        Case {
            name: "get-vanilla-query-order-key-case",
            line: ["GET", "/", "Param1=value1&Param2=value2"],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        },
        Case {
            name: "get-vanilla-query-unreserved",
            line: [
                "GET",
                "/",
                concat!(
                    "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNO",
                    "PQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                ),
            ],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        },
        Case {
            name: "get-vanilla-utf8-query",
            line: ["GET", "/", "%E1%88%B4=bar"],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        },
        Case {
            name: "get-vanilla-with-session-token",
            line: ["GET", "/", ""],
            headers: &[],
            body: "",
            token: Some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
            signed: "host;x-amz-date;x-amz-security-token",
            signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        },
        Case {
            name: "post-header-key-sort",
            line: ["POST", "/", ""],
            headers: &[("My-Header1", "value1")],
            body: "",
            token: None,
            signed: "host;my-header1;x-amz-date",
            signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        },
        Case {
            name: "post-header-value-case",
            line: ["POST", "/", ""],
            headers: &[("My-Header1", "VALUE1")],
            body: "",
            token: None,
            signed: "host;my-header1;x-amz-date",
            signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        },
        Case {
            name: "post-sts-header-before",
            line: ["POST", "/", ""],
            headers: &[],
            body: "",
            token: Some(concat!(
                "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo",
                "IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5V",
                "SXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yj",
                "c8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
            )),
            signed: "host;x-amz-date;x-amz-security-token",
            signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        },
        Case {
            name: "post-vanilla",
            line: ["POST", "/", ""],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        },
        Case {
            name: "post-vanilla-query",
            line: ["POST", "/", "Param1=value1"],
            headers: &[],
            body: "",
            token: None,
            signed: "host;x-amz-date",
            signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        },
        Case {
            name: "post-x-www-form-urlencoded",
            line: ["POST", "/", ""],
            headers: &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", "13"),
                (
                    "x-amz-content-sha256",
                    "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
                ),
            ],
            body: "Param1=value1",
            token: None,
            signed: "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        },
        Case {
            name: "post-x-www-form-urlencoded-parameters",
            line: ["POST", "/", ""],
            headers: &[
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("Content-Length", "13"),
                (
                    "x-amz-content-sha256",
                    "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
                ),
            ],
            body: "Param1=value1",
            token: None,
            signed: "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        },
    ];

    fn signed(case: &Case) -> Vec<(&'static str, Secret)> {
        let [method, path, query] = case.line;
        let host = [("Host", "example.amazonaws.com")];
        let headers = [&host, case.headers].concat();
        let request =
            Request { method, path, query, headers: &headers, body: case.body.as_bytes() };
        let credentials = Credentials {
            access_key_id: Secret::from("AKIDEXAMPLE"),
            secret_access_key: Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: case.token.map(Secret::from),
        };
        let time = humantime::parse_rfc3339("2015-08-30T12:36:00Z").unwrap();
        sign(&request, &credentials, Scope { region: "us-east-1", service: "service" }, time)
            .expect("a date")
    }

    #[test]
    fn requests_are_signed_as_in_the_test_suite_of_aws() {
        for case in &CASES {
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={}, Signature={}",
                case.signed, case.signature
            );
            let (name, value) = signed(case).pop().unwrap();
            assert_eq!(
                (name, value.expose_text()),
                ("Authorization", Some(expected.as_str())),
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn the_time_and_the_token_are_added() {
        for case in &CASES {
            let headers = signed(case);
            let text = |wanted: &str| {
                headers
                    .iter()
                    .find(|(name, _)| *name == wanted)
                    .map(|(_, value)| value.expose_text().unwrap())
            };
            assert_eq!(text("X-Amz-Date"), Some("20150830T123600Z"), "{}", case.name);
            assert_eq!(text("X-Amz-Security-Token"), case.token, "{}", case.name);
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", CASES.iter().map(signed).collect::<Vec<_>>());
        assert!(
            shown.contains("Authorization")
                && !shown.contains("AKID")
                && !shown.contains("Signature"),
            "{shown}"
        );
    }
}
