//! AWS as the tests of its login need it: a mount that knows some keys, and runs that find their
//! keys in one place each.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_vault::{
    AwsKeys, LocalServer, Recorded, Target, Value, WebIdentity, container_credentials,
    ec2_metadata, json, sts,
};

use crate::support::auth_mount::{WayIn, assert_says_nothing_of};
use crate::support::{Run, directory};

pub(crate) const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/app";
/// A token as an identity provider could write it; forms have to escape some of it.
pub(crate) const TOKEN: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhcHAifQ+/=.c2lnbmF0dXJlLW9mLXRoZS1wcm92aWRlcg";
/// Proves to the container's server that the request comes from this container; it contains a
/// character of base64.
pub(crate) const AUTHORIZATION: &str = "Bearer-of-the-pod+0123456789abcdef==";
const CREDENTIALS: &str = "/v1/credentials";

/// A mount that knows the keys of the AWS role `app`, with a Vault role, `web`, for it.
pub(crate) struct Account<'a> {
    pub(crate) way: WayIn<'a>,
    pub(crate) keys: AwsKeys,
}

impl Account<'_> {
    pub(crate) fn new(target: &Target) -> Account<'_> {
        Account::with(target, json!({}), AwsKeys::of_role("app", "i-0123456789abcdef0"))
    }

    /// The same with settings for the mount's `config/client`, and other keys.
    pub(crate) fn with(target: &Target, client: Value, keys: AwsKeys) -> Account<'_> {
        let way = WayIn::new(target, "aws");
        let operator = target.operator();
        operator.enable_aws(&way.mount, client, &[&keys]);
        let bound =
            json!({ "bound_iam_principal_arn": [ROLE_ARN, "arn:aws:iam::123456789012:user/app"] });
        operator.aws_role(&way.mount, "web", way.role(bound));
        Account { way, keys }
    }

    /// Returns a run without any credentials, which does not ask the instance for them.
    pub(crate) fn run(&self) -> Run {
        self.way.run().env("VAULT_ROLE", "web").env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Returns a run with the keys in its environment.
    pub(crate) fn in_environment(&self) -> Run {
        with_keys(self.run(), &self.keys)
    }

    /// Returns the fields of the only login, decoded.
    #[track_caller]
    pub(crate) fn login(&self) -> Value {
        let logins = self.way.logins();
        let [login] = logins.as_slice() else { panic!("{} logins", logins.len()) };
        assert_eq!(login.line(), format!("POST /v1/auth/{}/login", self.way.mount));
        decoded(&login.json())
    }

    /// Asserts that a run at the highest log level reveals neither these secrets nor its signature.
    #[track_caller]
    pub(crate) fn assert_says_nothing(&self, run: &Run, secrets: &[&str]) {
        for secret in secrets {
            assert_says_nothing_of(run, secret);
        }
        let ended = run.clone().option("--log-level=trace").marker().end();
        for login in self.way.logins() {
            let signature = signature(&decoded(&login.json()));
            assert!(!ended.stderr.contains(&signature[..20]), "{}", ended.stderr);
        }
    }
}

/// Returns a run with these keys in its environment.
pub(crate) fn with_keys(run: Run, keys: &AwsKeys) -> Run {
    let run = run
        .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
    match &keys.session_token {
        Some(token) => run.env("AWS_SESSION_TOKEN", token),
        None => run,
    }
}

/// Returns the login's own fields as they are, and decodes those in base64.
pub(crate) fn decoded(login: &Value) -> Value {
    let mut login = login.clone();
    for name in ["iam_request_url", "iam_request_body", "iam_request_headers"] {
        let bytes = STANDARD.decode(login[name].as_str().expect("text")).expect("base64");
        login[name] = String::from_utf8(bytes).expect("UTF-8").into();
    }
    login["iam_request_headers"] =
        serde_json::from_str(login["iam_request_headers"].as_str().expect("text")).expect("JSON");
    login
}

/// Returns the signature in a decoded login.
pub(crate) fn signature(login: &Value) -> String {
    let authorization =
        login["iam_request_headers"]["Authorization"].as_str().expect("an Authorization");
    authorization.split_once("Signature=").expect("a signature").1.to_owned()
}

/// A platform that hands out keys, and the files that a run needs for it.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) server: LocalServer,
    pub(crate) directory: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Source {
    fn new(name: &'static str, server: LocalServer) -> Source {
        Source { name, server, directory: directory(), variables: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Source {
        self.variables.push((name, value.into()));
        self
    }

    /// Writes a file that belongs to the source.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.path().join(name);
        fs::write(&file, text).expect("a file");
        file
    }

    /// Returns the run, set up to ask this source.
    pub(crate) fn add_to(&self, run: Run) -> Run {
        self.variables.iter().fold(run, |run, (name, value)| run.env(*name, value))
    }

    /// Returns the requests that it received, as lines and in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.server.lines()
    }

    /// Returns the requests that it received.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

/// Returns a web identity, whose token file has white space around the token.
pub(crate) fn web_identity(keys: &AwsKeys) -> Source {
    let identity =
        WebIdentity { token: TOKEN.to_owned(), role_arn: ROLE_ARN.to_owned(), keys: keys.clone() };
    let source = Source::new("web identity", sts(vec![identity]));
    let (file, addr) = (source.file("token", &format!("\n {TOKEN}\n\n")), source.server.addr());
    source
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", text(&file))
        .with("AWS_ROLE_ARN", ROLE_ARN)
        .with("AWS_ENDPOINT_URL_STS", addr)
}

/// Returns an EKS container, whose authorization is in a file.
pub(crate) fn container(keys: &AwsKeys) -> Source {
    let source =
        Source::new("container", container_credentials(CREDENTIALS, Some(AUTHORIZATION), keys));
    let (file, addr) =
        (source.file("authorization", &format!("{AUTHORIZATION}\n")), source.server.addr());
    source
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{addr}{CREDENTIALS}"))
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&file))
}

/// Returns an instance with the role `app`.
pub(crate) fn instance(keys: &AwsKeys) -> Source {
    let source = Source::new("instance", ec2_metadata(Some("app"), keys, "eu-central-1"));
    let addr = source.server.addr();
    source
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", addr)
        .with("AWS_EC2_METADATA_DISABLED", "false")
}

/// Returns all platforms.
pub(crate) fn sources(keys: &AwsKeys) -> [Source; 3] {
    [web_identity(keys), container(keys), instance(keys)]
}

fn text(file: &Path) -> String {
    file.to_str().expect("UTF-8").to_owned()
}
