//! Vault's API below its path: the core, and what HTTP adds to its answers.

pub(crate) mod approle;
pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod cert;
pub(crate) mod clock;
pub(crate) mod configured;
pub(crate) mod core;
pub(crate) mod database;
pub(crate) mod envelope;
pub(crate) mod gcp;
pub(crate) mod glob;
pub(crate) mod grant;
pub(crate) mod jws;
pub(crate) mod jwt;
pub(crate) mod kubernetes;
pub(crate) mod kv1;
pub(crate) mod kv2;
pub(crate) mod ldap;
pub(crate) mod leases;
pub(crate) mod lockout;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod path;
pub(crate) mod pki;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod roles;
pub(crate) mod sys;
pub(crate) mod tokens;
pub(crate) mod transit;
pub(crate) mod userpass;
pub(crate) mod wrapping;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, Response};

use crate::api::core::Core;
use crate::api::envelope::Rendered;
use crate::api::request::Request;
use crate::harness::leaks;
use crate::harness::record::Recorded;
use crate::wire::service::{Site, made_up};

/// What the connections of a Vault and its operator share.
pub(crate) struct Api {
    core: Mutex<Core>,
    prefix: String,
    added: Mutex<Option<HeaderValue>>,
}

const TOKEN: &str = "x-vault-token";

impl Api {
    pub(crate) fn new(core: Core, prefix: String) -> Self {
        Self { core: Mutex::new(core), prefix, added: Mutex::default() }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds this token to every request that comes without one.
    pub(crate) fn add_token(&self, token: &str) {
        let token = token.parse().expect("a header's value");
        *self.added.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// Returns the headers as the API gets them.
    fn headers(&self, sent: &HeaderMap) -> HeaderMap {
        let mut headers = sent.clone();
        let added = self.added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = added.filter(|_| !headers.contains_key(TOKEN)) {
            headers.insert(TOKEN, token);
        }
        headers
    }

    /// Calls the API without HTTP; `path` is the part after `/v1/`.
    pub(crate) fn call(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        certificates: &[Vec<u8>],
    ) -> Rendered {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match Request::new(method, path, query, headers, body) {
            Ok(request) => {
                self.core().handle(&Request { certificates: certificates.to_vec(), ..request })
            }
            Err(failure) => Rendered::failure(&failure),
        }
    }

    fn render(&self, request: &Recorded) -> Rendered {
        let path = request
            .path
            .strip_prefix(self.prefix.as_str())
            .and_then(|path| path.strip_prefix("/v1/"));
        let Some(path) = path else {
            return Rendered { status: 404, body: "{\"errors\":[]}\n".to_owned() };
        };
        let asked = format!("{path}?{}", request.query);
        let rendered = self.call(
            &request.method,
            &asked,
            &self.headers(&request.headers),
            &request.body,
            &request.certificates,
        );
        leaks::answered(path, &serde_json::from_str(&rendered.body).unwrap_or_default());
        rendered
    }
}

impl Site for Api {
    fn answer(&self, request: &Recorded) -> Response<Vec<u8>> {
        if let Some(refusal) = path::refuse(request) {
            return refusal;
        }
        let rendered = self.render(request);
        let mut response = made_up(rendered.status, Vec::new(), rendered.body.into_bytes());
        if let Some(namespace) = request.headers.get("x-vault-namespace") {
            response.headers_mut().insert("x-vault-namespace", namespace.clone());
        }
        response
    }

    fn carriers(&self) -> &[&str] {
        &[TOKEN]
    }
}
