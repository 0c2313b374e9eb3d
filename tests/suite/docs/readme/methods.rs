//! The README's section of each auth method: what its operator writes and what its container gets
//! make a login together.

use std::collections::BTreeMap;
use std::fs;

use test_vault::{
    AwsKeys, AzureMetadata, ClientCa, ClientCertificate, GcpMetadata, JwtSigner, KubernetesApi,
    Operator, Target, json, on_every_https_vault,
};

use super::{Block, Scene, blocks};
use crate::support::{Ended, run_at};

/// What is around a container: clusters, issuers, directories and metadata servers, and their
/// files.
struct Surroundings {
    cluster: KubernetesApi,
    issuer: JwtSigner,
    clients: ClientCa,
    client: ClientCertificate,
    keys: AwsKeys,
    google: GcpMetadata,
    azure: AzureMetadata,
}

const PASSWORD: &str = "correct horse";

/// Methods that `OpenBao` has not built in, or that want what no test has.
const OURS_ALONE: [&str; 4] = ["ldap", "aws", "gcp", "azure"];

impl Surroundings {
    fn new() -> Surroundings {
        let clients = ClientCa::new();
        let client = clients.issue("app");
        Surroundings {
            cluster: KubernetesApi::start(),
            issuer: JwtSigner::new(),
            clients,
            client,
            keys: AwsKeys::of_role("app", "session"),
            google: GcpMetadata::start(),
            azure: AzureMetadata::start(),
        }
    }

    /// The files that the examples name.
    fn files(&self, scene: &Scene<'_>) {
        let claims =
            json!({ "iss": "https://ci.example.com", "sub": "project:app", "aud": "vault" });
        let token = self.issuer.sign(claims);
        let read =
            |path: std::path::PathBuf| fs::read_to_string(path).expect("a file of the client");
        for (name, text) in [
            ("issuer.pem", self.issuer.public_key().to_owned()),
            ("job-token", token),
            ("clients-ca.pem", self.clients.pem()),
            ("client.pem", read(self.client.cert())),
            ("client-key.pem", read(self.client.key())),
            ("password", PASSWORD.to_owned()),
            ("service-account", self.cluster.token("default", "app", json!({}))),
        ] {
            fs::write(scene.path(name), text).expect("a file");
        }
    }

    /// What the operator's lines say of the outside world, with the test's own in its place.
    fn fitted(&self, text: &str) -> String {
        let cluster = self.cluster.addr();
        [
            // The server of the test is in no cluster.
            (
                "https://kubernetes.default.svc",
                format!("{cluster} kubernetes_ca_cert=none disable_local_ca_jwt=true"),
            ),
            ("bound_projects=my-project", format!("bound_projects={}", GcpMetadata::PROJECT)),
            ("app@my-project.iam.gserviceaccount.com", GcpMetadata::EMAIL.to_owned()),
            ("7cd1f227-ca67-4fc6-a1a4-9888ea7f388c", AzureMetadata::TENANT.to_owned()),
            ("0b1f6471-1bf0-4dda-aec3-cb9272f09590", AzureMetadata::SUBSCRIPTION.to_owned()),
            ("c1e6a9a2-5f1d-4e0b-9d0c-6a1f0f3f7b58", AzureMetadata::PRINCIPAL.to_owned()),
            (
                "bound_resource_groups=app",
                format!("bound_resource_groups={}", AzureMetadata::RESOURCE_GROUP),
            ),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (shown, own)| text.replace(shown, &own))
    }

    /// What no operator writes, but the outside world knows.
    fn known_to_the_world(&self, operator: &Operator, method: &str) {
        let write = |path: &str, body| drop(operator.write(path, body));
        match method {
            "ldap" => write("auth/ldap/config", json!({ "directory": { "app": PASSWORD } })),
            "aws" => operator.aws_knows("aws", &[&self.keys]),
            "gcp" => write(
                "auth/gcp/config",
                json!({ "test_public_key": self.google.signer().public_key() }),
            ),
            "azure" => {
                let key = self.azure.signer().public_key();
                let resource = "https://management.azure.com/";
                let config = json!({ "tenant_id": AzureMetadata::TENANT, "resource": resource, "test_public_key": key });
                write("auth/azure/config", config);
            }
            _ => {}
        }
    }

    /// What the platform puts around the container.
    fn environment(&self, scene: &Scene<'_>, method: &str) -> Vec<(&'static str, String)> {
        match method {
            "kubernetes" => {
                vec![("VAULT_JWT_FILE", scene.path("service-account").display().to_string())]
            }
            "aws" => vec![
                ("AWS_ACCESS_KEY_ID", self.keys.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY", self.keys.secret_access_key.clone()),
                ("AWS_SESSION_TOKEN", self.keys.session_token.clone().expect("a role's")),
            ],
            "gcp" => vec![("GCE_METADATA_HOST", self.google.host())],
            "azure" => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.addr())],
            _ => Vec::new(),
        }
    }
}

/// The operator's block and the container's, by method.
fn pairs() -> BTreeMap<&'static str, (Block, Block)> {
    let mut operators = BTreeMap::new();
    let mut pairs = BTreeMap::new();
    for block in blocks() {
        let Some(method) = block.file.and_then(|file| file.strip_prefix("for-")) else { continue };
        match block.language {
            "sh" => drop(operators.insert(method, block)),
            "ini" => {
                let operator = operators
                    .remove(method)
                    .expect("the operator's block stands before the container's");
                pairs.insert(method, (operator, block));
            }
            other => panic!("{other} for {method}"),
        }
    }
    assert!(operators.is_empty(), "{operators:?}");
    pairs
}

/// The container starts with the settings, in the directory of the files that they name.
fn start(scene: &Scene<'_>, settings: &str, surroundings: Vec<(&'static str, String)>) -> Ended {
    let run = run_at(scene.target)
        .env("DB_PASSWORD", "vault:secret/app#password")
        .shell("echo \"$DB_PASSWORD\"");
    let set = settings.lines().map(|line| line.split_once('=').expect("NAME=value"));
    let run = set.fold(run, |run, (name, value)| run.env(name, value));
    let run = surroundings.into_iter().fold(run, |run, (name, value)| run.env(name, value));
    Ended::of(run.build().current_dir(scene.path("")).output().expect("it runs"))
}

#[test]
fn every_way_in_is_as_it_is_shown() {
    on_every_https_vault(|target| {
        let (scene, surroundings) = (Scene::new(target), Surroundings::new());
        surroundings.files(&scene);
        for block in blocks()
            .iter()
            .take_while(|block| block.file.is_none_or(|file| !file.starts_with("for-")))
        {
            if block.language != "console" {
                scene.play(block);
            }
        }
        let pairs = pairs();
        assert_eq!(pairs.len(), 8, "{:?}", pairs.keys());
        for (method, (operator, container)) in pairs {
            if target.own().is_none() && OURS_ALONE.contains(&method) {
                continue;
            }
            scene.play(&Block {
                file: None,
                text: surroundings.fitted(&operator.text),
                ..operator
            });
            surroundings.known_to_the_world(&target.operator(), method);
            let ended = start(&scene, &container.text, surroundings.environment(&scene, method));
            assert_eq!(
                (ended.code, ended.text().as_str()),
                (Some(0), "correct-horse\n"),
                "{method}: {}",
                ended.stderr
            );
            assert_used(target, method);
        }
    });
}

/// It was this method that let it in.
fn assert_used(target: &Target, method: &str) {
    if let Some(vault) = target.own() {
        let login = format!("POST /v1/auth/{method}/login");
        assert!(
            vault.lines().iter().any(|line| line.starts_with(&login)),
            "{method}: {:?}",
            vault.lines()
        );
    }
}
