//! As much of a Kubernetes cluster's API as Vault asks: whether a service account's token is good.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::jws::{self, Expected};
use crate::operator::merged;
use crate::signer::JwtSigner;

const REVIEWS: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews ";
/// Whom tokens are for that are for nobody else.
const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster that signs tokens of service accounts and reviews them, over plain HTTP on a free port.
pub struct KubernetesApi {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    signer: JwtSigner,
    deleted: Mutex<HashSet<String>>,
}

impl KubernetesApi {
    /// Listens when this returns, until the process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket's address");
        let state = Arc::new(State { signer: JwtSigner::new(), deleted: Mutex::default() });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks may have gone.
                let _ = serving.serve(stream);
            }
        });
        Self { address, state }
    }

    /// What goes into `kubernetes_host`.
    pub fn addr(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who signs the tokens.
    pub fn signer(&self) -> &JwtSigner {
        &self.state.signer
    }

    /// The token of a service account, as a pod finds it in its file. The claims may add to it or change it.
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

    /// From now on the token is refused, as that of an account that is gone.
    pub fn delete(&self, token: &str) {
        self.state.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }
}

/// One for each account.
fn uid(namespace: &str, name: &str) -> String {
    let mut bytes = [0; 16];
    for (at, byte) in format!("{namespace}/{name}").bytes().enumerate() {
        bytes[at % bytes.len()] ^= byte;
    }
    Uuid::from_bytes(bytes).to_string()
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut header, mut length, mut bearer) = (String::new(), String::new(), 0, String::new());
        reader.read_line(&mut line)?;
        while reader.read_line(&mut header)? > 2 {
            let (name, value) = header.split_once(':').unwrap_or_default();
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => value.trim().trim_start_matches("Bearer ").clone_into(&mut bearer),
                _ => {}
            }
            header.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = self.answer(&line, &bearer, &serde_json::from_slice(&body).unwrap_or_default());
        let answer = answer.to_string();
        let head = "Content-Type: application/json\r\nConnection: close";
        write!(reader.get_mut(), "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
    }

    fn answer(&self, line: &str, bearer: &str, review: &Value) -> (&'static str, Value) {
        let failure = |code: u16| json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code });
        if !line.starts_with(REVIEWS) {
            return ("404 Not Found", failure(404));
        }
        if self.claims(bearer).is_none() {
            return ("401 Unauthorized", failure(401));
        }
        let status = self.review(&review["spec"]);
        ("201 Created", json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status }))
    }

    fn review(&self, spec: &Value) -> Value {
        let Some(claims) = self.claims(spec["token"].as_str().unwrap_or_default()) else {
            return json!({ "authenticated": false, "error": "invalid bearer token" });
        };
        let wanted: Vec<_> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut audiences = jws::audiences(&claims);
        audiences.retain(|audience| wanted.is_empty() && audience == AUDIENCE || wanted.contains(&audience.as_str()));
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

    /// Those of a token that is good.
    fn claims(&self, token: &str) -> Option<jws::Claims> {
        let keys = [jws::public_key(self.signer.public_key())?];
        let claims = jws::verified(token, &keys).ok()?;
        Expected::default().check(&claims).ok()?;
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        (!deleted.contains(token)).then_some(claims)
    }
}
