//! The main job from end to end, against the project's Vault and a real one.

use test_vault::{Target, json, on_every_https_vault, on_every_vault};

use crate::support::{Run, run_at};

/// What an operator sets up for one application: a secret of KV v2, a policy that allows its
/// reading, a role.
struct App {
    secret: String,
    role_id: String,
    secret_id: String,
    mount: String,
}

fn app(target: &Target, role: test_vault::Value) -> App {
    let operator = target.operator();
    let (kv, mount) = (target.unique("kv"), target.unique("approle"));
    operator.enable_kv(&kv, 2);
    operator.kv_put(&kv, 2, "app", json!({"user": "ada", "password": "s3cr3t"}));
    let policy = target.unique("policy");
    operator.policy(&policy, &format!("path \"{kv}/data/app\" {{ capabilities = [\"read\"] }}"));
    operator.enable_approle(&mount);
    let mut settings = json!({ "token_policies": [policy] });
    settings
        .as_object_mut()
        .expect("an object")
        .extend(role.as_object().cloned().expect("an object"));
    operator.approle_role(&mount, "app", settings);
    App {
        role_id: operator.role_id(&mount, "app"),
        secret_id: operator.secret_id(&mount, "app", json!({})),
        secret: format!("{kv}/app"),
        mount,
    }
}

fn with_approle(target: &Target, app: &App) -> Run {
    run_at(target)
        .env("VAULT_AUTH_MOUNT", &app.mount)
        .env("VAULT_ROLE_ID", &app.role_id)
        .env("VAULT_SECRET_ID", &app.secret_id)
        .env("PASSWORD", format!("vault:{}#password", app.secret))
}

fn logs_in_and_starts(target: &Target) {
    let app = app(target, json!({}));
    let environment = with_approle(target, &app).env("PLAIN", "plain").environment();
    assert_eq!(environment.get("PASSWORD").map(String::as_str), Some("s3cr3t"));
    assert_eq!(environment.get("PLAIN").map(String::as_str), Some("plain"));
    assert!(!environment.keys().any(|name| name.starts_with("VAULT_")), "{environment:?}");
}

#[test]
fn an_approle_login_fills_the_environment_over_http() {
    on_every_vault(logs_in_and_starts);
}

#[test]
fn an_approle_login_fills_the_environment_over_https() {
    on_every_https_vault(logs_in_and_starts);
}

#[test]
fn a_token_fills_the_environment() {
    on_every_vault(|target| {
        let app = app(target, json!({}));
        let run = run_at(target)
            .env("VAULT_TOKEN", target.root_token())
            .option("--secret")
            .option(&app.secret);
        let environment = run.environment();
        assert_eq!(environment.get("user").map(String::as_str), Some("ada"));
        assert_eq!(environment.get("password").map(String::as_str), Some("s3cr3t"));
    });
}

#[test]
fn a_wrong_secret_id_is_refused_and_sent_once() {
    on_every_vault(|target| {
        let app = app(target, json!({}));
        with_approle(target, &app)
            .env("VAULT_SECRET_ID", "wrong")
            .fails(77, &["auth/", "invalid role or secret ID"]);
        if let Some(own) = target.own() {
            assert_eq!(own.requests().len(), 1);
        }
    });
}
