//! What an operator sets up for one application, and runs that use it.

use test_vault::{Operator, Target, TestVault, Value, json};

use crate::support::{Run, run, run_at};

/// A KV mount of a test's own.
pub(crate) fn kv(target: &Target, version: u8) -> String {
    let mount = target.unique("kv");
    target.operator().enable_kv(&mount, version);
    mount
}

/// A policy with this text, under a name of its own.
pub(crate) fn policy(target: &Target, hcl: &str) -> String {
    let policy = target.unique("policy");
    target.operator().policy(&policy, hcl);
    policy
}

/// The policy that lets everything in a mount be read.
pub(crate) fn reading(mount: &str) -> String {
    format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}")
}

/// A token that may do what `hcl` says.
pub(crate) fn token(target: &Target, hcl: &str) -> String {
    target.operator().create_token(json!({ "policies": [policy(target, hcl)] }))
}

/// The role of AppRole that an application logs in with, on a mount of its own.
pub(crate) struct AppRole {
    /// Sets things up, past HTTP where the server is our own.
    pub(crate) operator: Operator,
    /// The same over HTTP, as everyone else.
    pub(crate) http: Operator,
    pub(crate) mount: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

const NAME: &str = "app";

impl AppRole {
    /// A role with these settings, on a mount with a name that no other test has.
    pub(crate) fn new(target: &Target, settings: Value) -> AppRole {
        let mount = target.unique("approle");
        AppRole::at(target.operator(), target.http(), mount, settings)
    }

    /// The same on a mount of this name.
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
        // A role that binds none gets none.
        let secret_id = binds.then(|| operator.secret_id(&mount, NAME, json!({})));
        let secret_id = secret_id.unwrap_or_default();
        AppRole { operator, http, mount, role_id, secret_id }
    }

    /// The API path of something that the role has.
    pub(crate) fn path(&self, of: &str) -> String {
        format!("auth/{}/role/{NAME}/{of}", self.mount)
    }

    /// Another secret id of the role.
    pub(crate) fn new_secret_id(&self, settings: Value) -> String {
        self.operator.secret_id(&self.mount, NAME, settings)
    }

    /// The wrapping token of another secret id.
    pub(crate) fn wrapped_secret_id(&self, ttl: &str) -> String {
        self.operator.wrapped_secret_id(&self.mount, NAME, ttl)
    }

    /// What Vault answers to a login with this body.
    pub(crate) fn login_with(&self, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("auth/{}/login", self.mount), None, Some(body))
    }

    /// What Vault answers to a login of the role with a secret id.
    pub(crate) fn login(&self, secret_id: &str) -> (u16, Value) {
        self.login_with(json!({ "role_id": self.role_id, "secret_id": secret_id }))
    }

    /// A token that a login gives.
    pub(crate) fn token(&self) -> String {
        self.login(&self.secret_id).1["auth"]["client_token"].as_str().expect("a token").to_owned()
    }
}

/// A role that may do what `hcl` says.
pub(crate) fn role(target: &Target, hcl: &str, settings: Value) -> AppRole {
    let mut all = json!({ "token_policies": [policy(target, hcl)] });
    all.as_object_mut()
        .expect("an object")
        .extend(settings.as_object().expect("an object").clone());
    AppRole::new(target, all)
}

/// A run with the root token.
pub(crate) fn as_root(target: &Target) -> Run {
    run_at(target).env("VAULT_TOKEN", target.root_token())
}

/// A run that logs in with a role.
pub(crate) fn as_role(target: &Target, role: &AppRole) -> Run {
    run_at(target)
        .env("VAULT_AUTH_MOUNT", &role.mount)
        .env("VAULT_ROLE_ID", &role.role_id)
        .env("VAULT_SECRET_ID", &role.secret_id)
}

/// A KV v2 mount with the secret `app` in it, `{"user": "ada", "password": "s3cr3t"}`.
pub(crate) fn with_app(target: &Target) -> String {
    let mount = kv(target, 2);
    target.operator().kv_put(&mount, 2, "app", json!({"user": "ada", "password": "s3cr3t"}));
    mount
}

/// A run that reads one secret of the project's own server as root, without any trust in its
/// certificate.
pub(crate) fn reading_one(vault: &TestVault) -> Run {
    vault.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", vault.root_token())
        .env("A", "vault:secret/data/app#k")
}
