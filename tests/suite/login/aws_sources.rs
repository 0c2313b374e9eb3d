//! Where the auth method `aws` finds credentials: in which order, with which requests, and what
//! becomes of failures.

use std::thread;
use std::time::Duration;

use reqwest::header::HeaderName;
use test_vault::{
    AwsKeys, Fault, LocalServer, Recorded, Target, TestVault, container_credentials, ec2_metadata,
    sts_error,
};

use crate::support::Run;
use crate::support::aws_account::{
    AUTHORIZATION, Account, ROLE_ARN, Source, TOKEN, container, instance, sources, web_identity,
};
use crate::support::launch::PATIENCE;

const KEYS: &str = "/latest/meta-data/iam/security-credentials/";
const PUT: &str = "PUT /latest/api/token";

fn target() -> Target {
    Target::from(TestVault::start())
}

/// The start fails before Vault is asked for anything.
#[track_caller]
fn assert_not_asked(account: &Account<'_>, run: &Run, code: i32, words: &[&str]) {
    account.way.target.own().expect("ours").clear();
    run.fails(code, words);
    assert_eq!(account.way.logins().len(), 0, "{words:?}");
}

fn soon(run: Run) -> Run {
    run.env("VAULT_EXEC_TIMEOUT", "700ms")
}

/// The names of a request's headers.
fn headers(request: &Recorded) -> Vec<&str> {
    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn each_source_logs_in() {
    let target = target();
    let account = Account::new(&target);
    for source in sources(&account.keys) {
        target.own().expect("ours").clear();
        account.way.assert_in(&source.add_to(account.run()));
        let credential = format!("Credential={}/", account.keys.access_key_id);
        let authorization = account.login()["iam_request_headers"]["Authorization"].to_string();
        assert!(authorization.contains(&credential), "{}: {authorization}", source.name);
    }
}

#[test]
fn a_web_identity_is_exchanged_with_one_form() {
    let target = target();
    let account = Account::new(&target);
    let source = web_identity(&account.keys);
    account.way.assert_in(&source.add_to(account.run()));
    let run = source.add_to(account.run()).env("AWS_ROLE_SESSION_NAME", "pod@app.example");
    account.way.assert_in(&run);
    let of_all_services =
        run.without("AWS_ENDPOINT_URL_STS").env("AWS_ENDPOINT_URL", source.server.addr());
    account.way.assert_in(&of_all_services);
    assert_eq!(source.lines(), ["POST /"; 3]);
    let token = TOKEN.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let role = ROLE_ARN.replace(':', "%3A").replace('/', "%2F");
    for (request, session) in
        source.requests().iter().zip(["vault-exec", "pod%40app.example", "pod%40app.example"])
    {
        let expected = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&\
             RoleSessionName={session}&WebIdentityToken={token}"
        );
        assert_eq!(String::from_utf8_lossy(&request.body), expected);
        assert_eq!(
            headers(request),
            ["accept", "content-length", "content-type", "host", "user-agent"]
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/x-www-form-urlencoded; charset=utf-8")
        );
    }
}

#[test]
fn the_token_of_a_web_identity_is_read_at_each_start() {
    let target = target();
    let account = Account::new(&target);
    let source = web_identity(&account.keys);
    let run = source.add_to(account.run());
    source.file("token", "another.one");
    assert_not_asked(&account, &run, 77, &["InvalidIdentityToken", "trust the issuer"]);
    source.file("token", TOKEN);
    account.way.assert_in(&run);
}

#[test]
fn a_container_is_asked_once_with_what_authorizes_it() {
    let target = target();
    let account = Account::new(&target);
    let source = container(&account.keys);
    let with_file = source.add_to(account.run());
    let with_value = with_file
        .clone()
        .without("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", format!(" {AUTHORIZATION}\n"));
    let with_both = with_file.clone().env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of-another");
    for run in [with_file, with_value, with_both] {
        account.way.assert_in(&run);
    }
    assert_eq!(source.lines(), ["GET /v1/credentials"; 3]);
    for request in source.requests() {
        assert_eq!(headers(&request), ["accept", "authorization", "host", "user-agent"]);
        assert_eq!(request.header("authorization"), Some(AUTHORIZATION));
    }
}

#[test]
fn a_container_without_an_authorization_sends_none() {
    let target = target();
    let account = Account::new(&target);
    let server = container_credentials("/v2/credentials/0f", None, &account.keys);
    let run = account
        .run()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v2/credentials/0f", server.addr()));
    account.way.assert_in(&run);
    assert_eq!(headers(&server.requests()[0]), ["accept", "host", "user-agent"]);
}

/// As AWS's own libraries take it: `Basic abcd`.
#[test]
fn an_authorization_may_have_its_scheme_before_it() {
    let target = target();
    let account = Account::new(&target);
    let server = container_credentials("/credentials", Some("Basic YWJjZA=="), &account.keys);
    let source = container(&account.keys);
    source.file("authorization", "Basic YWJjZA==\n");
    let uri = format!("{}/credentials", server.addr());
    let run = source.add_to(account.run()).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    account.way.assert_in(&run);
    let run = run.without("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    account.way.assert_in(&run.clone().env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic YWJjZA=="));
    let run = run.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic\nX-Other: header");
    assert_not_asked(&account, &run, 78, &["AWS_CONTAINER_AUTHORIZATION_TOKEN: no token in it"]);
}

#[test]
fn an_instance_is_asked_for_a_token_the_role_and_its_keys() {
    let target = target();
    let account = Account::new(&target);
    let source = instance(&account.keys);
    account.way.assert_in(&source.add_to(account.run()));
    assert_eq!(source.lines(), [PUT.to_owned(), format!("GET {KEYS}"), format!("GET {KEYS}app")]);
    let [token, role, keys] = &source.requests()[..] else { panic!("three") };
    let ttl = "x-aws-ec2-metadata-token-ttl-seconds";
    assert_eq!(headers(token), ["accept", "host", "user-agent", ttl]);
    assert!(
        token.body.is_empty() && token.header(ttl).is_some_and(|ttl| ttl.parse::<u32>().is_ok())
    );
    for request in [role, keys] {
        assert_eq!(headers(request), ["accept", "host", "user-agent", "x-aws-ec2-metadata-token"]);
    }
}

#[test]
fn a_roles_name_may_have_every_sign_of_a_role() {
    let target = target();
    let account = Account::new(&target);
    let server = ec2_metadata(Some("app+web=1,x.y@z-_"), &account.keys, "eu-central-1");
    let run = instance(&account.keys)
        .add_to(account.run())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.addr());
    account.way.assert_in(&run);
}

#[test]
fn the_first_source_that_the_environment_speaks_of_is_the_only_one() {
    let target = target();
    let account = Account::new(&target);
    let sources = sources(&account.keys);
    let all = sources.iter().fold(account.in_environment(), |run, source| source.add_to(run));
    let asked = || sources.each_ref().map(|source| source.lines().len());
    account.way.assert_in(&all);
    assert_eq!(asked(), [0, 0, 0]);
    let no_keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let all = no_keys.into_iter().fold(all, |run, name| run.env(name, ""));
    account.way.assert_in(&all);
    assert_eq!(asked(), [1, 0, 0]);
    let all = all.without("AWS_WEB_IDENTITY_TOKEN_FILE");
    account.way.assert_in(&all);
    assert_eq!(asked(), [1, 1, 0]);
    account.way.assert_in(&all.without("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    assert_eq!(asked(), [1, 1, 3]);
}

#[test]
fn a_source_that_fails_does_not_make_way_for_the_next() {
    let target = target();
    let account = Account::new(&target);
    let [first, second, third] = sources(&account.keys);
    first.file("token", "unknown.to.aws");
    let run = third.add_to(second.add_to(first.add_to(account.run())));
    assert_not_asked(&account, &run, 77, &["AssumeRoleWithWebIdentity"]);
    assert_eq!([second.lines().len(), third.lines().len()], [0, 0]);
}

#[test]
fn variables_that_do_not_go_together_stop_the_start() {
    let target = target();
    let account = Account::new(&target);
    let bare = account.run();
    let full = |address: &str| bare.clone().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", address);
    for (run, words) in [
        (
            bare.clone().env("AWS_ACCESS_KEY_ID", "AKIA1"),
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            bare.clone().env("AWS_SECRET_ACCESS_KEY", "x"),
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            account.in_environment().env("AWS_SESSION_TOKEN", "in two\nlines"),
            "characters that no key has",
        ),
        (bare.clone().env("AWS_WEB_IDENTITY_TOKEN_FILE", "/none"), "AWS_ROLE_ARN is not"),
        (full("http://192.0.2.1/x"), "credentials in clear from another machine"),
        (full("http://127.0.0.1.example.com/x"), "credentials in clear from another machine"),
        (
            full("http://localhost@192.0.2.1/x"),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI: not an address",
        ),
        (full("http://u:s3cret@127.0.0.1/x"), "AWS_CONTAINER_CREDENTIALS_FULL_URI: not an address"),
        (full("ftp://127.0.0.1/x"), "AWS_CONTAINER_CREDENTIALS_FULL_URI: not an address"),
        (full("no address"), "AWS_CONTAINER_CREDENTIALS_FULL_URI: not an address"),
        (bare.clone(), "AWS_EC2_METADATA_DISABLED is true"),
        (
            bare.clone().env("AWS_EC2_METADATA_DISABLED", "TRUE"),
            "AWS_EC2_METADATA_DISABLED is true",
        ),
        (
            instance(&account.keys)
                .add_to(bare.clone())
                .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "metadata"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT: not an address",
        ),
        (
            web_identity(&account.keys).add_to(bare.clone()).env("AWS_ENDPOINT_URL_STS", "sts"),
            "AWS_ENDPOINT_URL_STS: not an address",
        ),
        (
            web_identity(&account.keys)
                .add_to(bare.clone())
                .env("AWS_ENDPOINT_URL_STS", "http://u:s3cret@127.0.0.1"),
            "AWS_ENDPOINT_URL_STS: not an address",
        ),
        (
            web_identity(&account.keys)
                .add_to(bare.clone())
                .env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1/?a=b"),
            "AWS_ENDPOINT_URL_STS: a `?` in the address",
        ),
        (
            web_identity(&account.keys).add_to(bare.clone()).env("AWS_REGION", "no/region"),
            "AWS_REGION: not a region",
        ),
    ] {
        let ended = run.fails(78, &[words]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
        assert_eq!(target.own().expect("ours").lines(), Vec::<String>::new(), "{words}");
    }
}

#[test]
fn a_file_without_a_token_stops_the_start() {
    let target = target();
    let account = Account::new(&target);
    let [identity, container, _] = sources(&account.keys);
    for (source, file, name) in [
        (identity, "token", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        (container, "authorization", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    ] {
        let run = source.add_to(account.run());
        for text in ["", " \n", "two\nlines", "\u{e4}"] {
            source.file(file, text);
            assert_not_asked(&account, &run, 78, &[name, "no token in it"]);
        }
        let none = source.directory.path().join("none");
        assert_not_asked(&account, &run.env(name, none), 78, &[name, "none"]);
        assert_eq!(source.lines(), Vec::<String>::new());
    }
}

/// The first request of each source.
fn sources_and_first(keys: &AwsKeys) -> Vec<(Source, &'static str)> {
    sources(keys).into_iter().zip(["POST /", "GET /v1/credentials", PUT]).collect()
}

#[test]
fn a_refusal_of_the_platform_ends_the_start() {
    let target = target();
    let account = Account::new(&target);
    for status in [400, 401, 403, 404] {
        for (source, first) in sources_and_first(&account.keys) {
            source.server.fault(first, Fault::answer(status, "{}"));
            let hint = match source.name {
                "web identity" => "trust the issuer",
                "container" => "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                _ => "has the instance an IAM role",
            };
            let run = source.add_to(account.run());
            assert_not_asked(&account, &run, 77, &["AWS", &format!("status {status}"), hint]);
            assert_eq!(source.lines().len(), 1, "{}", source.name);
        }
    }
}

#[test]
fn the_words_of_a_refusal_are_told() {
    let target = target();
    let account = Account::new(&target);
    let source = web_identity(&account.keys);
    let run = source.add_to(account.run());
    assert_not_asked(
        &account,
        &run.clone().env("AWS_ROLE_ARN", "arn:other"),
        77,
        &["AccessDenied", "Not authorized"],
    );
    assert_not_asked(
        &account,
        &run.clone().env("AWS_ROLE_SESSION_NAME", "a b"),
        77,
        &["ValidationError", "'a b'"],
    );
    let expired = sts_error(400, "ExpiredTokenException", &format!("Token {TOKEN} expired: 1 < 2"));
    source.server.fault("POST /", expired);
    assert_not_asked(
        &account,
        &run,
        77,
        &["ExpiredTokenException", "expired: 1 < 2", "[redacted]"],
    );
    account.assert_says_nothing(&run, &[TOKEN]);
    let source = container(&account.keys);
    source.file("authorization", "of-another");
    assert_not_asked(
        &account,
        &source.add_to(account.run()),
        77,
        &["status 403: AccessDeniedException"],
    );
}

/// A server that repeats what it was sent is not repeated.
#[test]
fn a_refusal_that_quotes_the_authorization_is_not_shown_with_it() {
    let target = target();
    let account = Account::new(&target);
    let source = container(&account.keys);
    source
        .server
        .fault("GET /", Fault::answer(401, format!("{{\"code\":\"not {AUTHORIZATION}\"}}")));
    let run = source.add_to(account.run());
    assert_not_asked(&account, &run, 77, &["status 401: not [redacted]"]);
    account.assert_says_nothing(&run, &[AUTHORIZATION]);
}

#[test]
fn an_instance_without_a_role_is_told() {
    let target = target();
    let account = Account::new(&target);
    let server = ec2_metadata(None, &account.keys, "eu-central-1");
    let run = instance(&account.keys)
        .add_to(account.run())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.addr());
    assert_not_asked(&account, &run, 77, &["status 404", "has the instance an IAM role"]);
    assert_eq!(server.lines(), [PUT.to_owned(), format!("GET {KEYS}")]);
}

#[test]
fn an_answer_without_usable_keys_is_not_the_protocol() {
    let target = target();
    let account = Account::new(&target);
    let wrong = [
        "",
        "[]",
        "<html></html>",
        r#"{"AccessKeyId":"ASIA1"}"#,
        r#"{"AccessKeyId":1,"SecretAccessKey":2}"#,
    ];
    let odd = r#"{"AccessKeyId":"ASIA1","SecretAccessKey":"two words","Token":"t"}"#;
    for (source, asked) in sources(&account.keys).into_iter().zip([
        "POST /",
        "GET /v1/credentials",
        &format!("GET {KEYS}app"),
    ]) {
        for body in wrong {
            source.server.fault_times(1, asked, Fault::answer(200, body));
            assert_not_asked(
                &account,
                &source.add_to(account.run()),
                76,
                &["AWS", "no AccessKeyId"],
            );
        }
        if source.name != "web identity" {
            source.server.fault_times(1, asked, Fault::answer(200, odd));
            assert_not_asked(
                &account,
                &source.add_to(account.run()),
                76,
                &["AWS", "no usable key"],
            );
        }
        source.server.fault_times(1, asked, Fault::redirect("http://192.0.2.1/"));
        assert_not_asked(&account, &source.add_to(account.run()), 76, &["AWS", "status 307"]);
    }
    let source = instance(&account.keys);
    for (path, body, thing) in
        [(PUT, "", "token"), (PUT, "two words", "token"), ("GET /latest/", " \n", "role")]
    {
        source.server.fault_times(1, path, Fault::answer(200, body));
        assert_not_asked(
            &account,
            &source.add_to(account.run()),
            76,
            &["IMDSv2", &format!("no {thing}")],
        );
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let target = target();
    let account = Account::new(&target);
    for (source, first) in sources_and_first(&account.keys) {
        for fault in [
            Fault::answer(429, ""),
            Fault::answer(500, ""),
            Fault::answer(503, ""),
            Fault::Reset,
            Fault::Close,
        ] {
            source.server.fault_times(2, first, fault);
            let before = source.lines().len();
            account.way.assert_in(&source.add_to(account.run()));
            let usual = if source.name == "instance" { 3 } else { 1 };
            assert_eq!(source.lines().len() - before, 2 + usual, "{}", source.name);
        }
    }
    let source = web_identity(&account.keys);
    source.server.fault_times(
        1,
        "POST /",
        sts_error(400, "IDPCommunicationError", "An error occurred"),
    );
    account.way.assert_in(&source.add_to(account.run()));
    assert_eq!(source.lines().len(), 2);
}

#[test]
fn a_late_answer_is_awaited() {
    let target = target();
    let account = Account::new(&target);
    for (source, first) in sources_and_first(&account.keys) {
        source.server.fault_times(1, first, Fault::Delay(Duration::from_millis(300)));
        account.way.assert_in(&source.add_to(account.run()));
    }
}

#[test]
fn a_platform_that_does_not_answer_is_given_up_at_the_deadline() {
    let target = target();
    let account = Account::new(&target);
    // All of them wait for their deadlines at the same time.
    thread::scope(|scope| {
        for fault in [Fault::Hang, Fault::Reset, Fault::Close, Fault::answer(503, "")] {
            for (source, first) in sources_and_first(&account.keys) {
                source.server.fault(first, fault.clone());
                let hint = match source.name {
                    "web identity" => "AWS_ENDPOINT_URL_STS",
                    "container" => "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    _ => "http-put-response-hop-limit",
                };
                let run = soon(source.add_to(account.run()));
                let account = &account;
                scope.spawn(move || {
                    assert_not_asked(account, &run, 69, &[hint, &source.server.addr()]);
                    // With its files, which the start has to find.
                    drop(source);
                });
            }
        }
    });
}

#[test]
fn a_platform_that_is_not_there_is_named() {
    let target = target();
    let account = Account::new(&target);
    for source in sources(&account.keys) {
        let (run, addr) = (soon(source.add_to(account.run())), source.server.addr());
        let Source { server, directory: _files, .. } = source;
        drop(server);
        assert_not_asked(&account, &run, 69, &["AWS", &addr]);
    }
}

/// A proxy, which sees all that is sent to it.
fn proxied(run: Run, proxy: &LocalServer) -> Run {
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
        .into_iter()
        .fold(run, |run, name| run.env(name, proxy.addr()))
}

#[test]
fn metadata_is_never_asked_for_through_a_proxy() {
    let target = target();
    let account = Account::new(&target);
    let proxy = LocalServer::start(|_| (200, Vec::new(), Vec::new()));
    let run = soon(proxied(account.run(), &proxy));
    let far = run.clone().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1");
    assert_not_asked(&account, &far.env("AWS_EC2_METADATA_DISABLED", "false"), 69, &["192.0.2.1"]);
    let far = run.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://192.0.2.1/credentials");
    assert_not_asked(&account, &far, 69, &["192.0.2.1"]);
    for source in [container(&account.keys), instance(&account.keys)] {
        account.way.assert_in(&proxied(source.add_to(account.run()), &proxy));
    }
    assert_eq!(proxy.lines(), Vec::<String>::new());
}

#[test]
fn the_token_service_is_asked_through_the_proxy() {
    let target = target();
    let account = Account::new(&target);
    let source = web_identity(&account.keys);
    let run = source.add_to(account.run()).env("AWS_ENDPOINT_URL_STS", "http://sts.test");
    // The web identity's token would cross the network in clear.
    for run in [run.clone(), run.clone().env("HTTP_PROXY", source.server.addr())] {
        assert_not_asked(&account, &run, 78, &["AWS_ENDPOINT_URL_STS", "in clear", "https://"]);
    }
    assert_eq!(source.lines(), Vec::<String>::new());
    let secure = run.without("AWS_ENDPOINT_URL_STS").env("AWS_REGION", "eu-central-1");
    let proxy = LocalServer::start(|_| (403, Vec::new(), Vec::new()));
    assert_not_asked(
        &account,
        &soon(secure).env("HTTPS_PROXY", proxy.addr()),
        69,
        &["tunnel", "amazonaws.com"],
    );
    let request = &proxy.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.header("host")),
        ("CONNECT", Some("sts.eu-central-1.amazonaws.com:443"))
    );
}

#[test]
fn a_token_service_on_this_machine_is_asked_without_a_proxy() {
    let target = target();
    let account = Account::new(&target);
    let (source, proxy) =
        (web_identity(&account.keys), LocalServer::start(|_| (200, Vec::new(), Vec::new())));
    account.way.assert_in(&proxied(source.add_to(account.run()), &proxy));
    assert_eq!(proxy.lines(), Vec::<String>::new());
}

#[test]
fn a_token_service_over_https_is_verified_with_the_systems_authorities() {
    let target = target();
    let account = Account::new(&target);
    let mut source = web_identity(&account.keys);
    let (server, files) = source.server.over_tls();
    source.server = server;
    let run = source.add_to(account.run()).env("AWS_ENDPOINT_URL_STS", source.server.addr());
    let words = ["unknown authority", "SSL_CERT_FILE", "AWS_CA_BUNDLE"];
    // What is set for Vault is not for AWS.
    for run in [run.clone(), run.clone().env("VAULT_CACERT", files.ca())] {
        assert_not_asked(&account, &soon(run), 69, &words);
    }
    assert_eq!(source.lines(), Vec::<String>::new());
    account.way.assert_in(&run.clone().env("SSL_CERT_FILE", files.ca()));
    account.way.assert_in(&run.clone().env("AWS_CA_BUNDLE", files.ca()));
    assert!(source.server.wait_for(|requests| requests.len() == 2, PATIENCE));
    let nowhere = run.env("AWS_CA_BUNDLE", "/nowhere/bundle.pem");
    assert_not_asked(&account, &nowhere, 78, &["AWS_CA_BUNDLE"]);
}
