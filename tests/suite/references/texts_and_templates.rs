//! References inside of texts, and templates as keys: what stands around them, and what becomes of
//! it where one fails.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use test_vault::{Recorded, Target, TestVault, Value, json, on_every_vault};

use crate::support::application::{as_root, kv, reading, token, with_app};
use crate::support::{Ended, Run, run, run_at};

/// Ends a run that tells all it can, and none of the values may be in what it tells.
#[track_caller]
pub(crate) fn tells_nothing_of(run: &Run, values: &[&str]) -> Ended {
    let ended = run.clone().option("--log-level=trace").marker().end();
    assert!(ended.stderr.contains("trace: "), "everything is told: {}", ended.stderr);
    for value in values {
        assert!(!ended.stderr.contains(value), "{value} in: {}", ended.stderr);
    }
    ended
}

#[track_caller]
fn assert_value(run: &Run, value: &str) {
    assert_eq!(run.value("X").as_deref(), Some(value));
}

/// What a server of our own was asked.
fn lines(target: &Target) -> Vec<String> {
    target.own().map(|vault| vault.lines()).unwrap_or_default()
}

fn clear(target: &Target) {
    if let Some(vault) = target.own() {
        vault.clear();
    }
}

// Peer cases A5, A6.
#[test]
fn references_stand_anywhere_in_a_text() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let secret =
            json!({"username": "superusername", "password": "secret", "odd": "p@ss w/rd&ü"});
        target.operator().kv_put(&mount, 2, "account", secret);
        let at = |key: &str| format!("${{vault:{mount}/data/account#{key}}}");
        let url = |key: &str| {
            as_root(target)
                .env("X", format!("scheme://{}:{}@127.0.0.1:8080", at("username"), at(key)))
        };
        assert_value(&url("password"), "scheme://superusername:secret@127.0.0.1:8080");
        assert_value(
            &url("${.password | urlquery}"),
            "scheme://superusername:secret@127.0.0.1:8080",
        );
        assert_value(
            &url("${.odd | urlquery}"),
            "scheme://superusername:p%40ss+w%2Frd%26%C3%BC@127.0.0.1:8080",
        );
    });
}

// Peer case A36.
#[test]
fn two_references_of_a_text_to_one_secret_are_one_read() {
    on_every_vault(|target| {
        let mount = with_app(target);
        clear(target);
        let text = format!("${{vault:{mount}/data/app#user}}${{bao:/{mount}/data/app#password}}");
        assert_value(&as_root(target).env("X", text), "adas3cr3t");
        if target.own().is_some() {
            assert_eq!(lines(target), [format!("GET /v1/{mount}/data/app")]);
        }
    });
}

#[test]
fn the_braces_of_a_text_are_its_own() {
    on_every_vault(|target| {
        let (one, two) = (kv(target, 1), with_app(target));
        target.operator().kv_put(&one, 1, "app", json!({"p": 5}));
        for (text, value) in [
            (format!(r#"{{"p":${{vault:{one}/app#p}}}}"#), r#"{"p":5}"#),
            (format!(r#"{{"u":{{"n":"${{vault:{two}/app#user}}"}}}}"#), r#"{"u":{"n":"ada"}}"#),
            (
                format!("${{HOME}} ${{vault:{two}/app#user#1}} }}{{ $ {{vault:a#b}} ${{"),
                "${HOME} ada }{ $ {vault:a#b} ${",
            ),
            (format!("$${{vault:{two}/app#user}}vault:a#b"), "$adavault:a#b"),
            (format!("\n ${{vault:{two}/app#user}}\t\n"), "\n ada\t\n"),
        ] {
            assert_value(&as_root(target).env("X", text), value);
        }
    });
}

#[test]
fn the_body_of_a_write_in_a_text_ends_with_its_own_brace() {
    on_every_vault(|target| {
        let (operator, mount) = (target.operator(), target.unique("transit"));
        operator.enable_transit(&mount);
        operator.transit_key(&mount, "app");
        let body = json!({ "ciphertext": operator.encrypt(&mount, "app", "hello"), "note": "}} #:-{ \" ${vault:a#b} \\" });
        let text =
            format!("{{<${{>>vault:{mount}/decrypt/app#${{.plaintext | b64dec}}#{body}}}>}}");
        clear(target);
        assert_value(&as_root(target).env("X", text), "{<hello>}");
        if let Some(vault) = target.own() {
            assert_eq!(vault.requests().iter().map(Recorded::json).collect::<Vec<Value>>(), [body]);
        }
    });
}

#[test]
fn every_byte_around_a_reference_is_kept() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let text =
            [b"\xff\xfe ${ \x80", format!("${{vault:{mount}/app#user}}").as_bytes(), b"\x01}\xc3"]
                .concat();
        let ended = as_root(target)
            .env("X", OsString::from_vec(text))
            .command(["sh", "-c", "printf %s \"$X\""])
            .end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"\xff\xfe ${ \x80ada\x01}\xc3");
    });
}

#[test]
fn a_default_stands_where_a_piece_is_missing() {
    on_every_vault(|target| {
        let mount = with_app(target);
        for (text, value) in [
            (format!("<${{vault:{mount}/app#none:-x}}>"), "<x>"),
            (format!("<${{vault:{mount}/app#user:-x}}>"), "<ada>"),
            (format!("<${{vault:{mount}/none#k:-}}>"), "<>"),
            (format!("<${{vault:{mount}/none#k#3:-a:-b}}>"), "<a:-b>"),
            (format!(r#"<${{vault?:{mount}/none#k:-{{"a":{{}}}}}}>"#), r#"<{"a":{}}>"#),
            (format!("<${{vault:{mount}/app#${{.none | b64dec}}:-x}}>"), "<x>"),
        ] {
            assert_value(&as_root(target).env("X", text), value);
        }
    });
}

#[test]
fn one_missing_piece_leaves_the_whole_variable_out() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let text =
            |start: &str| format!("a ${{vault:{mount}/app#user}} ${{{start}:{mount}/app#none}} z");
        let optional = as_root(target)
            .env("X", text("vault?"))
            .env("Y", format!("${{vault:{mount}/app#user}}!"));
        let environment = optional.environment();
        assert_eq!(environment.get("X"), None);
        assert_eq!(environment.get("Y").map(String::as_str), Some("ada!"));
        let ignoring = as_root(target).env("X", text("vault")).option("--ignore-missing");
        assert_eq!(ignoring.value("X"), None);
        let ended = ignoring.marker().end();
        assert!(
            ended.stderr.contains("warn: X is left out") && ended.stderr.contains("no key none"),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn every_piece_that_fails_is_named() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let text = format!(
            "${{vault:{mount}/app#none}}${{vault:{mount}/nothing#k}}${{vault:{mount}/app#user}}"
        );
        let run = as_root(target).env("X", text);
        run.fails(66, &["X: ", "no key none", &format!("{mount}/data/nothing"), "no secret there"]);
    });
}

#[test]
fn a_refusal_of_one_piece_is_never_defaulted_or_left_out() {
    on_every_vault(|target| {
        let mount = with_app(target);
        target.operator().kv_put(&mount, 2, "other", json!({"k": "v"}));
        let token = token(target, &reading(&format!("{mount}/data/app")).replace("/*", ""));
        let text = format!("${{vault:{mount}/data/app#user}}${{vault?:{mount}/data/other#k:-d}}");
        let run =
            run_at(target).env("VAULT_TOKEN", token).env("X", text).option("--ignore-missing");
        run.fails(77, &["X: ", &format!("{mount}/data/other"), "permission denied"]);
    });
}

#[test]
fn what_is_malformed_in_a_text_is_named_and_not_shown() {
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("VAULT_TOKEN", "t");
    for (value, words) in [
        ("hush ${vault:a/hush}", "without a key"),
        ("hush ${vault:a/hush", "without its closing }"),
        ("hush ${vault:a/b#hush", "without its closing }"),
        ("hush ${vault:a/b#}", "without a key"),
        ("hush ${vault:}", "without a key"),
        ("hush ${vault:a/../hush#k}", "a segment that is . or .."),
        ("hush ${vault:a/b#k#hush}", "a number from 1"),
        ("hush ${vault:a/b#k:-hush", "without its closing }"),
        ("hush ${vault:a/b#k:-${vault:hush/b#k}}", "a default that is a reference"),
        (r#"hush ${vault:a/b#k#{"hush":1}}"#, "a body that is no write"),
        (r#"hush ${>>vault:a/b#k#{"hush"}}"#, "no JSON object"),
        (r#"hush ${>>vault:a/b#k#{"hush":1}"#, "without its closing }"),
        ("hush ${>>vault:a/b#k#[\"hush\"]}", "no JSON object"),
        (r#"hush ${>>vault:a/b#k#{"hush":1} hush}"#, "something behind its end"),
        ("hush ${vault:a/b#hush${.k if}}", "with if is not supported"),
        ("${vault:a/b#k} hush ${vault:a/../hush#k}", "a segment that is . or .."),
        ("vault:a/b#${.hush} hush#hush", "a number from 1"),
    ] {
        let ended = run
            .clone()
            .env("WRONG", value)
            .option("--log-level=trace")
            .fails(78, &["WRONG: ", words]);
        assert!(!ended.stderr.contains("hush"), "{value}: {}", ended.stderr);
    }
}

// Peer case A33.
#[test]
fn a_template_makes_json_of_a_whole_secret() {
    on_every_vault(|target| {
        let secret = json!({"a": 1, "b": "x", "c": {"d": [null, true, 1.50]}});
        for version in [1, 2] {
            let mount = kv(target, version);
            target.operator().kv_put(&mount, version, "app", secret.clone());
            for key in ["${ . | toJson }", "${.|toJson}"] {
                let run = as_root(target).env("X", format!("vault:{mount}/app#{key}"));
                let text = run.value("X").expect("a value");
                assert_eq!(parsed(&text), secret, "{text}");
                let inline = as_root(target).env("X", format!("[${{vault:{mount}/app#{key}}}]"));
                assert_eq!(inline.value("X"), Some(format!("[{text}]")));
            }
        }
    });
}

fn parsed(text: &str) -> Value {
    text.parse().expect("JSON")
}

#[test]
fn each_function_does_what_it_says() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let secret = json!({"code": "aGVsbG8=", "text": "a b&c=ü/\"", "number": 8080, "object": {"a": [1]}, "empty": "", "tls.crt": " PEM\n"});
        target.operator().kv_put(&mount, 2, "app", secret);
        for (template, value) in [
            ("${.text}", "a b&c=ü/\""),
            ("${.code | b64dec}", "hello"),
            ("${.text | b64enc}", "YSBiJmM9w7wvIg=="),
            ("${ .text|urlquery }", "a+b%26c%3D%C3%BC%2F%22"),
            ("${.text | toRawJson}", r#""a b&c=ü/\"""#),
            ("${.text | toJson}", r#""a b\u0026c=ü/\"""#),
            ("${.number | toJson}", "8080"),
            ("${.number | b64enc}", "ODA4MA=="),
            ("${.object | toJson}", r#"{"a":[1]}"#),
            ("${.object | toJson | b64enc | b64dec}", r#"{"a":[1]}"#),
            ("${.code | b64dec | toJson}", r#""hello""#),
            ("${.empty | b64dec}", ""),
            ("${.none | b64dec}:-d", "d"),
            ("My text is: ${title .text}!", "My text is: A B&C=Ü/\"!"),
            ("${.object.a}:${index .object.a 0}", "[1]:1"),
            (r#"${index . "tls.crt" | trim | quote}"#, r#""PEM""#),
            (r#"${printf "%s:%s" .text .code | b64enc}"#, "YSBiJmM9w7wvIjphR1ZzYkc4PQ=="),
            (r##"${.none | default "}#:-" | replace "#" "@"}"##, "}@:-"),
        ] {
            assert_value(&as_root(target).env("X", format!("vault:{mount}/app#{template}")), value);
        }
    });
}

#[test]
fn a_template_beyond_these_is_named_before_anybody_is_asked() {
    let target: Target = TestVault::start().into();
    for (template, words) in [
        ("${.k | sha256sum}", "with sha256sum is not supported"),
        ("${.k | b64dec | env}", "with env is not supported"),
        ("${.k | default}", "default takes 2 values"),
        ("${.k-l}", "a - or +"),
        ("${.}", "without toJson"),
        ("${range .k}", "with range is not supported"),
    ] {
        let whole = as_root(&target).env("X", format!("vault:a/b#{template}"));
        whole.fails(78, &["X: ", words]);
        as_root(&target)
            .env("X", format!("<${{vault:a/b#{template}}}>"))
            .fails(78, &["X: ", words]);
    }
    assert_eq!(lines(&target), [""; 0]);
}

#[test]
fn a_value_that_is_no_base64_is_named_and_not_shown() {
    on_every_vault(|target| {
        let mount = with_app(target);
        target.operator().kv_put(&mount, 2, "app", json!({"k": "no*base64"}));
        let run =
            as_root(target).env("X", format!("<${{vault?:{mount}/app#${{.k | b64dec}}:-d}}>"));
        run.fails(78, &["X: ", &format!("{mount}/app"), "not base64"]);
        let ended = tells_nothing_of(&run.option("--ignore-missing"), &["no*base64"]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    });
}

#[test]
fn a_fetched_value_is_no_reference_whatever_it_looks_like() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let looks = [
            format!("vault:{mount}/app#password"),
            format!("${{vault:{mount}/app#password}}"),
            ">>vault:sys/seal#x".to_owned(),
            "vault:v1:YQ==".to_owned(),
            "vault:".to_owned(),
            "${HOME}".to_owned(),
        ];
        for look in &looks {
            target.operator().kv_put(&mount, 2, "look", json!({ "k": look }));
            let run = as_root(target).env("X", format!("vault:{mount}/look#k"));
            assert_value(&run, look);
            assert_value(
                &run.env("X", format!("<${{vault:{mount}/look#k}}>")),
                &format!("<{look}>"),
            );
        }
    });
}

#[test]
fn no_message_shows_a_piece_of_a_text() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let text = format!(
            "before${{vault:{mount}/app#password}}${{vault:{mount}/app#${{.user | b64enc}}}}behind"
        );
        let run = as_root(target).env("X", text);
        let values = ["s3cr3t", "YWRh", "before", "behind"];
        assert!(tells_nothing_of(&run, &values).started());
        let failing = run.env(
            "Y",
            format!(
                "before${{vault:{mount}/app#password}}${{vault:{mount}/app#none:-hush}}${{vault:\
                 {mount}/app#none}}"
            ),
        );
        assert_eq!(tells_nothing_of(&failing, &[&values[..], &["hush"]].concat()).code, Some(66));
    });
}
