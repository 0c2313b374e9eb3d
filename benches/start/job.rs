//! What is measured: a login with AppRole, some reads, and a program that does nothing.

use std::path::PathBuf;

use test_vault::{Target, json};

use crate::timing::Rival;

/// The application.
pub(crate) const NOTHING: &str = "/bin/true";

/// The binary that is measured: the static one, which is the one that ships.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("VAULT_EXEC_BINARY");
    named
        .expect("VAULT_EXEC_BINARY names the binary to measure: build one with `cargo static`")
        .into()
}

/// A role on a server, and secrets that it may read.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) addr: String,
    pub(crate) ca: Option<String>,
    /// The name in the server's certificate, where that is not the address's.
    pub(crate) server_name: Option<String>,
    pub(crate) token: String,
    role_id: String,
    secret_id: String,
    /// The same of a role whose tokens have the one policy that they need, and not the default one
    /// beside it.
    lean: (String, String),
    auth: String,
    pub(crate) mount: String,
}

impl Job {
    /// Sets up `paths` secrets with `keys` keys each: `k0`, `k1` and so on.
    pub(crate) fn new(target: &Target, paths: usize, keys: usize) -> Job {
        let operator = target.operator();
        let [mount, auth] = ["kv", "approle"].map(|name| target.unique(name));
        operator.enable_kv(&mount, 2);
        let data: serde_json::Map<_, _> =
            (0..keys).map(|key| (format!("k{key}"), "s3cret".into())).collect();
        for path in 0..paths {
            operator.kv_put(&mount, 2, &format!("s{path}"), json!(data));
        }
        operator.policy(&mount, &format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}"));
        operator.enable_approle(&auth);
        operator.approle_role(&auth, "app", json!({ "token_policies": mount }));
        operator.approle_role(
            &auth,
            "lean",
            json!({ "token_policies": mount, "token_no_default_policy": true }),
        );
        Job {
            addr: target.addr(),
            ca: target.ca_file().map(|file| file.display().to_string()),
            server_name: None,
            token: operator.create_token(json!({ "policies": [mount] })),
            role_id: operator.role_id(&auth, "app"),
            secret_id: operator.secret_id(&auth, "app", json!({})),
            lean: (operator.role_id(&auth, "lean"), operator.secret_id(&auth, "lean", json!({}))),
            auth,
            mount,
        }
    }

    /// The same without the default policy.
    pub(crate) fn lean(&self) -> Job {
        let (role_id, secret_id) = self.lean.clone();
        Job { role_id, secret_id, ..self.clone() }
    }

    /// A start with this many references to this many paths, written with `data` or without.
    pub(crate) fn start(&self, references: usize, paths: usize, data: &str, revoke: &str) -> Rival {
        let words = [binary().display().to_string().as_str(), "--revoke", revoke, "--", NOTHING]
            .map(String::from);
        let mut environment: Vec<(String, String)> = [
            ("VAULT_ADDR", &self.addr),
            ("VAULT_ROLE_ID", &self.role_id),
            ("VAULT_SECRET_ID", &self.secret_id),
            ("VAULT_AUTH_MOUNT", &self.auth),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into();
        environment.extend(self.ca.iter().map(|ca| ("VAULT_CACERT".to_owned(), ca.clone())));
        environment.extend(
            self.server_name.iter().map(|name| ("VAULT_TLS_SERVER_NAME".to_owned(), name.clone())),
        );
        environment.extend((0..references).map(|number| {
            let reference =
                format!("vault:{}/{data}s{}#k{}", self.mount, number % paths, number / paths);
            (format!("S{number}"), reference)
        }));
        Rival { words: words.into(), environment }
    }

    /// curl, making the same requests over one connection. It has to be given a token, as it cannot
    /// take it out of an answer.
    pub(crate) fn curl(&self, secrets: usize) -> Rival {
        let login = json!({ "role_id": self.role_id, "secret_id": self.secret_id }).to_string();
        let mut words = vec!["curl".to_owned()];
        self.ask(&mut words, &["--data", &login], &format!("auth/{}/login", self.auth));
        let token = format!("X-Vault-Token: {}", self.token);
        for secret in 0..secrets {
            words.push("--next".to_owned());
            self.ask(&mut words, &["--header", &token], &format!("{}/data/s{secret}", self.mount));
        }
        Rival { words, environment: Vec::new() }
    }

    /// h2load, a client for measuring servers, making the same reads at once over one connection
    /// with a token that is given to it. It verifies no certificate, and looks at no answer.
    pub(crate) fn h2load(&self, secrets: usize) -> Rival {
        let number = secrets.to_string();
        let words = [
            "h2load",
            "--clients=1",
            "--requests",
            &number,
            "--max-concurrent-streams",
            &number,
            "--header",
        ];
        let mut words = words.map(String::from).to_vec();
        words.push(format!("X-Vault-Token: {}", self.token));
        words.extend(
            (0..secrets).map(|secret| format!("{}/v1/{}/data/s{secret}", self.addr, self.mount)),
        );
        Rival { words, environment: Vec::new() }
    }

    fn ask(&self, words: &mut Vec<String>, options: &[&str], path: &str) {
        words.extend(["--silent", "--fail", "--output", "/dev/null"].map(String::from));
        words.extend(self.ca.iter().flat_map(|ca| ["--cacert".to_owned(), ca.clone()]));
        words.extend(options.iter().map(ToString::to_string));
        words.push(format!("{}/v1/{path}", self.addr));
    }

    /// Files and settings of other tools need the credentials too.
    pub(crate) fn approle(&self) -> (&str, &str, &str) {
        (&self.auth, &self.role_id, &self.secret_id)
    }
}
