//! The auth method `jwt`: a JWT that Vault verifies itself.

use std::fs;

use test_vault::{JwtSigner, LocalServer, Target, TestVault, Value, json, on_every_vault};

use crate::support::auth_mount::{WayIn, assert_says_nothing_of};
use crate::support::{Run, directory};

/// An issuer, its method and a role for the subject `job` and the audience `vault`.
struct Issuer<'a> {
    way: WayIn<'a>,
    signer: JwtSigner,
}

impl Issuer<'_> {
    fn new(target: &Target, settings: Value) -> Issuer<'_> {
        let (way, signer) = (WayIn::new(target, "jwt"), JwtSigner::new());
        let operator = target.operator();
        operator.enable_jwt(&way.mount, &signer);
        operator.jwt_config(
            &way.mount,
            &signer,
            json!({ "bound_issuer": "https://ci.example.com" }),
        );
        operator.jwt_role(&way.mount, "web", way.role(settings));
        Issuer { way, signer }
    }

    fn jwt(&self, claims: Value) -> String {
        let mut all = json!({ "sub": "job", "aud": "vault", "iss": "https://ci.example.com" });
        all.as_object_mut().expect("claims").extend(claims.as_object().expect("claims").clone());
        self.signer.sign(all)
    }

    fn run(&self, jwt: &str) -> Run {
        self.way.run().env("VAULT_ROLE", "web").env("VAULT_JWT", jwt)
    }
}

#[test]
fn a_jwt_logs_in() {
    on_every_vault(|target| {
        let issuer = Issuer::new(target, json!({ "bound_subject": "job" }));
        issuer.way.assert_in(&issuer.run(&issuer.jwt(json!({}))));
        issuer.way.assert_in(&issuer.run(&issuer.jwt(json!({}))).env("VAULT_ROLE", "WEB"));
    });
}

#[test]
fn the_login_has_jwt_and_role_where_one_is_set() {
    let target = Target::from(TestVault::start());
    let issuer = Issuer::new(&target, json!({}));
    let jwt = issuer.jwt(json!({}));
    issuer.way.assert_in(&issuer.run(&jwt));
    issuer.way.assert_login("", &json!({ "role": "web", "jwt": jwt }));
    target.own().expect("ours").clear();
    let defaults = json!({ "default_role": "web" });
    target.operator().jwt_config(&issuer.way.mount, &issuer.signer, defaults);
    issuer.way.assert_in(&issuer.run(&jwt).without("VAULT_ROLE"));
    issuer.way.assert_login("", &json!({ "jwt": jwt }));
}

#[test]
fn a_mount_with_a_default_role_needs_none() {
    on_every_vault(|target| {
        let issuer = Issuer::new(target, json!({}));
        let run = issuer.run(&issuer.jwt(json!({}))).without("VAULT_ROLE");
        issuer.way.assert_refused(&run, "missing role");
        target.operator().jwt_config(
            &issuer.way.mount,
            &issuer.signer,
            json!({ "default_role": "web" }),
        );
        issuer.way.assert_in(&run);
    });
}

#[test]
fn a_jwt_in_a_file_is_trimmed_and_can_be_removed_after_the_login() {
    on_every_vault(|target| {
        let issuer = Issuer::new(target, json!({}));
        let directory = directory();
        let file = directory.path().join("job-token");
        fs::write(&file, format!("{}\n", issuer.jwt(json!({})))).expect("a file");
        let run = issuer.run("").without("VAULT_JWT").env("BAO_JWT_FILE", &file);
        issuer.way.assert_in(&run);
        assert!(file.exists());
        issuer.way.assert_in(&run.option("--remove-credential-files=true"));
        assert!(!file.exists());
    });
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    on_every_vault(|target| {
        let bound = json!({ "bound_subject": "job", "bound_claims": { "branch": "main" } });
        let issuer = Issuer::new(target, bound);
        let right = json!({ "branch": "main" });
        issuer.way.assert_in(&issuer.run(&issuer.jwt(right)));
        let jwt = |name: &str, value: Value| {
            let mut claims = json!({ "branch": "main" });
            claims[name] = value;
            issuer.jwt(claims)
        };
        let of_another = JwtSigner::new().sign(json!({ "sub": "job", "aud": "vault" }));
        for (jwt, words) in [
            (of_another, "error verifying token signature"),
            (jwt("exp", json!(1)), "error validating token"),
            (jwt("iss", json!("https://other.example.com")), "invalid issuer (iss) claim"),
            (jwt("aud", json!("other")), "invalid audience (aud) claim"),
            (jwt("sub", json!("other")), "invalid subject (sub) claim"),
            (jwt("branch", json!("other")), "claim \"branch\" does not match"),
            (jwt("branch", Value::Null), "claim \"branch\" is missing"),
            ("not.a.jwt".to_owned(), "error validating token"),
        ] {
            let run = issuer.run(&jwt);
            issuer.way.assert_refused(&run, words);
            if jwt.len() > 20 {
                assert_says_nothing_of(&run, &jwt);
            }
        }
        let run = issuer.run(&issuer.jwt(json!({ "branch": "main" }))).env("VAULT_ROLE", "none");
        issuer.way.assert_refused(&run, "role \"none\" could not be found");
    });
}

#[test]
fn a_role_for_people_and_a_mount_without_keys_are_refused() {
    on_every_vault(|target| {
        let issuer = Issuer::new(target, json!({}));
        let oidc = json!({
            "role_type": "oidc", "allowed_redirect_uris": "http://localhost:8250/oidc/callback", "bound_audiences": null,
        });
        target.operator().jwt_role(&issuer.way.mount, "people", oidc);
        let run = issuer.run(&issuer.jwt(json!({})));
        issuer.way.assert_refused(
            &run.clone().env("VAULT_ROLE", "people"),
            "role with oidc role_type is not allowed",
        );
        let bare = WayIn::new(target, "jwt");
        target.operator().write(&format!("sys/auth/{}", bare.mount), json!({ "type": "jwt" }));
        bare.assert_refused(
            &run.env("VAULT_AUTH_MOUNT", &bare.mount),
            "could not load configuration",
        );
    });
}

#[test]
fn what_is_no_text_is_refused_before_anything_is_asked() {
    use std::os::unix::ffi::OsStringExt;

    let target = Target::from(TestVault::start());
    let issuer = Issuer::new(&target, json!({}));
    let bytes = std::ffi::OsString::from_vec(vec![b'a', 0xff, b'b']);
    issuer.run("").env("VAULT_JWT", bytes).fails(78, &["VAULT_JWT", "not UTF-8"]);
    issuer.run("").env("VAULT_JWT", " \n").fails(78, &["no JWT"]);
    assert_eq!(target.own().expect("ours").connections(), 0);
}

#[test]
fn a_job_of_github_actions_asks_for_its_token() {
    let target = Target::from(TestVault::start());
    let issuer = Issuer::new(&target, json!({ "bound_subject": "job" }));
    let jwt = issuer.jwt(json!({}));
    let answer = json!({ "count": 1, "value": jwt }).to_string().into_bytes();
    let actions = LocalServer::start(move |request| {
        let is_job = request.header("authorization") == Some("bearer of-the-job");
        let wrong = b"{\"message\":\"Bad credentials\"}".to_vec();
        if is_job { (200, Vec::new(), answer.clone()) } else { (401, Vec::new(), wrong) }
    });
    let run = issuer
        .way
        .run()
        .env("VAULT_ROLE", "web")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/token?api-version=2.0", actions.addr()))
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
    issuer.way.assert_in(&run);
    issuer.way.assert_login("", &json!({ "role": "web", "jwt": jwt }));
    issuer.way.assert_in(&run.clone().env("VAULT_JWT_AUDIENCE", "https://vault.example/a&b"));
    assert_eq!(
        actions.lines(),
        [
            "GET /token?api-version=2.0",
            "GET /token?api-version=2.0&audience=https%3A%2F%2Fvault.example%2Fa%26b"
        ]
    );
    let wrong = run.clone().env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another");
    wrong.fails(77, &["from GitHub Actions", "status 401", "id-token: write"]);
    run.clone()
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", "http://192.0.2.1/token")
        .fails(78, &["ACTIONS_ID_TOKEN_REQUEST_URL", "in clear"]);
    // What the user brings along goes first.
    issuer.way.assert_in(&run.env("VAULT_JWT", &jwt));
    assert_eq!(actions.requests().len(), 3);
}
