//! As much of a Kubernetes cluster's API as Vault uses: whether a service account's token is valid.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::jws::{self, Expected};
use crate::harness::operator::merged;
use crate::harness::record::Recorded;
use crate::platforms::local::LocalServer;
use crate::platforms::signer::JwtSigner;

const REVIEWS: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";
/// The audience of tokens that are for nobody in particular.
const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster that signs service account tokens and reviews them, over plain HTTP on a free port.
pub struct KubernetesApi {
    server: LocalServer,
    state: Arc<State>,
}

struct State {
    signer: JwtSigner,
    deleted: Mutex<HashSet<String>>,
}

impl KubernetesApi {
    /// Starts it; it listens when this returns.
    pub fn start() -> Self {
        let state = Arc::new(State { signer: JwtSigner::new(), deleted: Mutex::default() });
        let serving = Arc::clone(&state);
        let server = LocalServer::start(move |request| {
            let (status, answer) = serving.answer(request);
            (status, Vec::new(), answer.to_string().into_bytes())
        });
        Self { server, state }
    }

    /// Returns the value for `kubernetes_host`.
    pub fn addr(&self) -> String {
        self.server.addr()
    }

    /// Returns the signer of the tokens.
    pub fn signer(&self) -> &JwtSigner {
        &self.state.signer
    }

    /// Returns the token of a service account, as a pod finds it in its file. `claims` may add to
    /// it or change it.
    pub fn token(&self, namespace: &str, name: &str, claims: Value) -> String {
        let account = json!({ "name": name, "uid": uid(namespace, name) });
        let own = json!({
            "aud": [AUDIENCE],
            "iss": AUDIENCE,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": { "namespace": namespace, "serviceaccount": account },
        });
        self.signer().sign(merged(own, claims))
    }

    /// Refuses the token from now on, like that of an account that has been deleted.
    pub fn delete(&self, token: &str) {
        self.state.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }
}

/// Returns a uid, one for each account.
fn uid(namespace: &str, name: &str) -> String {
    let mut bytes = [0; 16];
    for (at, byte) in format!("{namespace}/{name}").bytes().enumerate() {
        bytes[at % bytes.len()] ^= byte;
    }
    Uuid::from_bytes(bytes).to_string()
}

impl State {
    fn answer(&self, request: &Recorded) -> (u16, Value) {
        let failure = |code: u16| json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code });
        if request.line() != REVIEWS {
            return (404, failure(404));
        }
        let bearer =
            request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if bearer.and_then(|bearer| self.claims(bearer)).is_none() {
            return (401, failure(401));
        }
        let status = self.review(&request.json()["spec"]);
        (
            201,
            json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status }),
        )
    }

    fn review(&self, spec: &Value) -> Value {
        let Some(claims) = self.claims(spec["token"].as_str().unwrap_or_default()) else {
            return json!({ "authenticated": false, "error": "invalid bearer token" });
        };
        let wanted: Vec<_> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut audiences = jws::audiences(&claims);
        audiences.retain(|audience| {
            wanted.is_empty() && audience == AUDIENCE || wanted.contains(&audience.as_str())
        });
        if audiences.is_empty() {
            return json!({ "authenticated": false, "error": "token audiences are not among those that are wanted" });
        }
        let account = &claims["kubernetes.io"]["serviceaccount"];
        json!({
            "authenticated": true,
            "audiences": audiences,
            "user": { "username": claims["sub"], "uid": account["uid"] },
        })
    }

    /// Returns the claims of a valid token.
    fn claims(&self, token: &str) -> Option<jws::Claims> {
        let keys = [jws::public_key(self.signer.public_key())?];
        let claims = jws::verified(token, &keys).ok()?;
        Expected::default().check(&claims).ok()?;
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        (!deleted.contains(token)).then_some(claims)
    }
}
