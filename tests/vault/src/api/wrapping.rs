//! Response wrapping: `sys/wrapping/…`, and the answers that wait for them.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::api::clock;
use crate::api::envelope::{Answer, Failure, Outcome, Rendered};
use crate::api::namespaces::Namespace;
use crate::api::request::Request;
use crate::api::tokens::{new_accessor, new_id};

struct Wrapped {
    creation_path: String,
    namespace: Namespace,
    created: SystemTime,
    ttl: Duration,
    expires: Instant,
    content: Rendered,
}

/// The wrapped answers by wrapping token.
#[derive(Default)]
pub(crate) struct Wrapping(HashMap<String, Wrapped>);

impl Wrapping {
    /// Stores an answer and returns the one that is sent instead.
    pub(crate) fn wrap(
        &mut self,
        request: &Request,
        ttl: Duration,
        content: Rendered,
        accessor: Option<String>,
    ) -> Rendered {
        self.put(&request.path, &request.namespace, ttl, content, accessor)
    }

    fn put(
        &mut self,
        path: &str,
        namespace: &Namespace,
        ttl: Duration,
        content: Rendered,
        accessor: Option<String>,
    ) -> Rendered {
        let token = new_id("s.") + &namespace.suffix();
        let created = SystemTime::now();
        let (creation_path, expires) = (path.to_owned(), Instant::now() + ttl);
        let wrapped =
            Wrapped { creation_path, namespace: namespace.clone(), created, ttl, expires, content };
        self.0.insert(token.clone(), wrapped);
        let mut info = json!({
            "token": token,
            "accessor": new_accessor() + &namespace.suffix(),
            "ttl": ttl.as_secs(),
            "creation_time": clock::rfc3339(created),
            "creation_path": path,
        });
        if let Some(accessor) = accessor {
            info["wrapped_accessor"] = accessor.into();
        }
        Rendered::wrapped(info)
    }

    /// Returns whether this is a wrapping token that can still be used.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.0.get(token).is_some_and(|wrapped| wrapped.expires > Instant::now())
    }

    /// Ends a wrapping token that was used for something else, and returns whether it was one.
    pub(crate) fn spend(&mut self, token: &str) -> bool {
        self.knows(token) && self.0.remove(token).is_some()
    }

    /// Checks that what a request wants to unwrap exists.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Failure> {
        if self.knows(&wanted(request)?) { Ok(()) } else { Err(invalid()) }
    }

    /// Handles `sys/wrapping/lookup`: the token from the body, or else the one in the header;
    /// neither is used up.
    pub(crate) fn lookup(&self, request: &Request) -> Outcome {
        let token = wanted(request)?;
        self.check(request)?;
        let wrapped = &self.0[&token];
        Ok(Answer::data(json!({
            "creation_path": wrapped.creation_path,
            "creation_time": clock::rfc3339(wrapped.created),
            "creation_ttl": wrapped.ttl.as_secs(),
        })))
    }

    /// Handles `sys/wrapping/unwrap`: returns the original answer, once.
    pub(crate) fn unwrap(&mut self, request: &Request) -> Outcome {
        let token = wanted(request)?;
        self.check(request)?;
        let wrapped = self.0.remove(&token).ok_or_else(invalid)?;
        Ok(Answer::verbatim(wrapped.content.status, wrapped.content.body))
    }

    /// Handles `sys/wrapping/rewrap`: the same answer under another token, with the first token's
    /// creation path.
    pub(crate) fn rewrap(&mut self, request: &Request) -> Outcome {
        let wrapped = self.0.remove(&wanted(request)?).ok_or_else(invalid)?;
        let rendered = self.put(
            &wrapped.creation_path,
            &wrapped.namespace,
            wrapped.ttl,
            wrapped.content,
            None,
        );
        Ok(Answer::verbatim(rendered.status, rendered.body))
    }
}

fn wanted(request: &Request) -> Result<String, Failure> {
    let text = match request.body.get("token") {
        Some(Value::String(token)) if token.is_empty() => Err("empty token in request body"),
        Some(Value::String(token)) => Ok(token.clone()),
        _ => request.token.clone().ok_or("token is empty"),
    };
    text.map_err(|text| Failure::new(403, format!("error validating wrapping token: {text}")))
}

fn invalid() -> Failure {
    Failure::bad_request("wrapping token is not valid or does not exist")
}
