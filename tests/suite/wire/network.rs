//! What it does where the server cannot be reached, does not answer, or something else answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use test_vault::{Fault, Flavour, Target, TestVault, json, leaks};

use crate::support::application::{as_role, reading as reading_of, reading_one, role};
use crate::support::{Ended, Run, once_it_tries_again, run};

/// A server with one secret, and a run that reads it in at most two seconds.
fn ready() -> (TestVault, Run) {
    let vault = TestVault::start();
    let run = reading(&vault);
    (vault, run)
}

fn reading(vault: &TestVault) -> Run {
    reading_one(vault).env("VAULT_EXEC_TIMEOUT", "2s")
}

/// A port of this machine on which nobody listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// It fails about when its two seconds are over.
#[track_caller]
fn fails_at_the_deadline(run: &Run, words: &[&str]) -> Ended {
    let began = Instant::now();
    let ended = run.fails(69, words);
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1500) && took < Duration::from_secs(8),
        "{took:?}: {}",
        ended.stderr
    );
    ended
}

/// It fails long before its time is over.
#[track_caller]
fn fails_at_once(run: &Run, code: i32, words: &[&str]) -> Ended {
    let began = Instant::now();
    let ended = run.clone().env("VAULT_EXEC_TIMEOUT", "60s").fails(code, words);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {}", began.elapsed(), ended.stderr);
    ended
}

#[test]
fn something_to_fetch_and_no_address_is_an_error() {
    let run = run().env("VAULT_TOKEN", "t").env("A", "vault:secret/data/app#k");
    run.fails(78, &["no address", "VAULT_ADDR"]);
}

#[test]
fn nothing_to_fetch_needs_no_address_and_no_credentials() {
    assert!(run().marker().end().started());
}

#[test]
fn an_address_on_which_nobody_listens_is_tried_until_the_deadline() {
    let (vault, run) = ready();
    let addr = format!("http://127.0.0.1:{}", closed_port());
    let ended = fails_at_the_deadline(
        &run.env("VAULT_ADDR", &addr),
        &[
            "A: ",
            "secret/data/app",
            &addr,
            "refused",
            " tries in ",
            "is Vault running",
            "VAULT_ADDR",
        ],
    );
    assert!(ended.stderr.contains("trying again for"), "{}", ended.stderr);
    drop(vault);
}

#[test]
fn a_name_without_an_address_is_named() {
    let (_vault, run) = ready();
    let run = run.env("VAULT_ADDR", "https://vault.invalid:8200").env("VAULT_SKIP_VERIFY", "1");
    fails_at_the_deadline(&run, &["vault.invalid", "has no address"]);
}

#[test]
fn plain_http_to_another_machine_is_warned_of_and_to_this_one_not() {
    let (_vault, run) = ready();
    let other =
        run.clone().env("VAULT_ADDR", "http://vault.invalid").env("VAULT_EXEC_TIMEOUT", "500ms");
    other.fails(69, &["warn: http://vault.invalid is plain http", "in clear"]);
    let ended = run.marker().end();
    assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn a_server_that_comes_up_late_is_waited_for() {
    let early = Target::from(TestVault::start());
    let app = role(&early, &reading_of("nothing"), json!({}));
    let port = closed_port();
    let run = as_role(&early, &app)
        .env("VAULT_ADDR", format!("http://127.0.0.1:{port}"))
        .env("VAULT_EXEC_TIMEOUT", "30s")
        .env("A", "vault:secret/data/app#k");
    let child = run.spawn();
    let mut late = None;
    waiting_for_a_warning(child, || {
        let late = late.insert(Target::from(TestVault::builder().port(port).start()));
        late.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
        late.operator().enable_approle(&app.mount);
        late.operator().policy("p", "path \"secret/data/app\" { capabilities = [\"read\"] }");
        late.operator().approle_role(&app.mount, "app", json!({"token_policies": ["p"]}));
        let path = format!("auth/{}/role/app", app.mount);
        late.operator().write(&format!("{path}/role-id"), json!({ "role_id": app.role_id }));
        late.operator()
            .write(&format!("{path}/custom-secret-id"), json!({ "secret_id": app.secret_id }));
    });
    let lines = late.expect("it came").own().expect("own").lines();
    let logins = lines.iter().filter(|line| line.ends_with("/login")).count();
    assert_eq!(logins, 1, "a login that could not be sent is repeated: {lines:?}");
}

/// The run ends well where this is done once it has said that it tries again.
fn waiting_for_a_warning(child: std::process::Child, then: impl FnOnce()) {
    let ended = once_it_tries_again(child, then);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.text().split('\0').any(|entry| entry == "A=v"), "{}", ended.text());
}

#[test]
fn a_sealed_server_is_waited_for() {
    let (vault, run) = ready();
    vault.seal();
    waiting_for_a_warning(run.env("VAULT_EXEC_TIMEOUT", "30s").spawn(), || vault.unseal());
}

#[test]
fn a_server_that_stays_sealed_is_said_to_be_sealed() {
    let (vault, run) = ready();
    vault.seal();
    fails_at_the_deadline(&run, &["A: ", "Vault is sealed", &vault.addr(), " tries in ", "unseal"]);
}

#[test]
fn a_login_at_a_sealed_server_is_repeated() {
    let target = Target::from(TestVault::start());
    let app = role(&target, "path \"secret/data/app\" { capabilities = [\"read\"] }", json!({}));
    target.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    let run =
        as_role(&target, &app).env("A", "vault:secret/data/app#k").env("VAULT_EXEC_TIMEOUT", "30s");
    let vault = target.own().expect("own");
    vault.seal();
    waiting_for_a_warning(run.spawn(), || vault.unseal());
    for fault in [Fault::rate_limited(None), Fault::lagging(), Fault::no_leader()] {
        vault.fault_times(2, "POST /v1/auth/", fault);
        assert_eq!(run.value("A").as_deref(), Some("v"), "Vault said that it was not done");
    }
}

#[test]
fn a_login_of_which_it_is_not_known_whether_it_was_done_is_not_repeated() {
    let target = Target::from(TestVault::start());
    let app = role(&target, &reading_of("nothing"), json!({}));
    let run = as_role(&target, &app).env("A", "vault:secret/data/app#k");
    let vault = target.own().expect("own");
    for fault in [
        Fault::bad_gateway(),
        Fault::internal_error(),
        Fault::answer(504, "<html>"),
        Fault::Reset,
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Truncate,
    ] {
        vault.clear();
        vault.clear_faults();
        vault.fault("POST /v1/auth/", fault.clone());
        let ended = fails_at_once(
            &run,
            69,
            &["login at auth/", "it may have been done, so it is not repeated"],
        );
        assert_eq!(vault.requests().len(), 1, "{fault:?}: {}", ended.stderr);
    }
}

#[test]
fn a_login_that_is_never_answered_is_sent_once_and_ends_at_the_deadline() {
    let target = Target::from(TestVault::start());
    let app = role(&target, &reading_of("nothing"), json!({}));
    let run =
        as_role(&target, &app).env("A", "vault:secret/data/app#k").env("VAULT_EXEC_TIMEOUT", "2s");
    let vault = target.own().expect("own");
    vault.fault("POST /v1/auth/", Fault::Hang);
    fails_at_the_deadline(&run, &["login at auth/", "no answer in time"]);
    assert_eq!(vault.requests().len(), 1);
}

#[test]
fn reads_are_repeated_where_that_may_help() {
    for fault in [
        Fault::internal_error(),
        Fault::bad_gateway(),
        Fault::answer(504, ""),
        Fault::rate_limited(None),
        Fault::rate_limited(Some("0")),
        Fault::lagging(),
        Fault::sealed(),
        Fault::no_leader(),
        Fault::Reset,
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Truncate,
        Fault::error(
            400,
            "Upgrading from non-versioned to versioned data. This backend will be unavailable",
        ),
    ] {
        let (vault, run) = ready();
        vault.fault_times(2, "GET /v1/secret/", fault.clone());
        let ended = run.env("VAULT_EXEC_TIMEOUT", "30s").marker().end();
        assert!(ended.started(), "{fault:?}: {}", ended.stderr);
        assert_eq!(vault.requests().len(), 3, "{fault:?}");
        assert_eq!(
            ended.stderr.lines().count(),
            1,
            "only the first failure is told at once: {}",
            ended.stderr
        );
    }
}

#[test]
fn what_will_not_change_is_not_repeated() {
    for (fault, code) in [
        (Fault::error(403, "1 error occurred:\n\t* permission denied\n\n"), 77),
        (Fault::error(400, "some reason"), 77),
        (Fault::error(405, "1 error occurred:\n\t* unsupported operation\n\n"), 77),
        (Fault::error(501, "not initialized"), 69),
        (Fault::answer(404, "{\"errors\":[]}"), 66),
    ] {
        let (vault, run) = ready();
        vault.fault("GET /v1/secret/", fault.clone());
        fails_at_once(&run, code, &["A: ", "secret/data/app"]);
        assert_eq!(vault.requests().len(), 1, "{fault:?}");
    }
}

#[test]
fn the_number_of_repetitions_can_be_limited() {
    for retries in [0, 2] {
        let (vault, run) = ready();
        vault.fault("GET /v1/secret/", Fault::internal_error());
        let tries =
            if retries == 0 { "1 try".to_owned() } else { format!("{} tries", retries + 1) };
        let run = run.option("--max-retries").option(retries.to_string());
        fails_at_once(&run, 69, &["status 500: internal error", &tries]);
        assert_eq!(vault.requests().len(), retries + 1);
    }
}

#[test]
fn a_rate_limit_says_when_to_come_back_and_is_heeded() {
    let (vault, run) = ready();
    vault.fault_times(1, "GET /v1/secret/", Fault::rate_limited(Some("1")));
    let began = Instant::now();
    assert_eq!(run.clone().env("VAULT_EXEC_TIMEOUT", "30s").value("A").as_deref(), Some("v"));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    vault.fault("GET /v1/secret/", Fault::rate_limited(Some("90")));
    let ended = fails_at_once(&run, 69, &["rate limit quota exceeded", "1 try", "90 s"]);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
}

#[test]
fn a_server_that_accepts_and_never_answers_ends_at_the_deadline() {
    let (vault, run) = ready();
    vault.fault("GET /v1/secret/", Fault::Hang);
    fails_at_the_deadline(&run, &["A: ", "no answer in time", &vault.addr()]);
    // Nobody accepts here: the handshakes of TCP are done by the kernel.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound");
    fails_at_the_deadline(
        &run.clone().env("VAULT_ADDR", format!("http://{addr}")),
        &["no answer in time"],
    );
    let https = run.env("VAULT_ADDR", format!("https://{addr}")).env("VAULT_SKIP_VERIFY", "1");
    fails_at_the_deadline(&https, &["in time"]);
}

#[test]
fn an_answer_that_drips_ends_at_the_deadline() {
    let (vault, run) = ready();
    vault.fault("GET /v1/secret/", Fault::Drip(Duration::from_millis(100)));
    fails_at_the_deadline(&run, &["A: ", "did not end in time"]);
}

#[test]
fn an_answer_that_drips_fast_enough_is_read() {
    let (vault, run) = ready();
    vault.fault("GET /v1/secret/", Fault::Drip(Duration::from_millis(1)));
    assert_eq!(run.env("VAULT_EXEC_TIMEOUT", "60s").value("A").as_deref(), Some("v"));
}

#[test]
fn an_answer_that_never_ends_or_is_too_large_is_not_read_to_its_end() {
    let (vault, run) = ready();
    let large = format!("{{\"data\":{{\"k\":\"{}\"}}}}", "x".repeat(4 << 20));
    for fault in [Fault::Endless, Fault::answer(200, large)] {
        vault.clear_faults();
        vault.clear();
        vault.fault("GET /v1/secret/", fault);
        fails_at_once(&run, 76, &["A: ", "secret/data/app", "more than 4 MiB"]);
        assert_eq!(vault.requests().len(), 1);
    }
}

#[test]
fn an_answer_that_always_breaks_off_is_no_answer() {
    let (vault, run) = ready();
    vault.fault("GET /v1/secret/", Fault::Truncate);
    fails_at_the_deadline(&run, &["A: ", "broke off", " tries in "]);
}

#[test]
fn what_is_not_http_is_said_at_once() {
    for bytes in ["SSH-2.0-OpenSSH_9.9\r\n", "\u{1}\u{2}\u{3}\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        let (vault, run) = ready();
        vault.fault("GET /v1/secret/", Fault::Raw(bytes.into()));
        fails_at_once(&run, 76, &["A: ", "not HTTP"]);
    }
}

#[test]
fn what_is_not_vaults_is_said_at_once() {
    for (fault, words) in [
        (
            Fault::answer(200, "<html>login</html>").with_header("content-type", "text/html"),
            "is not JSON",
        ),
        (Fault::invalid_json(), "is not JSON"),
        (Fault::answer(404, "<html>404 Not Found</html>"), "form of Vault's errors"),
        (Fault::answer(403, "Forbidden"), "form of Vault's errors"),
        (Fault::answer(401, ""), "form of Vault's errors"),
        (Fault::answer(304, ""), "status that Vault does not use"),
    ] {
        let (vault, run) = ready();
        vault.fault("GET /v1/secret/", fault);
        fails_at_once(&run, 76, &["A: ", words, &vault.addr(), "load balancer", "1 try"]);
    }
}

#[test]
fn a_redirect_is_followed_once_with_method_body_and_token() {
    let standby = TestVault::start();
    let leader = Target::from(TestVault::builder().flavour(Flavour::Vault).start());
    let app = role(&leader, "path \"secret/data/app\" { capabilities = [\"read\"] }", json!({}));
    leader.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    let login = format!("/v1/auth/{}/login", app.mount);
    standby.fault(&*format!("POST {login}"), Fault::redirect(&format!("{}{login}", leader.addr())));
    let path = "/v1/secret/data/app";
    standby.fault(path, Fault::redirect(&format!("{}{path}?version=1", leader.addr())));
    let run =
        as_role(&leader, &app).env("VAULT_ADDR", standby.addr()).env("VAULT_NAMESPACE", "team");
    let run = run.env("A", "vault:secret/data/app#k#1").option("--revoke=false");
    assert_eq!(run.value("A").as_deref(), Some("v"));
    let requests = leader.own().expect("own").requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].json(), json!({"role_id": app.role_id, "secret_id": app.secret_id}));
    assert!(requests[1].token().is_some());
    assert_eq!(requests[1].query, "version=1");
    assert!(requests.iter().all(|request| request.header("x-vault-namespace") == Some("team")));
}

#[test]
fn a_second_redirect_and_one_to_nowhere_are_refused() {
    let (vault, run) = ready();
    let path = "/v1/secret/data/app";
    for (fault, words) in [
        (Fault::redirect(path), "redirected more than once"),
        (Fault::redirect("ftp://127.0.0.1/x"), "a redirect to nowhere"),
        (Fault::answer(307, ""), "a redirect to nowhere"),
    ] {
        vault.clear_faults();
        vault.clear();
        vault.fault(path, fault);
        fails_at_once(&run, 76, &["A: ", words, &vault.addr()]);
        assert!(vault.requests().len() <= 2);
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let (plain, _) = ready();
    let secure = TestVault::builder().https().start();
    let path = "/v1/secret/data/app";
    secure.fault(path, Fault::redirect(&format!("{}{path}", plain.addr())));
    let run = reading(&secure).env("VAULT_CACERT", secure.tls().expect("https").ca());
    fails_at_once(&run, 76, &["A: ", "from https to http"]);
    assert_eq!(plain.connections(), 0, "the token was not sent in clear");
}

#[test]
fn a_redirect_in_clear_to_another_machine_is_refused() {
    let (vault, run) = ready();
    let path = "/v1/secret/data/app";
    vault.fault(path, Fault::redirect(&format!("http://192.0.2.2:8200{path}")));
    fails_at_once(&run, 76, &["A: ", "from this machine to another one", "in clear", "https://"]);
}

#[test]
fn a_login_page_gets_no_login() {
    let (vault, run) = ready();
    let page = TestVault::start();
    for location in ["/oauth2/start", "/oauth2/start?rd=%2Fv1%2Fauth%2Fapprole%2Flogin"] {
        vault.clear_faults();
        let location = format!("{}{location}", page.addr());
        vault.fault("POST /v1/auth/", Fault::answer(302, "").with_header("location", &location));
        let run = run.clone().without("VAULT_TOKEN").env("VAULT_ROLE_ID", "r");
        let run = run.env("VAULT_SECRET_ID", "s3cret-id");
        fails_at_once(&run, 76, &["a redirect to another path", &page.addr(), "login page"]);
        assert_eq!(page.connections(), 0);
    }
}

#[test]
fn no_redirect_is_followed_where_they_are_disabled() {
    let (vault, run) = ready();
    let (leader, _) = ready();
    let path = "/v1/secret/data/app";
    vault.fault(path, Fault::redirect(&format!("{}{path}", leader.addr())));
    for name in ["VAULT_DISABLE_REDIRECTS", "BAO_DISABLE_REDIRECTS"] {
        let run = run.clone().env(name, "true");
        fails_at_once(&run, 76, &["A: ", "a redirect, and VAULT_DISABLE_REDIRECTS is set"]);
    }
    assert_eq!(leader.connections(), 0);
}

/// A proxy that answers every request with this and hands on what it was asked.
pub(super) fn proxy(answer: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("bound").to_string();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let Ok(head) = head(&stream) else { continue };
            leaks::seen(
                &head.lines().filter(|line| !carries_a_credential(line)).collect::<String>(),
            );
            // A test that has ended listens no more; and a client may have gone.
            let _ = sender.send(head);
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (addr, receiver)
}

fn carries_a_credential(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    ["x-vault-token:", "proxy-authorization:"].iter().any(|name| header.starts_with(name))
}

fn head(stream: &TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    Ok(head)
}

pub(super) const SECRET: &str = "HTTP/1.1 200 OK\r\ncontent-length: 24\r\nconnection: \
                      close\r\n\r\n{\"data\":{\"k\":\"proxied\"}}";

#[test]
fn a_proxy_is_used_for_another_machine() {
    let (_vault, run) = ready();
    let run = run.env("VAULT_ADDR", "http://vault.test:8200").option("--kv-version=1");
    for (name, scheme) in [
        ("HTTP_PROXY", "http://"),
        ("http_proxy", ""),
        ("VAULT_PROXY_ADDR", "http://"),
        ("VAULT_HTTP_PROXY", "http://"),
        ("BAO_PROXY_ADDR", ""),
    ] {
        let (addr, asked) = proxy(SECRET);
        let run = run.clone().env(name, format!("{scheme}user:p4ssw0rd@{addr}"));
        let ended = run.clone().marker().end();
        assert!(ended.started() && !ended.stderr.contains("p4ssw0rd"), "{name}: {}", ended.stderr);
        let head = asked.recv().expect("it was asked");
        assert!(
            head.starts_with("GET http://vault.test:8200/v1/secret/data/app HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.to_ascii_lowercase().contains("proxy-authorization: basic "),
            "{name}: {head}"
        );
    }
    let (own, own_asked) = proxy(SECRET);
    let (other, other_asked) = proxy(SECRET);
    let run = run
        .env("VAULT_PROXY_ADDR", format!("http://{own}"))
        .env("HTTP_PROXY", format!("http://{other}"));
    assert_eq!(run.value("A").as_deref(), Some("proxied"));
    assert!(
        own_asked.recv().is_ok() && other_asked.try_recv().is_err(),
        "Vault's own proxy goes first"
    );
}

/// A run that needs a tunnel through this proxy.
fn through_tunnel(run: &Run, proxy: &str) -> Run {
    let run =
        run.clone().env("VAULT_ADDR", "https://vault.test:8200").env("VAULT_SKIP_VERIFY", "1");
    run.env("HTTPS_PROXY", format!("http://user:p4ssw0rd@{proxy}"))
        .env("HTTP_PROXY", "http://127.0.0.1:9")
}

/// A proxy answers like this also where the server cannot be reached yet, which it says in no way
/// that all of them share.
#[test]
fn a_proxy_that_makes_no_tunnel_is_asked_until_the_deadline() {
    let (_vault, run) = ready();
    for status in ["403 Forbidden", "502 Bad Gateway", "503 Service Unavailable"] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let (addr, asked) = proxy(answer.leak());
        let ended = fails_at_the_deadline(
            &through_tunnel(&run, &addr),
            &["vault.test:8200", "makes no tunnel", "CONNECT", "HTTPS_PROXY", " tries in "],
        );
        assert!(!ended.stderr.contains("p4ssw0rd"), "{}", ended.stderr);
        let head = asked.recv().expect("it was asked");
        assert!(head.starts_with("CONNECT vault.test:8200 HTTP/1.1\r\n"), "{head}");
    }
}

#[test]
fn a_proxy_that_wants_other_credentials_is_asked_once() {
    const ANSWER: &str = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: \
                          6\r\nconnection: close\r\n\r\n<html>";
    let (_vault, run) = ready();
    let (addr, asked) = proxy(ANSWER);
    let plain = run
        .clone()
        .env("VAULT_ADDR", "http://vault.test:8200")
        .env("HTTP_PROXY", format!("http://{addr}"));
    for run in [through_tunnel(&run, &addr), plain] {
        let words = ["wants credentials, or others", "user:password@", "_PROXY", "1 try in "];
        let ended = fails_at_once(&run, 69, &words);
        assert!(!ended.stderr.contains("p4ssw0rd"), "{}", ended.stderr);
        assert!(asked.recv().is_ok() && asked.try_recv().is_err());
    }
}

#[test]
fn a_proxy_is_never_used_for_this_machine() {
    let (vault, run) = ready();
    let dead = format!("http://127.0.0.1:{}", closed_port());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY"] {
        assert_eq!(run.clone().env(name, &dead).value("A").as_deref(), Some("v"), "{name}");
        let localhost = vault.addr().replace("127.0.0.1", "localhost");
        assert_eq!(
            run.clone().env(name, &dead).env("VAULT_ADDR", localhost).value("A").as_deref(),
            Some("v"),
            "{name}"
        );
    }
}

#[test]
fn an_exception_from_the_proxy_is_heeded() {
    let (_vault, run) = ready();
    let run = run.env("VAULT_ADDR", "http://vault.test").env("VAULT_EXEC_TIMEOUT", "500ms");
    for exception in ["vault.test", ".test", "other, vault.test", "*"] {
        let (addr, asked) = proxy(SECRET);
        let run =
            run.clone().env("HTTP_PROXY", format!("http://{addr}")).env("NO_PROXY", exception);
        run.fails(69, &["vault.test"]);
        assert!(asked.try_recv().is_err(), "{exception}");
    }
}

#[test]
fn a_proxy_that_is_none_is_named_and_not_shown() {
    let (_vault, run) = ready();
    let run = run.env("VAULT_ADDR", "http://vault.test");
    for name in ["HTTP_PROXY", "VAULT_PROXY_ADDR", "BAO_HTTP_PROXY"] {
        for (wrong, words) in [
            ("socks5://user:p4ssw0rd@proxy:1080", "a SOCKS proxy, which is not supported"),
            ("http://user:p4ssw0rd@:x", "not the URL of a proxy"),
        ] {
            let ended = run.clone().env(name, wrong).fails(78, &[name, words]);
            assert!(!ended.stderr.contains("p4ssw0rd"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_proxy_that_does_not_answer_is_named_without_its_password() {
    let (_vault, run) = ready();
    let proxy = format!("127.0.0.1:{}", closed_port());
    let run = run
        .env("VAULT_ADDR", "http://vault.test")
        .env("HTTP_PROXY", format!("http://user:p4ssw0rd@{proxy}"));
    let ended = run.fails(69, &["vault.test", "proxy", "HTTP_PROXY"]);
    assert!(!ended.stderr.contains("p4ssw0rd"), "{}", ended.stderr);
}
