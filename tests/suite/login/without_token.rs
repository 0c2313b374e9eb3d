//! Logins that are answered with 200 and give no token.

use test_vault::{Fault, Target, TestVault, Value, json, on_every_vault};

use crate::support::Run;
use crate::support::auth_mount::WayIn;

/// A user of userpass, with a run that logs in and reads a secret.
fn user(target: &Target) -> (WayIn<'_>, Run) {
    let way = WayIn::new(target, "userpass");
    target.operator().enable_userpass(&way.mount);
    target.operator().userpass_user(&way.mount, "ada", way.role(json!({ "password": "correct" })));
    let run = way.run().env("VAULT_USERNAME", "ada").env("VAULT_PASSWORD", "correct");
    (way, run)
}

/// What the second factor's absence is answered with: nothing is read, nothing is revoked, and the
/// login is not repeated.
fn assert_told(target: &Target, way: &WayIn<'_>, run: &Run, code: i32, words: &[&str]) {
    if let Some(vault) = target.own() {
        vault.clear();
    }
    let at = format!("login at auth/{}", way.mount);
    let ended = run.fails(code, &[&[at.as_str()], words].concat());
    assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    if let Some(vault) = target.own() {
        assert_eq!(vault.lines(), [format!("POST /v1/auth/{}/login/ada", way.mount)]);
    }
}

/// What a real server answers where an enforcement of a second factor covers the mount.
fn wants_second_factor() -> Value {
    let totp = json!({ "type": "totp", "id": "3b1e1c1c-9a0b-6f7c-5d4e-8a2b1c0d9e8f", "uses_passcode": true });
    let constraints = json!({ "all-logins": { "any": [totp] } });
    let request = "8f6d3c3a-5f0e-4a44-9d5e-7f6f1f1f2a3b";
    json!({
        "request_id": request, "lease_id": "", "renewable": false, "lease_duration": 0, "data": null, "wrap_info": null,
        "warnings": ["A login request was issued that is subject to MFA validation. Please make sure to validate the \
            login by sending another request to mfa/validate endpoint."],
        "auth": {
            "client_token": "", "accessor": "", "policies": null, "metadata": null, "lease_duration": 0,
            "renewable": false, "entity_id": "", "token_type": "default", "orphan": false, "num_uses": 0,
            "mfa_requirement": { "mfa_request_id": request, "mfa_constraints": constraints },
        },
    })
}

#[test]
fn a_second_factor_that_is_wanted_is_named_with_its_enforcement() {
    let target = Target::from(TestVault::start());
    let (way, run) = user(&target);
    target
        .own()
        .expect("ours")
        .fault("/v1/auth/", Fault::answer(200, wants_second_factor().to_string()));
    assert_told(&target, &way, &run, 77, &["second factor", "all-logins: totp", "exempt"]);
}

/// A real server with an enforcement of TOTP on the mount.
#[test]
fn a_real_server_that_wants_a_second_factor_is_understood() {
    on_every_vault(|target| {
        if target.own().is_some() {
            return;
        }
        let (way, run) = user(target);
        way.assert_in(&run);
        let operator = target.operator();
        let method = json!({ "issuer": "test", "period": 30, "algorithm": "SHA256", "digits": 6 });
        let made = operator.write("identity/mfa/method/totp", method);
        let mounts = operator.read("sys/auth");
        let accessor = &mounts["data"][format!("{}/", way.mount)]["accessor"];
        let enforcement = target.unique("enforcement");
        let settings = json!({ "mfa_method_ids": [made["data"]["method_id"]], "auth_method_accessors": [accessor.clone()] });
        operator.write(&format!("identity/mfa/login-enforcement/{enforcement}"), settings);
        assert_told(
            target,
            &way,
            &run,
            77,
            &["second factor", &format!("{enforcement}: totp"), "exempt"],
        );
        operator.delete(&format!("identity/mfa/login-enforcement/{enforcement}"));
        way.assert_in(&run);
    });
}

#[test]
fn a_wrapped_login_is_told_from_it() {
    on_every_vault(|target| {
        let (way, run) = user(target);
        let body = json!({ "password": "correct" });
        let path = format!("auth/{}/login/ada", way.mount);
        let wrapped = target.operator().request_with(
            "POST",
            &path,
            &[("x-vault-wrap-ttl", "60s")],
            Some(body),
        );
        assert_eq!(wrapped.0, 200);
        // The answer of the server, as it is, where something in between asks for it.
        let between = TestVault::start();
        between.fault("/v1/auth/", Fault::answer(200, wrapped.1.to_string()));
        let run = run.env("VAULT_ADDR", between.addr());
        run.fails(77, &["wrapped", "between here and Vault", "X-Vault-Wrap-TTL"]);
        let ended = run.fails(77, &[]);
        let token = wrapped.1["wrap_info"]["token"].as_str().expect("a token");
        assert!(!ended.stderr.contains(token), "{}", ended.stderr);
        assert_eq!(between.lines().len(), 2);
    });
}

#[test]
fn what_is_no_login_at_all_is_no_answer_of_vaults() {
    let target = Target::from(TestVault::start());
    let (way, run) = user(&target);
    for body in [
        json!({ "auth": null }),
        json!({ "auth": { "client_token": "" } }),
        json!({ "auth": [] }),
        json!({ "data": { "client_token": "hvs.x" } }),
        json!([]),
    ] {
        let vault = target.own().expect("ours");
        vault.clear_faults();
        vault.fault("/v1/auth/", Fault::answer(200, body.to_string()));
        assert_told(&target, &way, &run, 76, &["token"]);
    }
    let vault = target.own().expect("ours");
    vault.clear_faults();
    vault.fault("/v1/auth/", Fault::answer(204, ""));
    assert_told(&target, &way, &run, 76, &["without a token"]);
}
