//! References that write: what is sent, how often, and what becomes of a refusal or of an answer
//! that is lost.

use test_vault::{Fault, Recorded, Target, TestVault, Value, json, on_every_vault};

use crate::references::texts_and_templates::tells_nothing_of;
use crate::support::application::{as_role, as_root, role, token};
use crate::support::{Run, run_at};

/// Transit with the key `app`, and a ciphertext of it.
fn transit(target: &Target, plaintext: &str) -> (String, String) {
    let (operator, mount) = (target.operator(), target.unique("transit"));
    operator.enable_transit(&mount);
    operator.transit_key(&mount, "app");
    let ciphertext = operator.encrypt(&mount, "app", plaintext);
    (mount, ciphertext)
}

/// PKI with the role `web` for what is below example.com.
fn pki(target: &Target) -> String {
    let (operator, mount) = (target.operator(), target.unique("pki"));
    operator.enable_pki(&mount);
    operator.pki_role(
        &mount,
        "web",
        json!({ "allowed_domains": "example.com", "allow_subdomains": true, "ttl": "1h" }),
    );
    mount
}

fn updating(path: &str) -> String {
    format!("path \"{path}\" {{ capabilities = [\"update\"] }}")
}

/// The writes that a server of our own got.
fn writes(target: &Target) -> Option<Vec<Recorded>> {
    let requests = target.own()?.requests();
    Some(requests.into_iter().filter(|request| request.method == "POST").collect())
}

fn own() -> Target {
    TestVault::start().into()
}

const DONE: &str = r#"{"data":{"k":"done"}}"#;

/// A run that writes to an engine which there is not: what it answers is up to the test.
fn writing(target: &Target, body: &str) -> Run {
    as_root(target).env("X", format!(">>vault:engine/do#k{body}"))
}

// Peer case A3.
#[test]
fn a_ciphertext_is_decrypted_by_a_write() {
    on_every_vault(|target| {
        let (mount, ciphertext) = transit(target, "secret");
        let token = token(target, &updating(&format!("{mount}/decrypt/app")));
        let run = run_at(target).env("VAULT_TOKEN", token);
        for start in [">>vault:", ">>bao:", ">>vault:/", ">>bao?:"] {
            let value = format!(
                "{start}{mount}/decrypt/app#${{.plaintext | \
                 b64dec}}#{{\"ciphertext\":\"{ciphertext}\"}}"
            );
            assert_eq!(
                run.clone().env("X", value).value("X").as_deref(),
                Some("secret"),
                "{start}"
            );
        }
    });
}

// Peer cases A4, A7.
#[test]
fn equal_writes_are_one() {
    on_every_vault(|target| {
        let mount = target.unique("pki");
        target.operator().write(&format!("sys/mounts/{mount}"), json!({ "type": "pki" }));
        let reference = format!(">>vault:{mount}/root/generate/internal#certificate");
        let environment = as_root(target)
            .env("ROOT_CERT", &reference)
            .env("ROOT_CERT_CACHED", &reference)
            .env("X", format!("${{{reference}}}__${{{reference}}}"))
            .environment();
        let certificate = &environment["ROOT_CERT"];
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{certificate}");
        assert_eq!(&environment["ROOT_CERT_CACHED"], certificate);
        assert_eq!(environment["X"], format!("{certificate}__{certificate}"));
        if let Some(writes) = writes(target) {
            assert_eq!(
                writes.iter().map(Recorded::line).collect::<Vec<_>>(),
                [format!("POST /v1/{mount}/root/generate/internal")]
            );
        }
    });
}

#[test]
fn a_certificate_and_its_key_come_from_one_write_however_its_body_is_spelled() {
    on_every_vault(|target| {
        let mount = pki(target);
        let role = role(target, &updating(&format!("{mount}/issue/web")), json!({}));
        let environment = as_role(target, &role)
            .env(
                "CERT",
                format!(r#">>vault:{mount}/issue/web#certificate#{{"common_name":"app.example.com","ttl":"60s"}}"#),
            )
            .env(
                "KEY",
                format!(
                    r#">>bao:/{mount}/issue/web#private_key#{{ "ttl" : "60s", "common_name": "\u0061pp.example.com" }}"#
                ),
            )
            .env(
                "SERIAL",
                format!(r#">>vault:{mount}/issue/web#serial_number#{{"ttl":"60s","common_name":"app.example.com"}}"#),
            )
            .env(
                "TEXT",
                format!(
                    r#"<${{>>vault:{mount}/issue/web#serial_number#{{"common_name":"app.example.com","ttl":"60s"}}}}>"#
                ),
            )
            .env(
                "OTHER",
                format!(r#">>vault:{mount}/issue/web#serial_number#{{"common_name":"b.example.com","ttl":"60s"}}"#),
            )
            .environment();
        assert!(environment["CERT"].starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(
            environment["KEY"].starts_with("-----BEGIN ")
                && environment["KEY"].contains("PRIVATE KEY-----")
        );
        assert_eq!(environment["TEXT"], format!("<{}>", environment["SERIAL"]));
        assert_ne!(environment["OTHER"], environment["SERIAL"]);
        if let Some(writes) = writes(target) {
            let issues = writes.iter().filter(|request| request.path.contains("/issue/"));
            assert_eq!(issues.count(), 2);
        }
    });
}

#[test]
fn a_body_is_sent_as_it_is_and_an_empty_object_where_there_is_none() {
    let target = own();
    target.own().expect("own").fault("POST /v1/engine/", Fault::answer(200, DONE));
    for (body, sent) in [
        ("", "{}"),
        ("#{}", "{}"),
        ("# { } ", "{}"),
        (
            r#"#{ "a": 1.10, "b": 12345678901234567890123, "c": [null, true, "}"] }"#,
            r#"{"a":1.10,"b":12345678901234567890123,"c":[null,true,"}"]}"#,
        ),
        ("#{\"a\":\"\\u0000 ü \\\"#:-x\"}", "{\"a\":\"\\u0000 ü \\\"#:-x\"}"),
        (r#"#{"a":{"b":{}}}:-default"#, r#"{"a":{"b":{}}}"#),
    ] {
        target.own().expect("own").clear();
        assert_eq!(writing(&target, body).value("X").as_deref(), Some("done"), "{body}");
        let writes = writes(&target).expect("own");
        assert_eq!(writes.len(), 1, "{body}");
        assert_eq!(String::from_utf8_lossy(&writes[0].body), sent);
        assert_eq!(writes[0].header("content-type"), Some("application/json"));
    }
}

#[test]
fn a_write_asks_for_no_mounts() {
    let target = own();
    let (mount, ciphertext) = transit(&target, "secret");
    let value =
        format!(">>vault:{mount}/decrypt/app#plaintext#{{\"ciphertext\":\"{ciphertext}\"}}");
    as_root(&target).env("X", value).environment();
    assert_eq!(target.own().expect("own").lines(), [format!("POST /v1/{mount}/decrypt/app")]);
}

#[test]
fn a_refused_write_is_told_in_vaults_words() {
    on_every_vault(|target| {
        let pki = pki(target);
        let (transit, _) = transit(target, "secret");
        for (reference, words) in [
            (
                format!(r#"{pki}/issue/web#certificate#{{"common_name":"example.org"}}"#),
                "not allowed by this role",
            ),
            (
                format!(r#"{transit}/decrypt/app#plaintext#{{"ciphertext":"hush"}}"#),
                "invalid ciphertext",
            ),
        ] {
            let path = reference.split('#').next().expect("a path");
            let run = as_root(target)
                .env("X", format!(">>vault?:{reference}:-d"))
                .option("--ignore-missing");
            let ended = run.fails(77, &["X: ", path, "status 400", words]);
            assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
        }
        let token = token(target, &updating("nothing"));
        let run = run_at(target).env("VAULT_TOKEN", token);
        let run = run.env(
            "X",
            format!(
                r#"<${{>>vault:{pki}/issue/web#certificate#{{"common_name":"a.example.com"}}}}>"#
            ),
        );
        run.fails(
            77,
            &[
                "X: ",
                &format!("{pki}/issue/web"),
                "permission denied",
                "no policy of the token allows it",
            ],
        );
    });
}

#[test]
fn what_is_missing_from_the_answer_to_a_write_is_missing() {
    on_every_vault(|target| {
        let (mount, ciphertext) = transit(target, "secret");
        let run = |start: &str, end: &str| {
            as_root(target).env(
                "X",
                format!(
                    "{start}:{mount}/decrypt/app#none#{{\"ciphertext\":\"{ciphertext}\"}}{end}"
                ),
            )
        };
        run(">>vault", "").fails(66, &["X: ", "no key none", "plaintext"]);
        assert_eq!(run(">>vault?", "").value("X"), None);
        assert_eq!(run(">>vault", ":-d").value("X").as_deref(), Some("d"));
        as_root(target)
            .env("X", ">>vault:nowhere-at-all/do#k")
            .fails(66, &["X: ", "nowhere-at-all/do", "mounted"]);
    });
}

#[test]
fn a_write_that_may_have_been_done_is_not_repeated() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Reset,
        Fault::Close,
        Fault::Truncate,
        Fault::bad_gateway(),
        Fault::answer(504, ""),
        Fault::internal_error(),
    ] {
        let target = own();
        let (mount, ciphertext) = transit(&target, "secret");
        target.own().expect("own").fault_times(1, "POST /v1/transit-", fault.clone());
        let value = format!(
            ">>vault?:{mount}/decrypt/app#plaintext#{{\"ciphertext\":\"{ciphertext}\"}}:-d"
        );
        let ended = as_root(&target)
            .env("X", value)
            .option("--ignore-missing")
            .fails(69, &["X: ", "it is not repeated"]);
        assert_eq!(writes(&target).expect("own").len(), 1, "{fault:?}: {}", ended.stderr);
    }
}

#[test]
fn a_write_that_was_not_done_is_repeated() {
    for fault in
        [Fault::answer(503, ""), Fault::sealed(), Fault::rate_limited(None), Fault::lagging()]
    {
        let target = own();
        let (mount, ciphertext) = transit(&target, "secret");
        target.own().expect("own").fault_times(1, "POST /v1/transit-", fault.clone());
        let value = format!(
            ">>vault:{mount}/decrypt/app#${{.plaintext | \
             b64dec}}#{{\"ciphertext\":\"{ciphertext}\"}}"
        );
        assert_eq!(
            as_root(&target).env("X", value).value("X").as_deref(),
            Some("secret"),
            "{fault:?}"
        );
        let bodies: Vec<Value> = writes(&target).expect("own").iter().map(Recorded::json).collect();
        assert_eq!(bodies, vec![json!({ "ciphertext": ciphertext }); 2], "{fault:?}");
    }
}

#[test]
fn no_message_shows_what_a_write_sends_or_gets() {
    on_every_vault(|target| {
        let (mount, ciphertext) = transit(target, "quiet");
        let value = format!(
            ">>vault:{mount}/decrypt/app#${{.plaintext | \
             b64dec}}#{{\"ciphertext\":\"{ciphertext}\"}}"
        );
        let values = ["quiet", "cXVpZXQ=", ciphertext.as_str()];
        assert!(tells_nothing_of(&as_root(target).env("X", &value), &values).started());
        let failing = as_root(target).env("X", value.replace("plaintext", "none"));
        assert_eq!(tells_nothing_of(&failing, &values).code, Some(66));
    });
}
