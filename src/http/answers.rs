//! Reads the bodies of answers, and limits how much of our memory a server can use.

use std::cell::Cell;

use reqwest::Response;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{Code, Error};

/// The most memory that all answers together may take. A start needs no more than the environment
/// can hold, which is 6 MiB (execve(2)), plus lists of mounts.
const MEMORY: usize = 64 << 20;

/// The most memory that a value in a list or a map takes: the value itself, plus the spare capacity
/// of a growing list.
const VALUE: usize = 96;
/// The memory that the first value of a map takes: a whole tree node (`BTreeMap`).
const MAP: usize = 640;

/// No real answer nests deeper than this; the parser's own limit is 128.
const DEPTH: usize = 120;

const ODD: &str = "is it Vault that answers there?";

/// The memory that the answers of one client may still take.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Cell::new(MEMORY))
    }
}

impl Budget {
    fn take(&self, bytes: usize) -> Result<(), Error> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| {
            let what = format!("the answers take more than {} MiB of memory", MEMORY >> 20);
            Error::new(Code::Protocol, what).hint(ODD)
        })?;
        self.0.set(left);
        Ok(())
    }

    /// Parses JSON that has been read. Returns `None` if it is not JSON.
    ///
    /// # Errors
    /// 76 if it nests too deep or holds too much.
    pub(crate) fn parse(&self, json: &[u8]) -> Result<Option<Value>, Error> {
        let (depth, memory) = measured(json);
        if depth > DEPTH {
            let what = format!("the answer nests more than {DEPTH} levels deep");
            return Err(Error::new(Code::Protocol, what).hint(ODD));
        }
        self.take(memory)?;
        Ok(serde_json::from_slice(json).ok())
    }
}

/// Returns how deep JSON nests, and how much memory its values take without their text.
fn measured(json: &[u8]) -> (usize, usize) {
    let (mut depth, mut deepest, mut memory) = (0_usize, 0, VALUE);
    let (mut in_text, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
                memory += if *byte == b'{' { MAP } else { VALUE };
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => memory += VALUE,
            _ => {}
        }
    }
    (deepest, memory)
}

/// Returns the body, or `None` if it has more than `limit` bytes.
///
/// # Errors
/// 69 if the body is incomplete, 76 if all answers together hold too much.
pub(crate) async fn body(
    response: &mut Response,
    limit: usize,
    budget: &Budget,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
    let expected = expected.filter(|length| *length <= limit).unwrap_or(4096);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected));
    let broken = |error: reqwest::Error| if error.is_timeout() { too_slow() } else { broken_off() };
    while let Some(part) = response.chunk().await.map_err(broken)? {
        if part.len() > limit - bytes.len() {
            return Ok(None);
        }
        budget.take(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok(Some(bytes))
}

fn too_slow() -> Error {
    Error::new(Code::Unavailable, "the answer did not end in time")
        .hint("it comes slowly: is what is in between overloaded? A longer --timeout may help")
}

fn broken_off() -> Error {
    Error::new(Code::Unavailable, "the answer broke off").hint(
        "was the server stopped, or does a load balancer, a proxy or a firewall in between end \
         connections?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_measured_without_its_texts() {
        for (json, depth, memory) in [
            ("", 0, VALUE),
            ("1", 0, VALUE),
            (r#""{[,]}\"{[,""#, 0, VALUE),
            ("[]", 1, 2 * VALUE),
            ("[1,2,3]", 1, 4 * VALUE),
            (r#"{"a":[{"b":1},{"c":{}}]}"#, 4, 3 * VALUE + 4 * MAP),
            ("]]}[", 1, 2 * VALUE),
            (r#""\\""#, 0, VALUE),
            (r#"["\\",{}]"#, 2, 3 * VALUE + MAP),
        ] {
            assert_eq!(measured(json.as_bytes()), (depth, memory), "{json}");
        }
    }

    #[test]
    fn what_nests_too_deep_and_what_is_too_much_are_told_apart_from_what_is_no_json() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let budget = Budget::default();
        let said = |json: &str| budget.parse(json.as_bytes()).map_err(|error| error.message);
        assert!(said(&nested(DEPTH)).expect("not too deep").is_some());
        assert_eq!(
            said(&nested(DEPTH + 1)),
            Err("the answer nests more than 120 levels deep".to_owned())
        );
        assert_eq!(said("<html>"), Ok(None));
        let many = format!("[{}1]", "0,".repeat(500_000));
        assert!(said(&many).expect("a large answer").is_some());
        assert_eq!(said(&many), Err("the answers take more than 64 MiB of memory".to_owned()));
    }

    #[test]
    fn large_answers_that_there_are_fit() {
        // Five thousand mounts, as in a large installation.
        let mount = r#""team-12345/":{"accessor":"kv_0a1b2c3d","config":{"default_lease_ttl":0,"force_no_cache":false,"max_lease_ttl":0},"description":"","external_entropy_access":false,"local":false,"options":{"version":"2"},"path":"","seal_wrap":false,"type":"kv","uuid":"00000000-0000-0000-0000-000000000000"}"#;
        let json = format!("{{\"data\":{{\"secret\":{{{}}}}}}}", vec![mount; 5000].join(","));
        let budget = Budget::default();
        assert!(
            budget.take(json.len()).is_ok()
                && budget.parse(json.as_bytes()).is_ok_and(|found| found.is_some())
        );
    }
}
