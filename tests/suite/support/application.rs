//! What an operator sets up for one application, and runs that use it.

use test_vault::{Operator, Target, TestVault, Value, json};

use crate::support::{Run, run, run_at};

/// Enables a KV mount for one test.
pub(crate) fn kv(target: &Target, version: u8) -> String {
    let mount = target.unique("kv");
    target.operator().enable_kv(&mount, version);
    mount
}

/// Writes a policy with this text, under a unique name.
pub(crate) fn policy(target: &Target, hcl: &str) -> String {
    let policy = target.unique("policy");
    target.operator().policy(&policy, hcl);
    policy
}

/// Returns a policy that allows reading everything in a mount.
pub(crate) fn reading(mount: &str) -> String {
    format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}")
}

/// Creates a token with the policy `hcl`.
pub(crate) fn token(target: &Target, hcl: &str) -> String {
    target.operator().create_token(json!({ "policies": [policy(target, hcl)] }))
}

/// The AppRole role that an application logs in with, on a mount of its own.
pub(crate) struct AppRole {
    /// Sets things up, bypassing HTTP if the server is our own.
    pub(crate) operator: Operator,
    /// The same over HTTP, like everyone else.
    pub(crate) http: Operator,
    pub(crate) mount: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

const NAME: &str = "app";

impl AppRole {
    /// Creates a role with these settings, on a mount with a unique name.
    pub(crate) fn new(target: &Target, settings: Value) -> AppRole {
        let mount = target.unique("approle");
        AppRole::at(target.operator(), target.http(), mount, settings)
    }

    /// The same on a mount with this name.
    pub(crate) fn at(
        operator: Operator,
        http: Operator,
        mount: String,
        settings: Value,
    ) -> AppRole {
        operator.enable_approle(&mount);
        let binds = settings["bind_secret_id"] != json!(false);
        operator.approle_role(&mount, NAME, settings);
        let role_id = operator.role_id(&mount, NAME);
        // A role that does not bind secret ids gets none.
        let secret_id = binds.then(|| operator.secret_id(&mount, NAME, json!({})));
        let secret_id = secret_id.unwrap_or_default();
        AppRole { operator, http, mount, role_id, secret_id }
    }

    /// Returns the API path of something that belongs to the role.
    pub(crate) fn path(&self, of: &str) -> String {
        format!("auth/{}/role/{NAME}/{of}", self.mount)
    }

    /// Creates another secret id of the role.
    pub(crate) fn new_secret_id(&self, settings: Value) -> String {
        self.operator.secret_id(&self.mount, NAME, settings)
    }

    /// Creates another secret id and returns its wrapping token.
    pub(crate) fn wrapped_secret_id(&self, ttl: &str) -> String {
        self.operator.wrapped_secret_id(&self.mount, NAME, ttl)
    }

    /// Returns Vault's answer to a login with this body.
    pub(crate) fn login_with(&self, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("auth/{}/login", self.mount), None, Some(body))
    }

    /// Returns Vault's answer to a login of the role with a secret id.
    pub(crate) fn login(&self, secret_id: &str) -> (u16, Value) {
        self.login_with(json!({ "role_id": self.role_id, "secret_id": secret_id }))
    }

    /// Logs in and returns the token.
    pub(crate) fn token(&self) -> String {
        self.login(&self.secret_id).1["auth"]["client_token"].as_str().expect("a token").to_owned()
    }
}

/// Creates a role with the policy `hcl`.
pub(crate) fn role(target: &Target, hcl: &str, settings: Value) -> AppRole {
    let mut all = json!({ "token_policies": [policy(target, hcl)] });
    all.as_object_mut()
        .expect("an object")
        .extend(settings.as_object().expect("an object").clone());
    AppRole::new(target, all)
}

/// Returns a run with the root token.
pub(crate) fn as_root(target: &Target) -> Run {
    run_at(target).env("VAULT_TOKEN", target.root_token())
}

/// Returns a run that logs in with a role.
pub(crate) fn as_role(target: &Target, role: &AppRole) -> Run {
    run_at(target)
        .env("VAULT_AUTH_MOUNT", &role.mount)
        .env("VAULT_ROLE_ID", &role.role_id)
        .env("VAULT_SECRET_ID", &role.secret_id)
}

/// Enables a KV v2 mount with the secret `app`: `{"user": "ada", "password": "s3cr3t"}`.
pub(crate) fn with_app(target: &Target) -> String {
    let mount = kv(target, 2);
    target.operator().kv_put(&mount, 2, "app", json!({"user": "ada", "password": "s3cr3t"}));
    mount
}

/// Returns a run that reads one secret of the project's own server as root, without trusting its
/// certificate.
pub(crate) fn reading_one(vault: &TestVault) -> Run {
    vault.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", vault.root_token())
        .env("A", "vault:secret/data/app#k")
}
