//! The auth method `aws`: what is signed, for whom, and what Vault says to it.

use std::collections::BTreeSet;
use std::fs;

use test_vault::{AwsKeys, Target, TestVault, Value, json};

use crate::support::aws_account::{
    AUTHORIZATION, Account, TOKEN, instance, signature, sources, with_keys,
};
use crate::support::{Run, directory};

fn target() -> Target {
    Target::from(TestVault::start())
}

#[test]
fn keys_of_the_environment_log_in() {
    for keys in [AwsKeys::of_user("app"), AwsKeys::of_role("app", "session")] {
        let target = target();
        let account = Account::with(&target, json!({}), keys);
        account.way.assert_in(&account.in_environment());
        let token = account.login()["iam_request_headers"]["X-Amz-Security-Token"].clone();
        assert_eq!(token.as_str(), account.keys.session_token.as_deref());
    }
}

#[test]
fn keys_of_an_env_file_log_in() {
    let (target, directory) = (target(), directory());
    let account = Account::new(&target);
    let AwsKeys { access_key_id, secret_access_key, session_token, .. } = &account.keys;
    let token = session_token.as_deref().expect("a token");
    let text = format!(
        "AWS_ACCESS_KEY_ID={access_key_id}\nAWS_SECRET_ACCESS_KEY='{secret_access_key}'\n\
         AWS_SESSION_TOKEN='{token}'\n"
    );
    let file = directory.path().join("aws.env");
    fs::write(&file, text).expect("a file");
    account.way.assert_in(&account.run().option("--env-file").option(file));
}

#[test]
fn the_login_is_a_signed_request_in_parts_and_nothing_else() {
    let target = target();
    let account = Account::new(&target);
    account.way.assert_in(&account.in_environment());
    let login = account.login();
    let names: BTreeSet<&String> = login.as_object().expect("an object").keys().collect();
    let fields = [
        "iam_http_request_method",
        "iam_request_body",
        "iam_request_headers",
        "iam_request_url",
        "role",
    ];
    assert!(names.into_iter().eq(fields.iter()), "{login}");
    assert_eq!(
        (&login["role"], &login["iam_http_request_method"]),
        (&json!("web"), &json!("POST"))
    );
    assert_eq!(login["iam_request_url"], "https://sts.amazonaws.com/");
    assert_eq!(login["iam_request_body"], "Action=GetCallerIdentity&Version=2011-06-15");
    let headers = login["iam_request_headers"].as_object().expect("an object");
    let names: BTreeSet<&String> = headers.keys().collect();
    let wanted = ["Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Security-Token"];
    assert!(names.into_iter().eq(wanted.iter()), "{login}");
    assert_eq!(headers["Content-Type"], "application/x-www-form-urlencoded; charset=utf-8");
    let authorization = headers["Authorization"].as_str().expect("text");
    let start = format!("AWS4-HMAC-SHA256 Credential={}/", account.keys.access_key_id);
    assert!(authorization.starts_with(&start), "{authorization}");
    let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,";
    assert!(authorization.contains(signed), "{authorization}");
}

#[test]
fn without_a_role_vault_takes_the_one_named_as_the_principal() {
    let target = target();
    let account = Account::new(&target);
    let run = account.in_environment().without("VAULT_ROLE");
    account.way.assert_refused(&run, "entry for role app not found");
    target.operator().aws_role(&account.way.mount, "app", account.way.role(json!({})));
    target.own().expect("ours").clear();
    account.way.assert_in(&run);
    assert_eq!(account.login().get("role"), None);
}

/// The mount of a region, and what its logins have to name.
#[track_caller]
fn assert_region(run: impl Fn(Run) -> Run, region: &str, host: &str) {
    let target = target();
    let client = json!({ "sts_endpoint": format!("https://{host}"), "sts_region": region });
    let account = Account::with(&target, client, AwsKeys::of_role("app", "session"));
    account.way.assert_in(&run(account.in_environment()));
    let login = account.login();
    assert_eq!(login["iam_request_url"], format!("https://{host}/"));
    let authorization =
        login["iam_request_headers"]["Authorization"].as_str().expect("text").to_owned();
    assert!(authorization.contains(&format!("/{region}/sts/aws4_request,")), "{authorization}");
}

#[test]
fn the_request_is_signed_for_the_region_of_the_mount() {
    let (frankfurt, host) = ("eu-central-1", "sts.eu-central-1.amazonaws.com");
    assert_region(|run| run.env("VAULT_AWS_REGION", frankfurt), frankfurt, host);
    assert_region(|run| run.env("BAO_AWS_REGION", " EU-Central-1 "), frankfurt, host);
    assert_region(
        |run| run.env("VAULT_AWS_REGION", "auto").env("AWS_REGION", frankfurt),
        frankfurt,
        host,
    );
    assert_region(
        |run| run.env("VAULT_AWS_REGION", "auto").env("AWS_DEFAULT_REGION", frankfurt),
        frankfurt,
        host,
    );
    let both = |run: Run| run.env("AWS_REGION", frankfurt).env("AWS_DEFAULT_REGION", "us-west-2");
    assert_region(|run| both(run).env("VAULT_AWS_REGION", "auto"), frankfurt, host);
    let (beijing, host) = ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn");
    assert_region(|run| run.env("VAULT_AWS_REGION", beijing), beijing, host);
}

#[test]
fn the_region_of_the_environment_counts_where_it_is_asked_for_only() {
    assert_region(|run| run.env("AWS_REGION", "eu-central-1"), "us-east-1", "sts.amazonaws.com");
    assert_region(|run| run.env("AWS_REGION", "no/region"), "us-east-1", "sts.amazonaws.com");
    assert_region(|run| run.env("VAULT_AWS_REGION", "us-east-1"), "us-east-1", "sts.amazonaws.com");
}

#[test]
fn what_is_no_region_stops_the_start() {
    let target = target();
    let run = Account::new(&target).in_environment();
    run.clone()
        .env("VAULT_AWS_REGION", "auto")
        .fails(78, &["VAULT_AWS_REGION is auto", "AWS_REGION"]);
    for wrong in ["evil.example.com/", "eu central", "eu-central-1.", "ü", "x#"] {
        let ended = run
            .clone()
            .env("VAULT_AWS_REGION", wrong)
            .fails(78, &["VAULT_AWS_REGION: not a region"]);
        assert!(!ended.stderr.contains(wrong), "{}", ended.stderr);
        let auto = run.clone().env("VAULT_AWS_REGION", "auto").env("AWS_DEFAULT_REGION", wrong);
        auto.fails(78, &["AWS_DEFAULT_REGION: not a region"]);
    }
    assert_eq!(target.own().expect("ours").lines(), Vec::<String>::new());
}

#[test]
fn a_mount_of_another_region_refuses_the_login() {
    let target = target();
    let client = json!({ "sts_region": "eu-central-1" });
    let account = Account::with(&target, client, AwsKeys::of_user("app"));
    let run = account.in_environment();
    let ended = account.way.assert_refused(&run, "Credential should be scoped to a valid region");
    assert!(ended.stderr.contains("VAULT_AWS_REGION"), "{}", ended.stderr);
}

#[test]
fn the_server_id_is_sent_and_signed() {
    let target = target();
    let client = json!({ "iam_server_id_header_value": "vault.example.com" });
    let account = Account::with(&target, client, AwsKeys::of_user("app"));
    let run = account.in_environment();
    let ended = account.way.assert_refused(&run, "missing header");
    assert!(ended.stderr.contains("VAULT_AWS_IAM_SERVER_ID"), "{}", ended.stderr);
    account.way.assert_refused(&run.clone().env("VAULT_AWS_IAM_SERVER_ID", "other"), "but got");
    target.own().expect("ours").clear();
    account.way.assert_in(&run.clone().env("VAULT_AWS_IAM_SERVER_ID", "vault.example.com"));
    assert_eq!(
        account.login()["iam_request_headers"]["X-Vault-AWS-IAM-Server-ID"],
        "vault.example.com"
    );
    account.way.assert_in(&run.env("BAO_AWS_IAM_SERVER_ID", "vault.example.com"));
}

#[test]
fn a_server_id_that_is_not_wanted_does_no_harm() {
    let target = target();
    let account = Account::new(&target);
    account
        .way
        .assert_in(&account.in_environment().env("VAULT_AWS_IAM_SERVER_ID", "a  server of  ours"));
}

#[test]
fn a_server_id_that_no_header_has_stops_the_start() {
    let target = target();
    let run = Account::new(&target).in_environment();
    for wrong in ["vault\nX-Amz-Date: 1", "vault\u{7f}", "tab\tin it", "ü"] {
        run.clone()
            .env("VAULT_AWS_IAM_SERVER_ID", wrong)
            .fails(78, &["VAULT_AWS_IAM_SERVER_ID: characters"]);
    }
    assert_eq!(target.own().expect("ours").lines(), Vec::<String>::new());
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    let target = target();
    let account = Account::new(&target);
    let keys = &account.keys;
    let secret_access_key = AwsKeys::of_user("app").secret_access_key;
    for (wrong, words) in [
        (AwsKeys::of_user("app"), "InvalidClientTokenId"),
        (AwsKeys { session_token: None, ..keys.clone() }, "InvalidClientTokenId"),
        (AwsKeys { secret_access_key, ..keys.clone() }, "SignatureDoesNotMatch"),
    ] {
        let run = with_keys(account.run(), &wrong);
        let ended = account.way.assert_refused(&run, words);
        assert!(
            ended.stderr.contains("does the role allow this IAM principal?"),
            "{}",
            ended.stderr
        );
        let secrets = [Some(wrong.secret_access_key.as_str()), wrong.session_token.as_deref()];
        account.assert_says_nothing(&run, &secrets.into_iter().flatten().collect::<Vec<_>>());
    }
    let run = account.in_environment().env("VAULT_ROLE", "none");
    account.way.assert_refused(&run, "entry for role none not found");
    let other = json!({ "bound_iam_principal_arn": "arn:aws:iam::123456789012:role/other" });
    target.operator().aws_role(&account.way.mount, "other", other);
    account.way.assert_refused(&run.env("VAULT_ROLE", "other"), "does not belong to the role");
}

#[test]
fn a_login_that_works_says_nothing_of_what_it_uses() {
    let target = target();
    let account = Account::new(&target);
    let AwsKeys { secret_access_key, session_token, .. } = &account.keys;
    let secrets =
        [secret_access_key, session_token.as_deref().expect("a token"), TOKEN, AUTHORIZATION];
    account.assert_says_nothing(&account.in_environment(), &secrets);
    for source in sources(&account.keys) {
        account.assert_says_nothing(&source.add_to(account.run()), &secrets);
    }
    let signatures: Vec<_> = account
        .way
        .logins()
        .iter()
        .map(|login| signature(&crate::support::aws_account::decoded(&login.json())))
        .collect();
    assert!(signatures.iter().all(|signature| signature.len() == 64), "{signatures:?}");
}

#[test]
fn the_variables_of_aws_are_the_applications_too() {
    let target = target();
    let account = Account::new(&target);
    let source = instance(&AwsKeys::of_role("other", "session"));
    let run = source.add_to(account.in_environment()).env("AWS_REGION", "eu-central-1");
    let of_aws = |run: &Run| -> Value {
        let environment =
            run.environment().into_iter().filter(|(name, _)| name.starts_with("AWS_"));
        environment.map(|(name, value)| (name, Value::from(value))).collect()
    };
    let AwsKeys { access_key_id, secret_access_key, session_token, .. } = &account.keys;
    let expected = json!({
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "AWS_SESSION_TOKEN": session_token,
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": source.server.addr(),
    });
    assert_eq!(of_aws(&run), expected);
    assert_eq!(of_aws(&run.option("--clean-env")), json!({}));
}

/// An application that gets keys from Vault does not log in with the text that stands for them.
#[test]
fn variables_that_are_to_be_fetched_are_no_credentials() {
    let target = target();
    let account = Account::new(&target);
    let source = instance(&account.keys);
    let reference = account.way.reference();
    let run = source.add_to(account.run());
    let run = run.env("AWS_ACCESS_KEY_ID", &reference).env("AWS_SECRET_ACCESS_KEY", &reference);
    assert_eq!(run.value("AWS_SECRET_ACCESS_KEY").as_deref(), Some("ada"));
    assert_eq!(source.lines().len(), 3, "{:?}", source.lines());
}
