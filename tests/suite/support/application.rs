//! What an operator sets up for one application, and runs that use it.

use test_vault::{Target, TestVault, Value, json};

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

/// An AppRole on a mount of its own.
pub(crate) struct AppRole {
    pub(crate) mount: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

const NAME: &str = "app";

/// A role that may do what `hcl` says.
pub(crate) fn role(target: &Target, hcl: &str, settings: Value) -> AppRole {
    let operator = target.operator();
    let mount = target.unique("approle");
    operator.enable_approle(&mount);
    let mut all = json!({ "token_policies": [policy(target, hcl)] });
    all.as_object_mut()
        .expect("an object")
        .extend(settings.as_object().expect("an object").clone());
    operator.approle_role(&mount, NAME, all);
    let role_id = operator.role_id(&mount, NAME);
    AppRole { secret_id: operator.secret_id(&mount, NAME, json!({})), role_id, mount }
}

impl AppRole {
    /// Another secret id of the role.
    pub(crate) fn new_secret_id(&self, target: &Target, settings: Value) -> String {
        target.operator().secret_id(&self.mount, NAME, settings)
    }
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
