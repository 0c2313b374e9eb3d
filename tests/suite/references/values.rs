//! References in values: which path is asked for, what of the answer is taken, and what is said
//! where nothing is there.

use test_vault::{Fault, Flavour, Target, TestVault, json, on_every_vault};

use crate::support::application::{as_role, as_root, kv, reading, role, token, with_app};
use crate::support::{directory, run, run_at};

/// The reads among the requests: without logins, revocations and the questions for mounts.
fn reads(target: &Target) -> Option<Vec<String>> {
    let lines = target.own()?.lines();
    let is_read = |line: &String| line.starts_with("GET ") && !line.contains("/sys/internal/");
    Some(lines.into_iter().filter(is_read).collect())
}

fn detections(target: &Target) -> Option<usize> {
    Some(target.own()?.lines().iter().filter(|line| line.contains("/sys/internal/")).count())
}

// Peer cases A1, A2, A29, C1, C5.
#[test]
fn a_secret_is_found_on_both_versions_of_kv_with_and_without_data() {
    on_every_vault(|target| {
        let (one, two) = (kv(target, 1), with_app(target));
        let operator = target.operator();
        operator.kv_put(&one, 1, "app", json!({"password": "first"}));
        operator.kv_put(&two, 2, "app", json!({"password": "newer"}));
        let environment = as_root(target)
            .env("ONE", format!("vault:{one}/app#password"))
            .env("TWO", format!("vault:{two}/app#password"))
            .env("WITH_DATA", format!("vault:{two}/data/app#password"))
            .env("BAO", format!("bao:/{two}/app#password"))
            .env("OLDER", format!("vault:{two}/app#password#1"))
            .env("OLDER_WITH_DATA", format!("vault:{two}/data/app#password#1"))
            .environment();
        for (name, value) in [
            ("ONE", "first"),
            ("TWO", "newer"),
            ("WITH_DATA", "newer"),
            ("BAO", "newer"),
            ("OLDER", "s3cr3t"),
            ("OLDER_WITH_DATA", "s3cr3t"),
        ] {
            assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
        }
        if let Some(vault) = target.own() {
            let queries: Vec<String> =
                vault.requests().into_iter().map(|request| request.query).collect();
            assert!(
                queries.iter().all(|query| query.is_empty() || query == "version=1"),
                "{queries:?}"
            );
        }
    });
}

// Peer cases C39, A56: user and password come from one answer.
#[test]
fn one_path_is_one_request_however_many_references_name_it() {
    on_every_vault(|target| {
        let mount = with_app(target);
        as_root(target)
            .env("A", format!("vault:{mount}/app#user"))
            .env("B", format!("vault:{mount}/data/app#password"))
            .env("C", format!("bao?:/{mount}/app#user:-x"))
            .env("D", format!("vault:{mount}/app#user#1"))
            .option("--secret")
            .option(format!("P_*={mount}/app"))
            .environment();
        if let Some(mut reads) = reads(target) {
            reads.sort();
            assert_eq!(
                reads,
                [
                    format!("GET /v1/{mount}/data/app"),
                    format!("GET /v1/{mount}/data/app?version=1")
                ]
            );
        }
    });
}

// Peer cases A31, A32: objects and lists are JSON here, not an error.
#[test]
fn every_type_of_value_has_its_text() {
    on_every_vault(|target| {
        let values = json!({
            "string": "a b\n\"ü\" <&>", "empty": "", "integer": 8080, "fraction": 1.5, "yes": true, "no": false, "null": null,
            "object": {"a": [1, "x"], "b": {}}, "list": [1, null, "y"], "looks like a reference": "vault:a/b#c",
        });
        for version in [1, 2] {
            let mount = kv(target, version);
            target.operator().kv_put(&mount, version, "app", values.clone());
            let keys =
                ["string", "empty", "integer", "fraction", "yes", "no", "null", "object", "list"];
            let run = keys.iter().fold(as_root(target), |run, key| {
                run.env(format!("V_{key}"), format!("vault:{mount}/app#{key}"))
            });
            let run = run.env("V_reference", format!("vault:{mount}/app#looks like a reference"));
            let environment = run.environment();
            for (key, value) in [
                ("string", "a b\n\"ü\" <&>"),
                ("empty", ""),
                ("integer", "8080"),
                ("fraction", "1.5"),
                ("yes", "true"),
                ("no", "false"),
                ("null", ""),
                ("object", r#"{"a":[1,"x"],"b":{}}"#),
                ("list", r#"[1,null,"y"]"#),
                ("reference", "vault:a/b#c"),
            ] {
                let found = environment.get(&format!("V_{key}"));
                assert_eq!(found.map(String::as_str), Some(value), "{key} on version {version}");
            }
        }
    });
}

#[test]
fn an_exact_key_goes_before_a_pointer_into_nested_values() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let nested =
            json!({"db": {"users": [{"name": "ada"}], "a/b": {"~": "odd"}}, "/db/users": "exact"});
        target.operator().kv_put(&mount, 2, "app", nested);
        let reference = |key: &str| format!("vault:{mount}/app#{key}");
        let environment = as_root(target)
            .env("NESTED", reference("/db/users/0/name"))
            .env("ESCAPED", reference("/db/a~1b/~0"))
            .env("EXACT", reference("/db/users"))
            .env("DEFAULT", reference("/db/users/7:-none"))
            .environment();
        assert_eq!(environment.get("NESTED").map(String::as_str), Some("ada"));
        assert_eq!(environment.get("ESCAPED").map(String::as_str), Some("odd"));
        assert_eq!(environment.get("EXACT").map(String::as_str), Some("exact"));
        assert_eq!(environment.get("DEFAULT").map(String::as_str), Some("none"));
    });
}

#[test]
fn a_path_is_literal_text_whatever_characters_it_has() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let plain = kv(target, 1);
        for (number, name) in [
            "a b",
            "50%",
            "%2e%2e",
            "a?b",
            "a&b=c",
            "ü/ключ",
            "a+b",
            "a:b;c,d",
            "a@b!$'()*",
            "[x]{y}|^`",
            "~.-_",
        ]
        .into_iter()
        .enumerate()
        {
            let encoded: String = name
                .bytes()
                .map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") })
                .collect();
            let value = format!("value {number}");
            target.operator().kv_put(&mount, 2, &encoded, json!({ "k": value }));
            target.operator().kv_put(&plain, 1, &encoded, json!({ "k": value }));
            let environment = as_root(target)
                .env("TWO", format!("vault:{mount}/{name}#k"))
                .env("ONE", format!("vault:{plain}/{name}#k"))
                .environment();
            assert_eq!(environment.get("TWO"), Some(&value), "{name}");
            assert_eq!(environment.get("ONE"), Some(&value), "{name}");
        }
    });
}

#[test]
fn a_segment_called_data_is_read_as_it_is_written() {
    on_every_vault(|target| {
        let mount = kv(target, 1);
        target.operator().kv_put(&mount, 1, "data/app", json!({"k": "of version one"}));
        let run = as_root(target).env("A", format!("vault:{mount}/data/app#k"));
        assert_eq!(run.value("A").as_deref(), Some("of version one"));
        assert_eq!(detections(target).unwrap_or_default(), 0, "nothing was to be found out");
    });
}

#[test]
fn a_secret_of_version_one_may_have_fields_called_data_and_metadata() {
    on_every_vault(|target| {
        let mount = kv(target, 1);
        target.operator().kv_put(
            &mount,
            1,
            "app",
            json!({"data": "x", "metadata": {"version": "y"}}),
        );
        let environment = as_root(target)
            .env("A", format!("vault:{mount}/app#data"))
            .env("B", format!("vault:{mount}/app#/metadata/version"))
            .environment();
        assert_eq!(environment.get("A").map(String::as_str), Some("x"));
        assert_eq!(environment.get("B").map(String::as_str), Some("y"));
    });
}

#[test]
fn one_list_of_mounts_tells_the_versions_of_all_paths() {
    on_every_vault(|target| {
        let mounts = [kv(target, 2), kv(target, 1), kv(target, 2)];
        let mut run = as_root(target);
        for (version, mount) in [2, 1, 2].into_iter().zip(&mounts) {
            target.operator().kv_put(mount, version, "a/b", json!({ "k": mount }));
            run = run.env(format!("V_{mount}"), format!("vault:{mount}/a/b#k"));
        }
        let environment = run.environment();
        for mount in &mounts {
            assert_eq!(environment.get(&format!("V_{mount}")), Some(mount));
        }
        assert_eq!(detections(target).unwrap_or(1), 1);
    });
}

#[test]
fn a_mount_may_have_slashes() {
    on_every_vault(|target| {
        let mount = format!("{}/kv", target.unique("team"));
        target.operator().enable_kv(&mount, 2);
        target.operator().kv_put(&mount, 2, "web/app", json!({"k": "nested"}));
        let run = as_root(target).env("A", format!("vault:{mount}/web/app#k"));
        assert_eq!(run.value("A").as_deref(), Some("nested"));
    });
}

#[test]
fn a_token_that_may_only_read_its_secret_finds_the_version_out() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&format!("{mount}/data")));
        let run =
            run_at(target).env("VAULT_TOKEN", token).env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
    });
}

/// The list of mounts is refused, as by a proxy's rule or a server that does not have it.
fn without_list(vault: &TestVault) {
    vault.fault_times(
        1,
        "/v1/sys/internal/ui/mounts",
        Fault::error(403, "1 error occurred:\n\t* permission denied\n\n"),
    );
}

#[test]
fn where_the_list_is_refused_the_mount_of_each_path_is_asked_for() {
    let target: Target = TestVault::start().into();
    let (one, two) = (kv(&target, 1), with_app(&target));
    target.operator().kv_put(&one, 1, "app", json!({"k": "v"}));
    let vault = target.own().expect("own");
    without_list(vault);
    let environment = as_root(&target)
        .env("ONE", format!("vault:{one}/app#k"))
        .env("TWO", format!("vault:{two}/app#user"))
        .env("AGAIN", format!("vault:{two}/app#user#1"))
        .environment();
    assert_eq!(environment.get("ONE").map(String::as_str), Some("v"));
    assert_eq!(environment.get("TWO").map(String::as_str), Some("ada"));
    assert_eq!(environment.get("AGAIN").map(String::as_str), Some("ada"));
    let lines = vault.lines();
    for mount in [&one, &two] {
        let asked = lines
            .iter()
            .filter(|line| **line == format!("GET /v1/sys/internal/ui/mounts/{mount}/app"));
        assert_eq!(asked.count(), 1, "{lines:?}");
    }
}

#[test]
fn where_no_mount_can_be_found_out_the_path_is_read_as_written() {
    let target: Target = TestVault::start().into();
    let one = kv(&target, 1);
    target.operator().kv_put(&one, 1, "app", json!({"k": "v"}));
    let vault = target.own().expect("own");
    for fault in [
        Fault::error(403, "permission denied"),
        Fault::answer(404, "{\"errors\":[]}"),
        Fault::error(405, "x"),
    ] {
        vault.clear_faults();
        vault.fault("/v1/sys/internal/", fault);
        assert_eq!(
            as_root(&target).env("ONE", format!("vault:{one}/app#k")).value("ONE").as_deref(),
            Some("v")
        );
    }
}

#[test]
fn a_failure_after_no_mount_could_be_found_out_speaks_of_data_and_the_option() {
    let target: Target = TestVault::start().into();
    let mount = with_app(&target);
    let vault = target.own().expect("own");
    vault.fault(
        "/v1/sys/internal/",
        Fault::error(403, "1 error occurred:\n\t* permission denied\n\n"),
    );
    let run = as_root(&target).env("A", format!("vault:{mount}/app#user"));
    run.fails(66, &["A: ", &format!("{mount}/app"), "data/", "--kv-version"]);
    let token = token(&target, &reading(&format!("{mount}/data")));
    run.env("VAULT_TOKEN", token)
        .fails(77, &["A: ", &format!("{mount}/app"), "data/", "--kv-version"]);
}

#[test]
fn a_set_version_asks_for_no_mounts() {
    on_every_vault(|target| {
        let (one, two) = (kv(target, 1), with_app(target));
        target.operator().kv_put(&one, 1, "app", json!({"k": "v"}));
        let run_one = as_root(target).env("A", format!("vault:{one}/app#k"));
        assert_eq!(run_one.option("--kv-version=1").value("A").as_deref(), Some("v"));
        let run_two = as_root(target).env("A", format!("vault:{two}/app#user"));
        assert_eq!(run_two.option("--kv-version=2").value("A").as_deref(), Some("ada"));
        assert_eq!(detections(target).unwrap_or_default(), 0);
    });
}

#[test]
fn a_wrong_set_version_is_answered_with_the_right_way_to_write_it() {
    on_every_vault(|target| {
        let two = with_app(target);
        let run =
            as_root(target).env("A", format!("vault:{two}/app#user")).option("--kv-version=1");
        run.fails(66, &["A: ", &format!("{two}/app"), "KV v2", "data/", "--kv-version 2"]);
    });
}

/// A mount with every way in which something can be missing, and what the message must say of each.
fn missing(target: &Target) -> Vec<(String, String)> {
    let mount = with_app(target);
    let operator = target.operator();
    for path in ["deleted", "destroyed"] {
        operator.kv_put(&mount, 2, path, json!({"k": "v"}));
    }
    operator.delete(&format!("{mount}/data/deleted"));
    operator.write(&format!("{mount}/destroy/destroyed"), json!({"versions": [1]}));
    [
        ("none#k", "no secret there"),
        ("app#user#9", "no version 9"),
        ("app#nokey", "no key nokey"),
        ("app#/user/deeper", "no key /user/deeper"),
        ("deleted#k", "version 1 was deleted at 20"),
        ("deleted#k#1", "version 1 was deleted at 20"),
        ("destroyed#k", "version 1 is destroyed"),
        ("destroyed#k#1", "version 1 is destroyed"),
    ]
    .map(|(reference, words)| (format!("{mount}/{reference}"), words.to_owned()))
    .into()
}

// Peer cases A9, A23, A27, A28, C34, C36.
#[test]
fn what_is_missing_is_named_with_its_variable_and_path() {
    on_every_vault(|target| {
        for (reference, words) in missing(target) {
            let path =
                reference.split('#').next().expect("a path").rsplit_once('/').expect("a mount");
            let run = as_root(target).env("WANTED", format!("vault:{reference}"));
            run.fails(66, &["WANTED", path.1, &words]);
        }
    });
}

#[test]
fn an_optional_reference_leaves_out_what_is_missing_and_a_default_takes_its_place() {
    on_every_vault(|target| {
        let missing = missing(target);
        let run =
            missing.iter().enumerate().fold(as_root(target), |run, (number, (reference, _))| {
                run.env(format!("OPTIONAL_{number}"), format!("vault?:{reference}"))
                    .env(format!("DEFAULT_{number}"), format!("vault:{reference}:-a default"))
                    .env(format!("BOTH_{number}"), format!("bao?:{reference}:-"))
            });
        let environment = run.environment();
        for (number, (reference, _)) in missing.iter().enumerate() {
            let value =
                |kind: &str| environment.get(&format!("{kind}_{number}")).map(String::as_str);
            assert_eq!(value("OPTIONAL"), None, "{reference}");
            assert_eq!(value("DEFAULT"), Some("a default"), "{reference}");
            assert_eq!(value("BOTH"), Some(""), "{reference}");
        }
    });
}

// Peer case A24.
#[test]
fn ignored_missing_secrets_leave_their_variables_out_with_a_warning_each() {
    on_every_vault(|target| {
        let missing = missing(target);
        let run =
            missing.iter().enumerate().fold(as_root(target), |run, (number, (reference, _))| {
                run.env(format!("LEFT_{number}"), format!("vault:{reference}"))
            });
        let run = run
            .option("--ignore-missing")
            .option("--secret")
            .option(missing[0].0.split('#').next().expect("a path"));
        let ended = run.clone().end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.text().contains("LEFT_"), "{}", ended.text());
        for (number, (_, words)) in missing.iter().enumerate() {
            let is_warned = |line: &str| {
                line.contains(&format!("LEFT_{number} is left out")) && line.contains(words)
            };
            assert!(ended.stderr.lines().any(is_warned), "{number} {words}: {}", ended.stderr);
        }
    });
}

// Peer case A26.
#[test]
fn a_refusal_is_never_missing() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&format!("{mount}/data/other")));
        let run = run_at(target).env("VAULT_TOKEN", token);
        for reference in ["vault?:{}/data/app#user", "vault:{}/app#user:-x", "bao?:{}/app#user:-"] {
            let reference = reference.replace("{}", &mount);
            run.clone()
                .env("A", reference)
                .option("--ignore-missing")
                .fails(77, &["A: ", "permission denied", "policy"]);
        }
    });
}

#[test]
fn five_missing_secrets_are_five_named() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target)
            .env("ONE", format!("vault:{mount}/app#one"))
            .env("TWO", format!("vault:{mount}/app#two"))
            .env("THREE", format!("vault:{mount}/data/none#k"))
            .env("FOUR", format!("vault:{mount}/data/none#l"))
            .env("FIVE", format!("vault:{mount}/app#user#7"));
        run.fails(
            66,
            &[
                &format!("ONE: {mount}/app: no key one"),
                &format!("TWO: {mount}/app: no key two"),
                "THREE",
                "FOUR",
                "FIVE: ",
                "the secret has ",
            ],
        );
    });
}

#[test]
fn of_several_kinds_of_failure_the_first_in_the_order_gives_the_code_and_all_are_named() {
    let target: Target = TestVault::start().into();
    let mount = with_app(&target);
    let vault = target.own().expect("own");
    vault.fault(
        &*format!("/v1/{mount}/data/forbidden"),
        Fault::error(403, "1 error occurred:\n\t* permission denied\n\n"),
    );
    vault.fault(
        &*format!("/v1/{mount}/data/page"),
        Fault::answer(404, "<html>").with_header("content-type", "text/html"),
    );
    vault.fault(&*format!("/v1/{mount}/data/down"), Fault::error(501, "not initialized"));
    let wrong = [
        ("VERSIONLESS", "one#k#1", 78),
        ("FORBIDDEN", "forbidden#k", 77),
        ("MISSING", "none#k", 66),
        ("PAGE", "page#k", 76),
        ("DOWN", "down#k", 69),
    ];
    let one = kv(&target, 1);
    target.operator().kv_put(&one, 1, "one", json!({"k": "v"}));
    for first in 0..wrong.len() {
        let mut run = as_root(&target);
        for (name, reference, code) in &wrong[first..] {
            let mount = if *code == 78 { one.clone() } else { format!("{mount}/data") };
            run = run.env(*name, format!("vault:{mount}/{reference}"));
        }
        let names: Vec<String> =
            wrong[first..].iter().map(|(name, ..)| format!("{name}: ")).collect();
        run.fails(wrong[first].2, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn a_version_of_a_secret_that_has_none_is_a_wrong_reference() {
    on_every_vault(|target| {
        let mount = kv(target, 1);
        target.operator().kv_put(&mount, 1, "app", json!({"k": "v"}));
        let run = as_root(target).env("A", format!("vault:{mount}/app#k#1"));
        run.fails(78, &["A: ", &format!("{mount}/app"), "no versions", "leave #version out"]);
    });
}

#[test]
fn an_engine_that_is_not_mounted_is_named() {
    on_every_vault(|target| {
        as_root(target)
            .env("A", "vault:nowhere-at-all/app#k")
            .fails(66, &["A: ", "nowhere-at-all/app", "mounted"]);
    });
}

// Peer cases A11, A21, A22, A35 and what the specification refuses beyond them.
#[test]
fn what_begins_as_a_reference_and_is_none_is_an_error_that_names_its_variable() {
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("VAULT_TOKEN", "t");
    for (value, words) in [
        ("vault:secret/data/a", "without a key"),
        ("vault:", "without a key"),
        ("vault:#k", "a path with nothing in it"),
        ("vault:a/../b#k", "a segment that is . or .."),
        ("vault:a/./b#k", "a segment that is . or .."),
        ("vault:/#k", "a path with nothing in it"),
        ("vault:a\\b#k", "a backslash"),
        ("vault:a\tb#k", "a control character"),
        ("vault:a/b#", "without a key"),
        ("vault:a/b#k#x", "a number from 1"),
        ("vault:a/b#k#-2", "a number from 1"),
        ("vault?://a/b", "without a key"),
    ] {
        run.clone().env("WRONG", value).fails(78, &["WRONG: ", words]);
    }
}

#[test]
fn all_malformed_references_are_named_at_once() {
    run()
        .env("A", "vault:x")
        .env("B", "vault:a/./b#k")
        .env("C", "bao:a#k#z")
        .fails(78, &["A: ", "B: ", "C: "]);
}

#[test]
fn a_reference_in_quotes_behind_a_blank_or_in_capitals_is_an_error_unless_it_is_literal() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    for (value, words) in [
        ("\"vault:secret/app#k\"", "with quotes around it"),
        (" vault:secret/app#k", "with a blank before it"),
        ("VAULT:secret/app#k", "in capital letters"),
    ] {
        let run = run.clone().env("WRONG", value);
        run.fails(78, &["WRONG: ", words, "--literal"]);
        assert_eq!(run.option("--literal=WRONG").value("WRONG").as_deref(), Some(value));
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn what_looks_like_a_mistake_warns_and_passes() {
    let vault = TestVault::start();
    let to_vault = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    let nothing = "nothing is fetched: no variable is a reference";
    for (value, words) in [
        ("vault://secret/app#k", "X begins like a URL"),
        ("postgres://vault:p#k:vault:p#k@h", "X has a reference without braces in it"),
        ("plain", nothing),
    ] {
        let ended = to_vault.clone().env("X", value).shell("echo \"$X\"").end();
        assert_eq!((ended.code, ended.text()), (Some(0), format!("{value}\n")));
        assert!(
            ended.stderr.contains("warn: ") && ended.stderr.contains(words),
            "{}",
            ended.stderr
        );
        let ended = to_vault.clone().env("X", value).option("--literal=X").end();
        assert_eq!(ended.stderr, "");
    }
    for quiet in [run().env("VAULT_ADDR", vault.addr()), run().env("VAULT_TOKEN", "t"), run()] {
        assert_eq!(quiet.env("X", "plain").end().stderr, "");
    }
    let found = to_vault.env("X", "<${vault:secret/none#k:-d}>").option("--log-level=debug");
    let ended = found.end();
    assert!(ended.stderr.contains("X: a reference to secret/none#k"), "{}", ended.stderr);
}

#[test]
fn what_to_do_about_a_missing_secret_fits_the_mistake() {
    on_every_vault(|target| {
        let (one, two) = (kv(target, 1), with_app(target));
        let operator = target.operator();
        operator.kv_put(&one, 1, "app", json!({"k": "v"}));
        operator.kv_put(&two, 2, "app", json!({"user": "u", "pool": {"max": 1, "min": 2}}));
        for (value, words) in [
            (format!("vault:v1/{two}/data/app#user"), "leave v1/ out"),
            (format!("vault:{two}/data/app?version=1#user"), "path#key#1"),
            (format!("vault:{two}/nothing#user"), "is the path right?"),
            (format!("vault:{one}/data/app#k"), "If it is KV v1, leave data/ out"),
            (format!("vault:{two}/app#user#9"), "lists the versions"),
            ("vault:nowhere/app#k".to_owned(), "nothing is mounted where this path begins"),
            (format!("vault:{two}/app#user "), "a blank or line break stands at an end of the key"),
            (format!("vault:{two}/app#pool.max"), "write #/pool/max"),
            (format!("vault:{two}/app#pool/max"), "write #/pool/max"),
            (format!("vault:{two}/app#/pool/mux"), "/pool has max, min"),
            (format!("vault:{two}/app#USER"), "write #user"),
            (format!("vault:{two}/app#other"), "the secret has pool, user"),
        ] {
            as_root(target).env("X", &value).fails(66, &["X: ", words]);
        }
    });
}

// Peer cases A11, A35, B9.
#[test]
fn what_is_no_reference_passes_and_asks_nobody() {
    let vault = TestVault::start();
    let values = [
        ("SPRING", "vault://host/x#y"),
        ("PREFIXED", "prefix-vault:secret/data/a#k"),
        ("NOT", "notvault:foo#bar"),
        ("UPPER", "VAULT: a title"),
        ("SHELL", "${HOME} $(x) `y`"),
        ("EMPTY", ""),
    ];
    let run = values
        .iter()
        .fold(run().env("VAULT_ADDR", vault.addr()), |run, (name, value)| run.env(*name, *value));
    let environment = run.environment();
    for (name, value) in values {
        assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_reference_in_a_setting_of_ours_is_an_error() {
    let directory = directory();
    let file = directory.path().join("app.env");
    std::fs::write(&file, "VAULT_NAMESPACE=vault:a/b#c\n").expect("written");
    for name in
        ["VAULT_ADDR", "BAO_NAMESPACE", "VAULT_TOKEN", "VAULT_SECRET_ID_FILE", "VAULT_EXEC_TIMEOUT"]
    {
        run().env(name, "vault:secret/app#k").fails(78, &[name, "a reference in a setting"]);
    }
    run()
        .option("--env-file")
        .option(&file)
        .fails(78, &["VAULT_NAMESPACE", "a reference in a setting"]);
}

#[test]
fn a_variable_of_the_applications_own_may_be_called_like_ours() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target).env("VAULT_DB_PASSWORD", format!("vault:{mount}/app#password"));
        assert_eq!(run.value("VAULT_DB_PASSWORD").as_deref(), Some("s3cr3t"));
    });
}

#[test]
fn a_reference_in_an_env_file_is_fetched() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(
            &file,
            format!("A=vault:{mount}/app#user # a comment\nB='vault:{mount}/app#password'\n"),
        )
        .expect("written");
        let environment = as_root(target).option("--env-file").option(&file).environment();
        assert_eq!(environment.get("A").map(String::as_str), Some("ada"));
        assert_eq!(environment.get("B").map(String::as_str), Some("s3cr3t"));
    });
}

#[test]
fn vault_of_both_makers_is_understood() {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        let target: Target = TestVault::builder().flavour(flavour).start().into();
        let mount = with_app(&target);
        let role = role(&target, &reading(&mount), json!({}));
        let run = as_role(&target, &role).env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        let run = as_root(&target).env("A", format!("vault:{mount}/app#user"));
        run.env("VAULT_TOKEN", "wrong").fails(77, &["the token"]);
    }
}

#[test]
fn an_answer_of_another_shape_is_no_missing_secret() {
    let target: Target = TestVault::start().into();
    let mount = with_app(&target);
    let vault = target.own().expect("own");
    let run = as_root(&target)
        .option("--ignore-missing")
        .env("A", format!("vault?:{mount}/data/app#user:-x"));
    let deep = format!("{{\"data\":{}", "[".repeat(100_000));
    for fault in [
        Fault::wrong_shape(),
        Fault::invalid_json(),
        Fault::answer(200, "{}"),
        Fault::answer(200, "\"text\""),
        Fault::answer(200, "{\"data\":[\"a\"]}"),
        Fault::answer(200, "<html>"),
        Fault::answer(404, "<html>Not Found</html>").with_header("content-type", "text/html"),
        Fault::answer(404, ""),
        Fault::answer(403, "{\"message\":\"forbidden by the gateway\"}"),
        Fault::answer(200, deep),
    ] {
        vault.clear_faults();
        vault.fault(&*format!("/v1/{mount}/"), fault);
        run.fails(76, &["A: ", &format!("{mount}/data/app"), "the answer"]);
    }
}

#[test]
fn a_path_with_v1_in_it_is_told_so() {
    on_every_vault(|target| {
        let run = run_at(target).env("VAULT_TOKEN", target.root_token());
        let hint = "leave v1/ out of the path, and out of VAULT_ADDR";
        run.clone().env("A", "vault:v1/secret/app#k").fails(66, &["A: v1/secret/app: ", hint]);
        run.clone()
            .env("A", "vault:/v1/secret/data/app#k")
            .fails(66, &["A: v1/secret/data/app: ", hint]);
    });
}

// What vault-env's users write, on both versions of KV.
#[test]
fn paths_and_versions_are_taken_as_other_clients_take_them() {
    on_every_vault(|target| {
        let (one, two) = (kv(target, 1), with_app(target));
        let nested = target.unique("team") + "/kv";
        let operator = target.operator();
        operator.enable_kv(&nested, 2);
        operator.kv_put(&two, 2, "app", json!({"password": "newer"}));
        operator.kv_put(&two, 2, "team/data/app", json!({"k": "own data segment"}));
        operator.kv_put(&nested, 2, "app", json!({"k": "nested"}));
        operator.kv_put(&nested, 2, "metadata/data/app", json!({"k": "below metadata"}));
        operator.kv_put(&one, 1, "data/app", json!({"k": "one"}));
        operator.kv_put(&one, 1, "x/metadata/app", json!({"k": "two"}));
        for (value, expected) in [
            (format!("vault:{two}/data/app#password#"), "newer"),
            (format!("vault:{two}/data/app#password#0"), "newer"),
            (format!("vault:{two}/app#password#-1:-d"), "newer"),
            (format!("<${{vault:{two}/app#password#}}>"), "<newer>"),
            (format!("vault:{two}/app/#password"), "newer"),
            (format!("vault://{two}//data//app/#password").replace("vault://", "vault:/"), "newer"),
            (format!("vault:{two}/team/data/app#k"), "own data segment"),
            (format!("vault:{two}/data/team/data/app#k"), "own data segment"),
            (format!("vault:{nested}/data/app#k"), "nested"),
            (format!("vault:{nested}/app#k"), "nested"),
            (format!("vault:{nested}/data/metadata/data/app#k"), "below metadata"),
            (format!("vault:{one}/data/app#k"), "one"),
            (format!("vault:{one}/x/metadata/app#k"), "two"),
        ] {
            assert_eq!(
                as_root(target).env("X", &value).value("X").as_deref(),
                Some(expected),
                "{value}"
            );
        }
        let told = as_root(target)
            .option("--kv-version=2")
            .env("X", format!("vault:{two}/team/data/app#k"));
        assert_eq!(told.value("X").as_deref(), Some("own data segment"));
    });
}

#[test]
fn metadata_and_subkeys_are_read_as_they_are_written() {
    on_every_vault(|target| {
        if target.own().is_some() {
            return;
        }
        let mount = with_app(target);
        target.operator().kv_put(&mount, 2, "metadata/app", json!({"current_version": "a decoy"}));
        for (value, expected) in [
            (format!("vault:{mount}/metadata/app#current_version"), "1"),
            (format!("vault:{mount}/metadata/app#/versions/1/destroyed"), "false"),
            (format!("vault:{mount}/subkeys/app#/subkeys/user"), ""),
            (format!("vault:{mount}/subkeys/app#/metadata/version#1"), "1"),
            (format!("vault:{mount}/data/metadata/app#current_version"), "a decoy"),
        ] {
            assert_eq!(
                as_root(target).env("X", &value).value("X").as_deref(),
                Some(expected),
                "{value}"
            );
        }
    });
}

#[test]
fn a_secret_of_version_one_may_look_like_a_deleted_one_of_version_two() {
    on_every_vault(|target| {
        let mount = kv(target, 1);
        let secret = json!({"data": null, "metadata": {"version": 1, "destroyed": true}});
        target.operator().kv_put(&mount, 1, "app", secret);
        let run = as_root(target)
            .env("DATA", format!("vault:{mount}/app#data"))
            .env("VERSION", format!("vault:{mount}/app#/metadata/version"));
        for run in [run.clone(), run.option("--kv-version=1")] {
            let environment = run.environment();
            assert_eq!(environment.get("DATA").map(String::as_str), Some(""));
            assert_eq!(environment.get("VERSION").map(String::as_str), Some("1"));
        }
    });
}

// Our own test server spells it anew.
#[test]
fn a_number_keeps_its_spelling() {
    on_every_vault(|target| {
        if target.own().is_some() {
            return;
        }
        let number = |text: &str| serde_json::Number::from_string_unchecked(text.to_owned());
        // KV v2 makes numbers of its own.
        let mount = kv(target, 1);
        let mut secret = json!({"a": 0, "b": {"c": [0, "1E5"]}});
        secret["a"] = number("1E5").into();
        secret["b"]["c"][0] = number("-1.50e-7").into();
        target.operator().kv_put(&mount, 1, "app", secret);
        let environment = as_root(target)
            .env("A", format!("vault:{mount}/app#a"))
            .env("B", format!("vault:{mount}/app#b"))
            .env("C", format!("vault:{mount}/app#${{. | toJson}}"))
            .environment();
        assert_eq!(environment["A"], "1E5");
        assert_eq!(environment["B"], r#"{"c":[-1.50e-7,"1E5"]}"#);
        assert_eq!(environment["C"], r#"{"a":1E5,"b":{"c":[-1.50e-7,"1E5"]}}"#);
    });
}
