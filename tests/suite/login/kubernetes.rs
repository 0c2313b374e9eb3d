//! The auth method `kubernetes`: the token of a pod's service account.

use std::fs;
use std::process::Command;

use test_vault::{KubernetesApi, Target, TestVault, Value, json, on_every_vault};

use crate::support::auth_mount::{WayIn, assert_says_nothing_of};
use crate::support::launch::as_root;
use crate::support::{Ended, Run, binary, directory};

/// A cluster, its method and a role for the service account `app` in `default`.
struct Cluster<'a> {
    way: WayIn<'a>,
    api: KubernetesApi,
}

impl Cluster<'_> {
    fn new(target: &Target, settings: Value) -> Cluster<'_> {
        let (way, api) = (WayIn::new(target, "kubernetes"), KubernetesApi::start());
        let operator = target.operator();
        operator.enable_kubernetes(&way.mount, &api);
        operator.kubernetes_role(&way.mount, "web", way.role(settings));
        Cluster { way, api }
    }

    fn token(&self) -> String {
        self.api.token("default", "app", json!({}))
    }

    fn run(&self, token: &str) -> Run {
        self.way.run().env("VAULT_ROLE", "web").env("VAULT_JWT", token)
    }
}

#[test]
fn a_service_account_logs_in_with_its_token() {
    on_every_vault(|target| {
        let cluster = Cluster::new(target, json!({}));
        cluster.way.assert_in(&cluster.run(&cluster.token()));
        cluster.way.assert_in(&cluster.run(&cluster.token()).without("VAULT_AUTH_METHOD"));
    });
}

#[test]
fn the_login_has_role_and_token_and_nothing_else() {
    let target = Target::from(TestVault::start());
    let cluster = Cluster::new(&target, json!({}));
    let token = cluster.token();
    cluster.way.assert_in(&cluster.run(&token));
    cluster.way.assert_login("", &json!({ "role": "web", "jwt": token }));
}

#[test]
fn the_token_in_a_file_is_trimmed_and_read_at_each_start() {
    on_every_vault(|target| {
        let cluster = Cluster::new(target, json!({}));
        let directory = directory();
        let file = directory.path().join("token");
        let run = cluster.run("").without("VAULT_JWT").env("VAULT_JWT_FILE", &file);
        let first = cluster.token();
        fs::write(&file, format!("\n {first}\n\n")).expect("a file");
        cluster.way.assert_in(&run);
        cluster.api.delete(&first);
        cluster.way.assert_refused(&run, "permission denied");
        fs::write(&file, cluster.api.token("default", "app", json!({ "jti": "next" })))
            .expect("a file");
        cluster.way.assert_in(&run);
    });
}

/// The usual place is root's, so the test has a view of the files of its own there.
#[test]
fn without_another_file_the_token_is_read_where_kubernetes_puts_it() {
    as_root(
        "login::kubernetes::without_another_file_the_token_is_read_where_kubernetes_puts_it",
        || {
            let target = Target::from(TestVault::start());
            let cluster = Cluster::new(&target, json!({}));
            let token = cluster.token();
            let run = cluster
                .run("")
                .without("VAULT_JWT")
                .without("VAULT_AUTH_METHOD")
                .env("TOKEN", &token);
            let mounts = "mkdir -p /var/run && mount -t tmpfs none /var/run && cd /var/run && \
                          mkdir -p secrets/kubernetes.io/serviceaccount && echo \"$TOKEN\" > \
                          secrets/kubernetes.io/serviceaccount/token && exec \"$0\" \"$@\"";
            // With jwt, as the webhook of bank-vaults sets it.
            let jwt = run.clone().env("VAULT_AUTH_METHOD", "jwt");
            let removing = run.clone().option("--remove-credential-files=true");
            for run in [run, removing, jwt] {
                let run = run.shell("echo $A");
                let mut command = Command::new("unshare");
                command
                    .env_clear()
                    .envs(run.variables())
                    .args(["-m", "sh", "-c", mounts])
                    .arg(binary());
                let ended =
                    Ended::of(command.args(run.build().get_args()).output().expect("unshare runs"));
                assert_eq!(
                    (ended.code, ended.text().as_str()),
                    (Some(0), "ada\n"),
                    "{}",
                    ended.stderr
                );
                // The kubelet's file is not ours to remove.
                assert_eq!(ended.stderr, "");
            }
            assert_eq!(cluster.way.logins().len(), 3);
            cluster.way.logins().iter().for_each(|login| assert_eq!(login.json()["jwt"], token));
        },
    );
}

// As vault-env has it, whose webhook sets a token beside the method jwt.
#[test]
fn a_token_that_is_given_beside_a_service_account_is_used() {
    on_every_vault(|target| {
        let mount = crate::support::application::with_app(target);
        for method in ["kubernetes", "jwt"] {
            let run = crate::support::application::as_root(target)
                .env("VAULT_AUTH_METHOD", method)
                .env("VAULT_PATH", "kubernetes")
                .env("VAULT_ROLE", "web")
                .env("A", format!("vault:{mount}/app#user"));
            assert_eq!(run.value("A").as_deref(), Some("ada"), "{method}");
            run.without("VAULT_TOKEN").fails(78, &[method, "VAULT_JWT"]);
        }
    });
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    on_every_vault(|target| {
        let cluster = Cluster::new(target, json!({}));
        let other = |claims: Value| cluster.api.token("default", "app", claims);
        let deleted = other(json!({ "jti": "deleted" }));
        cluster.api.delete(&deleted);
        for (token, words) in [
            (KubernetesApi::start().token("default", "app", json!({})), "permission denied"),
            (deleted, "permission denied"),
            (
                cluster.api.token("default", "other", json!({})),
                "service account name not authorized",
            ),
            (cluster.api.token("other", "app", json!({})), "namespace not authorized"),
            (other(json!({ "exp": 1 })), "expired"),
        ] {
            let run = cluster.run(&token);
            let ended = cluster.way.assert_refused(&run, words);
            assert!(ended.stderr.contains("TokenReview"), "{}", ended.stderr);
            assert_says_nothing_of(&run, &token);
        }
        let role = cluster.run(&cluster.token()).env("VAULT_ROLE", "none");
        cluster.way.assert_refused(&role, "invalid role name \"none\"");
    });
}

#[test]
fn an_audience_that_the_role_does_not_want_is_refused() {
    on_every_vault(|target| {
        let cluster = Cluster::new(target, json!({ "audience": "vault" }));
        let for_vault = cluster.api.token("default", "app", json!({ "aud": ["vault"] }));
        cluster.way.assert_in(&cluster.run(&for_vault));
        cluster.way.assert_refused(&cluster.run(&cluster.token()), "invalid audience (aud) claim");
    });
}

#[test]
fn a_mount_without_a_configuration_is_a_server_that_is_not_ready() {
    on_every_vault(|target| {
        let way = WayIn::new(target, "kubernetes");
        let operator = target.operator();
        operator.write(&format!("sys/auth/{}", way.mount), json!({ "type": "kubernetes" }));
        operator.kubernetes_role(&way.mount, "web", way.role(json!({})));
        let token = KubernetesApi::start().token("default", "app", json!({}));
        let run = way.run().env("VAULT_ROLE", "web").env("VAULT_JWT", token);
        run.fails(69, &["could not load backend configuration", "not repeated"]);
    });
}
