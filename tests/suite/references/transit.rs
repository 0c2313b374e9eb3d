//! Ciphertexts as values, which transit decrypts, all with one request.

use std::fmt::Write as _;

use test_vault::{Fault, Recorded, Target, TestVault, json, on_every_vault};

use crate::references::texts_and_templates::tells_nothing_of;
use crate::support::application::{as_role, as_root, role, token, with_app};
use crate::support::{Run, run, run_at};

/// Transit with the keys `app` and `other`, and runs with the first of them that may decrypt with
/// it.
struct Transit<'a> {
    target: &'a Target,
    mount: String,
    run: Run,
}

impl<'a> Transit<'a> {
    fn new(target: &'a Target) -> Self {
        let (operator, mount) = (target.operator(), target.unique("transit"));
        operator.enable_transit(&mount);
        operator.transit_key(&mount, "app");
        operator.transit_key(&mount, "other");
        let token = token(
            target,
            &format!("path \"{mount}/decrypt/app\" {{ capabilities = [\"update\"] }}"),
        );
        let run = run_at(target).env("VAULT_TOKEN", token).env("VAULT_TRANSIT_PATH", &mount);
        Self { target, run: run.env("VAULT_TRANSIT_KEY_ID", "app"), mount }
    }

    fn encrypt(&self, plaintext: &str) -> String {
        self.target.operator().encrypt(&self.mount, "app", plaintext)
    }

    fn encrypt_base64(&self, plaintext: &str) -> String {
        let answer = self
            .target
            .operator()
            .write(&format!("{}/encrypt/app", self.mount), json!({"plaintext": plaintext}));
        answer["data"]["ciphertext"].as_str().expect("a ciphertext").to_owned()
    }

    /// A run with a ciphertext of `text N` in each `E_N`.
    fn with(&self, number: usize) -> Run {
        (0..number).fold(self.run.clone(), |run, at| {
            run.env(format!("E_{at}"), self.encrypt(&format!("text {at}")))
        })
    }

    /// How many ciphertexts each request had, if the server is our own.
    fn batches(&self) -> Option<Vec<usize>> {
        let requests = self.target.own()?.requests();
        let decrypts = requests
            .iter()
            .filter(|request| request.path == format!("/v1/{}/decrypt/app", self.mount));
        Some(decrypts.map(size).collect())
    }

    fn clear(&self) {
        if let Some(vault) = self.target.own() {
            vault.clear();
        }
    }
}

fn size(request: &Recorded) -> usize {
    request.json()["batch_input"].as_array().expect("a batch").len()
}

/// The same with one character changed.
fn damaged(ciphertext: &str) -> String {
    let (start, end) = ciphertext.split_at("vault:v1:".len() + 8);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    format!("{start}{other}{}", &end[1..])
}

fn own() -> Target {
    TestVault::start().into()
}

#[track_caller]
fn assert_decrypted(run: &Run, number: usize) {
    let environment = run.environment();
    for at in 0..number {
        assert_eq!(environment.get(&format!("E_{at}")), Some(&format!("text {at}")));
    }
}

// Peer cases A8, A17.
#[test]
fn any_number_of_ciphertexts_is_one_request() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        for number in [1, 2, 25] {
            transit.clear();
            assert_decrypted(&transit.with(number), number);
            assert_eq!(transit.batches().unwrap_or_else(|| vec![number]), [number]);
        }
    });
}

#[test]
fn ciphertexts_stand_in_a_text_beside_references() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let mount = with_app(target);
        let (one, two) = (transit.encrypt("one"), transit.encrypt("two } \" #"));
        let run = as_root(target)
            .env("VAULT_TRANSIT_PATH", &transit.mount)
            .env("VAULT_TRANSIT_KEY_ID", "app")
            .env("X", format!("<${{{one}}}:${{vault:{mount}/app#user}}@${{{two}}}${{{one}}}>"))
            .env("Y", &one);
        transit.clear();
        let environment = run.environment();
        assert_eq!(environment["X"], "<one:ada@two } \" #one>");
        assert_eq!(environment["Y"], "one");
        assert_eq!(transit.batches().unwrap_or_else(|| vec![2]), [2]);
        let wrong = run.env("Y", "plain").env("X", format!("<${{{}}}>", damaged(&one)));
        let ended = wrong.fails(77, &["X: ", &transit.mount]);
        assert!(!ended.stderr.contains(&one[..20]), "{}", ended.stderr);
    });
}

// Peer case A20.
#[test]
fn a_batch_has_at_most_its_size() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        for (number, most, sizes) in [
            (4, "2", &[2, 2][..]),
            (4, "3", &[1, 3]),
            (4, "1", &[1; 4]),
            (1, "100", &[1]),
            (4, "0", &[4]),
            (0, "25", &[]),
        ] {
            let run = transit.with(number).env("VAULT_TRANSIT_BATCH_SIZE", most);
            transit.clear();
            assert_decrypted(&run, number);
            if let Some(mut batches) = transit.batches() {
                // They are sent at the same time.
                batches.sort_unstable();
                assert_eq!(batches, sizes, "{number} by {most}");
            }
        }
    });
}

// Peer case A19.
#[test]
fn a_ciphertext_without_a_key_is_an_error_before_anybody_is_asked() {
    let target = own();
    let run = as_root(&target).env("E", "vault:v1:aGVsbG8=").env("F", "vault:v100:aGVsbG8=");
    for size in [None, Some("25")] {
        let run = size
            .into_iter()
            .fold(run.clone(), |run, size| run.env("VAULT_TRANSIT_BATCH_SIZE", size));
        let ended = run
            .option("--log-level=trace")
            .fails(78, &["E: ", "F: ", "VAULT_TRANSIT_KEY_ID", "--literal"]);
        assert!(!ended.stderr.contains("aGVsbG8"), "{}", ended.stderr);
    }
    assert_eq!(target.own().expect("own").connections(), 0);
    assert_eq!(run.option("--literal=E,F").value("E").as_deref(), Some("vault:v1:aGVsbG8="));
}

#[test]
fn without_vault_a_ciphertext_is_an_error_unless_it_is_literal() {
    let run = run()
        .env("VAULT_ENABLED", "false")
        .env("VAULT_TRANSIT_KEY_ID", "app")
        .env("E", "vault:v1:aGVsbG8=");
    run.fails(78, &["E: ", "VAULT_ENABLED is false"]);
    assert_eq!(run.option("--literal=E").value("E").as_deref(), Some("vault:v1:aGVsbG8="));
}

#[test]
fn equal_ciphertexts_are_decrypted_once() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let ciphertext = transit.encrypt("once");
        transit.clear();
        let run = transit
            .run
            .clone()
            .env("A", &ciphertext)
            .env("B", format!("{ciphertext}\n"))
            .env("C", &ciphertext);
        let environment = run.env("D", transit.encrypt("twice")).environment();
        let values = ["A", "B", "C", "D"].map(|name| environment[name].as_str());
        assert_eq!(values, ["once", "once", "once", "twice"]);
        assert_eq!(transit.batches().unwrap_or_else(|| vec![2]), [2]);
    });
}

#[test]
fn an_older_version_of_the_key_still_decrypts() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let older = transit.encrypt("older");
        target.operator().write(&format!("{}/keys/app/rotate", transit.mount), json!({}));
        let newer = transit.encrypt("newer");
        assert!(older.starts_with("vault:v1:") && newer.starts_with("vault:v2:"), "{newer}");
        let environment = transit.run.clone().env("A", older).env("B", newer).environment();
        assert_eq!((environment["A"].as_str(), environment["B"].as_str()), ("older", "newer"));
    });
}

#[test]
fn a_ciphertext_that_is_damaged_is_named_and_the_others_are_not() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let damaged = damaged(&transit.encrypt("damaged"));
        for size in ["25", "1"] {
            let run =
                transit.with(3).env("VAULT_TRANSIT_BATCH_SIZE", size).option("--ignore-missing");
            let one = run.clone().env("WRONG_1", &damaged);
            let path = format!("{}/decrypt/app", transit.mount);
            let words = "message authentication failed";
            let ended = one.fails(77, &["WRONG_1: ", &path, words, "VAULT_TRANSIT_KEY_ID"]);
            assert!(!ended.stderr.contains("E_"), "{}", ended.stderr);
            let ended =
                one.env("WRONG_2", "vault:v1:YQ==").fails(77, &["WRONG_1: ", "WRONG_2: ", words]);
            assert!(
                !ended.stderr.contains("E_") && !ended.stderr.contains("YQ=="),
                "{}",
                ended.stderr
            );
        }
    });
}

#[test]
fn ciphertexts_that_are_all_damaged_are_all_named() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let values = [damaged(&transit.encrypt("one")), damaged(&transit.encrypt("two"))];
        let run = transit.run.clone().env("WRONG_1", &values[0]).env("WRONG_2", &values[1]);
        run.fails(77, &["WRONG_1, WRONG_2: ", "message authentication failed"]);
        let one = transit.run.clone().env("WRONG", &values[0]);
        one.fails(77, &["WRONG: ", "message authentication failed"]);
    });
}

#[test]
fn a_ciphertext_of_another_key_is_refused() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let other = target.operator().encrypt(&transit.mount, "other", "quiet");
        transit
            .with(1)
            .env("OTHER", other)
            .fails(77, &["OTHER: ", "authentication failed", "VAULT_TRANSIT_KEY_ID"]);
    });
}

#[test]
fn a_refusal_by_policy_names_every_variable() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let run = transit.with(3).env("VAULT_TRANSIT_KEY_ID", "other").option("--ignore-missing");
        let path = format!("{}/decrypt/other", transit.mount);
        let ended = run.fails(
            77,
            &["E_0, E_1, E_2: ", &path, "permission denied", "no policy of the token allows it"],
        );
        assert_eq!(ended.stderr.matches("permission denied").count(), 1, "{}", ended.stderr);
    });
}

#[test]
fn a_key_or_an_engine_that_there_is_not_is_named_and_never_ignored() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let run =
            transit.with(2).env("VAULT_TOKEN", target.root_token()).option("--ignore-missing");
        let path = format!("{}/decrypt/none", transit.mount);
        run.clone()
            .env("VAULT_TRANSIT_KEY_ID", "none")
            .fails(77, &["E_0, E_1: ", &path, "key not found"]);
        run.env("VAULT_TRANSIT_PATH", "nowhere/at-all")
            .fails(66, &["E_0, E_1: ", "nowhere/at-all/decrypt/app"]);
    });
}

#[test]
fn the_engine_is_at_transit_unless_another_path_is_said() {
    let target = own();
    let operator = target.operator();
    operator.enable_transit("transit");
    operator.transit_key("transit", "app");
    operator.enable_transit("team/keys");
    operator.transit_key("team/keys", "app");
    for (path, mount) in
        [(None, "transit"), (Some("team/keys"), "team/keys"), (Some("/team/keys/"), "team/keys")]
    {
        target.own().expect("own").clear();
        let run = as_root(&target)
            .env("VAULT_TRANSIT_KEY_ID", "app")
            .env("E", operator.encrypt(mount, "app", "here"));
        let run = path.into_iter().fold(run, |run, path| run.env("VAULT_TRANSIT_PATH", path));
        assert_eq!(run.value("E").as_deref(), Some("here"), "{path:?}");
        assert_eq!(target.own().expect("own").lines(), [format!("POST /v1/{mount}/decrypt/app")]);
    }
}

#[test]
fn a_plaintext_keeps_every_byte() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let run = transit
            .run
            .clone()
            .env("E", transit.encrypt_base64("//6ACgE="))
            .env("EMPTY", transit.encrypt(""));
        let ended = run.command(["sh", "-c", "printf '%s|%s|' \"$E\" \"${EMPTY-none}\""]).end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"\xff\xfe\x80\n\x01||");
        transit.run.clone().env("NUL", transit.encrypt_base64("YQBi")).fails(78, &["NUL"]);
    });
}

#[test]
fn a_plaintext_is_no_reference_whatever_it_looks_like() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let inner = transit.encrypt("inner");
        for text in ["vault:a/b#c", "${vault:a/b#c}", inner.as_str()] {
            assert_eq!(
                transit.run.clone().env("E", transit.encrypt(text)).value("E").as_deref(),
                Some(text)
            );
        }
    });
}

#[test]
fn a_ciphertext_inside_of_a_text_stays_as_it_is() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let text = format!("<{}>", transit.encrypt("text"));
        transit.clear();
        assert_eq!(transit.run.clone().env("E", &text).value("E"), Some(text));
        assert_eq!(transit.batches().unwrap_or_default(), [0; 0]);
    });
}

#[test]
fn ciphertexts_and_secrets_come_with_one_login() {
    on_every_vault(|target| {
        let (transit, kv) = (Transit::new(target), with_app(target));
        let mut hcl = crate::support::application::reading(&kv);
        write!(hcl, "\npath \"{}/decrypt/app\" {{ capabilities = [\"update\"] }}", transit.mount)
            .expect("written");
        for (uses, codes) in [(2, 0), (1, 78)] {
            let role = role(target, &hcl, json!({ "token_num_uses": uses }));
            let run = as_role(target, &role).env("VAULT_TRANSIT_PATH", &transit.mount);
            let run = run.env("VAULT_TRANSIT_KEY_ID", "app").env("E", transit.encrypt("text"));
            let run =
                run.env("F", transit.encrypt("more")).env("A", format!("vault:{kv}/data/app#user"));
            if codes == 0 {
                let environment = run.environment();
                let values = ["E", "F", "A"].map(|name| environment[name].as_str());
                assert_eq!(values, ["text", "more", "ada"]);
            } else {
                run.fails(codes, &["good for 1 requests, and there are 2", "token_num_uses"]);
            }
        }
    });
}

#[test]
fn a_decryption_changes_nothing_and_so_is_repeated() {
    for fault in [Fault::LoseAnswer, Fault::bad_gateway(), Fault::internal_error(), Fault::sealed()]
    {
        let target = own();
        let transit = Transit::new(&target);
        let run = transit.with(2);
        target.own().expect("own").fault_times(1, "POST /v1/transit-", fault.clone());
        assert_decrypted(&run, 2);
        assert_eq!(transit.batches().expect("own"), [2, 2], "{fault:?}");
    }
}

#[test]
fn an_answer_that_lacks_results_is_not_vaults() {
    let target = own();
    let transit = Transit::new(&target);
    let run = transit.with(2).option("--ignore-missing");
    for answer in [
        json!({"data": {"batch_results": [{"plaintext": "aHVzaA=="}]}}),
        json!({"data": {"plaintext": "aHVzaA=="}}),
        json!({"data": {"batch_results": [{"plaintext": "aHVzaA=="}, {}]}}),
        json!({"data": {"batch_results": [{"plaintext": "aHVzaA=="}, {"plaintext": "hush*"}]}}),
        json!({"data": {"batch_results": [{"plaintext": "aHVzaA=="}, null]}}),
        json!({"data": {"batch_results": {}}}),
        json!({}),
    ] {
        let vault = target.own().expect("own");
        vault.clear_faults();
        vault.fault("POST /v1/transit-", Fault::answer(200, answer.to_string()));
        let ended = run.fails(76, &["E_1: ", "/decrypt/app: an answer without"]);
        assert!(
            !ended.stderr.contains("hush") && !ended.stderr.contains("aHVzaA"),
            "{answer}: {}",
            ended.stderr
        );
    }
}

#[test]
fn no_message_shows_a_ciphertext_or_what_it_stands_for() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let (good, bad) = (transit.encrypt("quiet"), damaged(&transit.encrypt("hidden")));
        let values = ["quiet", "cXVpZXQ=", "hidden", good.as_str(), bad.as_str()];
        let run = transit.run.clone().env("E", &good);
        assert!(tells_nothing_of(&run, &values).started());
        assert_eq!(tells_nothing_of(&run.env("F", &bad), &values).code, Some(77));
    });
}
