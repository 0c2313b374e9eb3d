//! Where Vault is: sockets of an Agent or a Proxy, path prefixes, IPv6; and a start that has no
//! login of its own there.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use test_vault::{Fault, RealVault, Target, TestVault, json};

use crate::docs::pages::TEXT;
use crate::proof::memory::assert_clean;
use crate::support::application::{AppRole, as_role, reading, reading_one, role, with_app};
use crate::support::launch::{
    FETCHED, Ordinary, Served, as_root, before_exec, eventually, not_run, works,
};
use crate::support::{Ended, Run, directory, run};

/// A Vault on the socket `name` of a directory.
fn on_socket(directory: &Path, name: &str) -> Served {
    Served::by(TestVault::builder().socket(directory.join(name)))
}

#[track_caller]
fn fetches(run: &Run) {
    assert_eq!(run.value("PASSWORD").as_deref(), Some(FETCHED));
}

fn paths(vault: &TestVault) -> Vec<String> {
    vault.requests().into_iter().map(|request| request.path).collect()
}

/// A run that is to fail soon.
fn impatient(run: Run, addr: &str) -> Run {
    run.env("VAULT_ADDR", addr).env("VAULT_EXEC_TIMEOUT", "300ms")
}

#[test]
fn a_start_goes_over_a_socket_whatever_it_logs_in_with() {
    let directory = directory();
    let served = on_socket(directory.path(), "agent.sock");
    for run in [served.with_token(), served.with_approle(), served.with_wrapped().0] {
        fetches(&run);
    }
    let revocations =
        paths(&served.vault).iter().filter(|path| path.ends_with("/revoke-self")).count();
    assert_eq!(revocations, 2);
}

#[test]
fn many_secrets_are_read_over_a_socket_at_once() {
    let directory = directory();
    let served = on_socket(directory.path(), "agent.sock");
    let mut run = served.with_approle();
    for number in 0..30 {
        served.vault.operator().kv_put(
            "secret",
            2,
            &format!("s{number}"),
            json!({ "n": number.to_string() }),
        );
        run = run.env(format!("S{number}"), format!("vault:secret/s{number}#n"));
    }
    let environment = run.environment();
    assert!((0..30).all(|number| environment[&format!("S{number}")] == number.to_string()));
    assert!((2..=10).contains(&served.vault.connections()), "{}", served.vault.connections());
}

#[test]
fn every_request_says_that_it_is_one_to_vault() {
    let directory = directory();
    for served in [Served::http(), Served::https(), on_socket(directory.path(), "agent.sock")] {
        let operator = served.vault.operator();
        operator.enable_transit("transit");
        operator.transit_key("transit", "k");
        operator.policy("app", "path \"*\" { capabilities = [\"read\", \"update\"] }");
        let run = served.with_wrapped().0.env("VAULT_TRANSIT_KEY_ID", "k");
        let run = run
            .env("C", operator.encrypt("transit", "k", "x"))
            .env("W", ">>vault:transit/random/3#random_bytes");
        served.vault.clear();
        run.end();
        served.with_token().option("--check").end();
        let paths = paths(&served.vault);
        for kind in [
            "/login",
            "/mounts",
            "/data/app",
            "/random/3",
            "/decrypt/k",
            "/lookup",
            "/unwrap",
            "/revoke-self",
        ] {
            assert!(paths.iter().any(|path| path.ends_with(kind)), "{kind}: {paths:?}");
        }
        assert!(paths.iter().any(|path| path.ends_with("/lookup-self")), "{paths:?}");
        for request in served.vault.requests() {
            assert_eq!(request.header("x-vault-request"), Some("true"), "{}", request.line());
        }
    }
}

#[test]
fn over_a_socket_the_host_is_localhost() {
    let directory = directory();
    let served = on_socket(directory.path(), "agent.sock");
    fetches(&served.with_approle());
    for request in served.vault.requests() {
        assert_eq!(request.header("host"), Some("localhost"));
    }
}

#[test]
fn a_socket_and_a_loopback_address_are_never_reached_through_a_proxy() {
    let directory = directory();
    let mut all = vec![Served::http(), on_socket(directory.path(), "agent.sock")];
    all.extend(
        ipv6("a_socket_and_a_loopback_address_are_never_reached_through_a_proxy").map(Served::by),
    );
    for served in all {
        let mut run = served.with_token();
        for name in
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        {
            run = run.env(name, "http://127.0.0.1:1");
        }
        fetches(&run);
        fetches(&run.env("VAULT_PROXY_ADDR", "http://127.0.0.1:1"));
    }
}

#[test]
fn the_option_goes_before_the_agents_address_and_that_before_the_servers() {
    let directory = directory();
    let (http, socket) = (Served::http(), on_socket(directory.path(), "agent.sock"));
    let nowhere = ["http://127.0.0.1:1", "unix:///nowhere"];
    for served in [&http, &socket] {
        let (addr, run) =
            (served.vault.addr(), served.with_token().env("VAULT_EXEC_TIMEOUT", "5s"));
        for nowhere in nowhere {
            fetches(&run.clone().env("VAULT_AGENT_ADDR", &addr).env("VAULT_ADDR", nowhere));
            fetches(&run.clone().env("BAO_AGENT_ADDR", &addr).env("VAULT_ADDR", nowhere));
            fetches(&run.clone().env("BAO_ADDR", &addr).env("VAULT_ADDR", nowhere));
            let all = run.clone().env("VAULT_AGENT_ADDR", nowhere).env("VAULT_ADDR", nowhere);
            fetches(&all.option("--addr").option(&addr));
        }
    }
}

#[test]
fn a_socket_that_nobody_serves_is_named_with_what_to_do() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("file"), "").expect("a file");
    drop(UnixListener::bind(path("left.sock")).expect("a socket"));
    fs::create_dir(path("directory")).expect("a directory");
    for (name, hint) in [
        ("none.sock", "mounted here"),
        ("file/none.sock", "Agent or Proxy"),
        ("file", "is this its socket"),
        ("directory", "is this its socket"),
        ("left.sock", "is this its socket"),
    ] {
        let addr = format!("unix://{}", path(name));
        let run = impatient(
            run().env("VAULT_TOKEN", "s.nobody-has-it").env("A", "vault:secret/data/app#k"),
            &addr,
        );
        let shown = if name.contains('/') { "not look like a path" } else { &addr };
        let ended = run.fails(69, &[shown, "Agent or Proxy running", hint]);
        for word in ["DNS", "the name of the server", "has no address"] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_socket_that_the_user_may_not_write_to_is_named_with_what_to_do() {
    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its owner");
    let served = on_socket(directory.path(), "agent.sock");
    let socket = directory.path().join("agent.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o400)).expect("its owner");
    let run = impatient(served.with_token(), &served.vault.addr()).marker();
    let ended = Ended::of(Ordinary::new().build(&run).output().expect("it runs"));
    assert_eq!((ended.code, ended.started()), (Some(69), false), "{}", ended.stderr);
    for part in
        [served.vault.addr().as_str(), "Permission denied", "must be able to write to the socket"]
    {
        assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
    }
}

#[test]
fn a_socket_that_comes_late_is_waited_for() {
    let directory = directory();
    let first = on_socket(directory.path(), "first.sock");
    let late = directory.path().join("late.sock");
    let run = first
        .with_token()
        .env("VAULT_ADDR", format!("unix://{}", late.display()))
        .shell("echo $PASSWORD");
    let mut child = run
        .option("--log-level=warn")
        .build()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = [0; 1];
    child
        .stderr
        .as_mut()
        .expect("piped")
        .read_exact(&mut said)
        .expect("it says that it tries again");
    std::os::unix::fs::symlink(directory.path().join("first.sock"), &late).expect("a link");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.text()), (Some(0), format!("{FETCHED}\n")), "{}", ended.stderr);
}

#[test]
fn the_path_of_a_socket_is_taken_as_it_stands() {
    let directory = directory();
    for name in ["with space", "grün-日本", "a%20b%2F", "a?b#c", "[::1]"] {
        fetches(&on_socket(directory.path(), name).with_approle());
    }
    let served = on_socket(directory.path(), "upper");
    fetches(&served.with_token().env("VAULT_ADDR", served.vault.addr().replace("unix", "UNIX")));
}

#[test]
fn the_path_of_a_socket_has_at_most_107_bytes() {
    let directory = directory();
    let front = directory.path().join("").display().to_string();
    let served = on_socket(directory.path(), &"x".repeat(107 - front.len()));
    fetches(&served.with_token());
    let longer = format!("{}y", served.vault.addr());
    let parts = ["VAULT_ADDR", "108 bytes", "shorter path"];
    served.with_token().env("VAULT_ADDR", &longer).fails(78, &parts);
}

#[test]
fn a_redirect_from_a_socket_leads_nowhere() {
    let directory = directory();
    let served = on_socket(directory.path(), "agent.sock");
    for location in
        ["http://localhost/v1/secret/data/app", "/v1/secret/data/app", "https://vault.invalid/"]
    {
        served.vault.fault_times(1, "/v1/secret/", Fault::redirect(location));
        let ended =
            served.with_token().fails(76, &[&served.vault.addr(), "a redirect", "active node"]);
        assert!(!ended.stderr.contains("invalid"), "{}", ended.stderr);
    }
}

#[test]
fn settings_of_tls_beside_a_socket_do_no_harm() {
    let (directory, https) = (directory(), Served::https());
    let served = on_socket(directory.path(), "agent.sock");
    let ca = https.vault.tls().expect("https").ca();
    let run = served
        .with_approle()
        .env("VAULT_CACERT", ca)
        .env("VAULT_TLS_SERVER_NAME", "vault.example.com");
    fetches(&run);
    let ended = run.env("SSL_CERT_FILE", "/nowhere").without("VAULT_CACERT").marker().end();
    assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn an_application_that_asks_for_the_token_gets_the_address_as_it_is() {
    let directory = directory();
    let served = on_socket(directory.path(), "an agent%20.sock");
    let environment = served.with_approle().env("VAULT_TOKEN", "vault:login").environment();
    assert_eq!(environment["VAULT_ADDR"], served.vault.addr());
    assert!(environment.contains_key("VAULT_TOKEN"));
}

#[test]
fn nothing_of_a_start_over_a_socket_is_left() {
    as_root("wire::addresses::nothing_of_a_start_over_a_socket_is_left", || {
        let directory = directory();
        let served = on_socket(directory.path(), "agent.sock");
        for run in [served.with_token(), served.with_approle(), served.with_wrapped().0] {
            assert_clean(&served, &run);
        }
    });
}

#[test]
fn a_path_in_front_of_the_api_is_kept_and_named() {
    for builder in
        [TestVault::builder().prefix("/vault"), TestVault::builder().https().prefix("/a/vault")]
    {
        let served = Served::by(builder);
        let prefix = if served.vault.scheme() == "https" { "/a/vault/v1/" } else { "/vault/v1/" };
        for slash in ["", "/"] {
            fetches(
                &served.with_approle().env("VAULT_ADDR", format!("{}{slash}", served.vault.addr())),
            );
        }
        let check = served.with_approle().option("--check").end();
        assert!(
            check.text().contains("PASSWORD: secret/app#password, version 1\n"),
            "{}",
            check.stderr
        );
        assert!(
            paths(&served.vault).iter().all(|path| path.starts_with(prefix)),
            "{:?}",
            paths(&served.vault)
        );
        let addr = served.vault.addr();
        for option in ["--log-level=warn", "--check"] {
            let run = served.with_token().env("B", "vault:auth/other#x").option(option);
            run.fails(77, &["B: ", &format!("({addr})")]);
        }
        let elsewhere = addr.trim_end_matches("/vault");
        served
            .with_approle()
            .env("VAULT_ADDR", elsewhere)
            .env("VAULT_EXEC_TIMEOUT", "2s")
            .fails(77, &[elsewhere]);
    }
}

/// A server on `[::1]`, where this machine has that.
fn ipv6(name: &str) -> Option<test_vault::Builder> {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => Some(TestVault::builder().ipv6()),
        Err(error) => {
            not_run(&format!("addresses::{name}"), error);
            None
        }
    }
}

#[test]
fn an_ipv6_address_is_an_address_and_messages_name_it() {
    let Some(builder) = ipv6("an_ipv6_address_is_an_address_and_messages_name_it") else { return };
    for builder in [builder.clone(), builder.https()] {
        let served = Served::by(builder);
        let addr = served.vault.addr();
        assert!(addr.contains("://[::1]:"), "{addr}");
        let run = served.with_approle().env("VAULT_TLS_SERVER_NAME", "localhost");
        fetches(&run);
        run.clone().env("PASSWORD", "vault:auth/other#x").fails(77, &[&format!("({addr})")]);
        drop(served);
        impatient(run.without("VAULT_CACERT").env("VAULT_SKIP_VERIFY", "1"), &addr)
            .fails(69, &[&addr, "refused"]);
    }
}

#[test]
fn what_is_no_address_says_what_is_wrong_with_it() {
    for (addr, part) in [
        ("http://[fe80::1%eth0]:8200", "zone id"),
        ("https://[fe80::1%25eth0]", "zone id"),
        ("http://[::1", "not a URL"),
        ("vault:8200", "neither http://, https:// nor unix://"),
        ("127.0.0.1:8200", "neither http://, https:// nor unix://"),
        ("[::1]:8200", "neither http://, https:// nor unix://"),
        ("localhost", "neither http://, https:// nor unix://"),
        ("http:/vault", "neither http://, https:// nor unix://"),
        ("unix:/run/agent.sock", "neither http://, https:// nor unix://"),
        ("unix://run/agent.sock", "absolute path of a socket"),
        ("unix:///run/", "absolute path of a socket"),
        ("unix://", "absolute path of a socket"),
        ("http://a b:8200", "not a URL"),
        ("https://bücher.example:8200", "not in ASCII"),
    ] {
        let run = run()
            .env("VAULT_TOKEN", "s.nobody-has-it")
            .env("A", "vault:a#b")
            .env("VAULT_ADDR", addr);
        run.fails(78, &["VAULT_ADDR: ", part]);
    }
}

#[test]
fn case_white_space_around_an_address_and_a_dot_at_its_end_do_not_matter() {
    let vault = TestVault::start();
    let run = reading_one(&vault);
    let port = vault.socket_addr().port();
    for addr in [
        vault.addr().replace("http", "HTTP"),
        format!(" {}\n", vault.addr()),
        format!("http://127.0.0.1.:{port}"),
    ] {
        assert_eq!(run.clone().env("VAULT_ADDR", &addr).value("A").as_deref(), Some("v"), "{addr}");
    }
}

/// A Vault on a socket that adds a token to requests without one, and a run without credentials.
fn behind_proxy(directory: &Path) -> (Served, Run) {
    let served = on_socket(directory, "proxy.sock");
    served.vault.add_token(&served.token);
    let run = served.at().env("VAULT_AUTH_METHOD", "none");
    (served, run)
}

#[test]
fn behind_a_proxy_with_a_token_of_its_own_no_login_is_needed() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    fetches(&run);
    fetches(&run.option("--revoke=false"));
    let requests = served.vault.requests();
    assert!(requests.len() >= 2 && requests.iter().all(|request| request.token().is_none()));
    for path in paths(&served.vault) {
        assert!(!path.contains("/auth/") && !path.contains("revoke"), "{path}");
    }
}

#[test]
fn a_token_that_is_not_needed_is_not_sent() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    fetches(&run.env("VAULT_TOKEN", &served.token).env("VAULT_SECRET_ID", &served.role.secret_id));
    assert!(served.vault.requests().iter().all(|request| request.token().is_none()));
}

#[test]
fn a_start_without_a_login_has_to_be_asked_for() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    run.without("VAULT_AUTH_METHOD").fails(78, &["no credentials", "none"]);
    assert!(served.vault.lines().is_empty());
}

#[test]
fn without_a_login_there_is_no_token_to_hand_on_or_to_revoke() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    run.clone().env("VAULT_TOKEN", "vault:login").fails(78, &["vault:login", "none"]);
    run.clone().env("BAO_TOKEN", "bao:login").option("--check").fails(78, &["vault:login", "none"]);
    run.option("--revoke=true").fails(78, &["--revoke", "none"]);
    assert!(served.vault.lines().is_empty());
}

#[test]
fn a_check_says_that_there_is_no_login() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    let ended = run.option("--check").end();
    assert!(
        ended.text().contains("PASSWORD: secret/app#password, version 1\n"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("warn: there is no login"), "{}", ended.stderr);
    assert!(paths(&served.vault).iter().all(|path| !path.contains("/auth/")));
}

#[test]
fn a_lease_that_others_may_have_too_stays_after_a_check() {
    let directory = directory();
    let (served, run) = behind_proxy(directory.path());
    let operator = served.vault.operator();
    operator.enable_database("database", "app", json!({ "default_ttl": "1h" }), None);
    operator.policy("app", "path \"*\" { capabilities = [\"read\", \"update\"] }");
    let run = run.env("DB", "vault:database/creds/app#username");
    let ended = run.option("--check").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stays for 3600 s"), "{}", ended.stderr);
    assert_eq!(operator.leases("database/creds/app").len(), 1);
}

#[test]
fn a_refusal_without_a_login_speaks_of_the_proxys_token() {
    let directory = directory();
    let served = on_socket(directory.path(), "proxy.sock");
    let run = served.at().env("VAULT_AUTH_METHOD", "none");
    let hint = "use_auto_auth_token";
    run.fails(77, &["permission denied", hint]);
    served.vault.add_token(&served.token);
    run.clone().env("PASSWORD", "vault:auth/other#x").fails(77, &["permission denied", hint]);
    served.vault.add_token("s.of-somebody-else");
    run.fails(77, &["permission denied", hint]);
}

/// A real Agent or Proxy in front of the real server, which ends with the test.
struct Sidecar {
    child: Child,
    directory: tempfile::TempDir,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sidecar {
    fn start(kind: &str, target: &Target, role: &AppRole) -> Sidecar {
        let directory = directory();
        let file = |name: &str| directory.path().join(name).display().to_string();
        fs::write(file("role-id"), &role.role_id).expect("a file");
        fs::write(file("secret-id"), role.new_secret_id(json!({}))).expect("a file");
        fs::write(file("config.hcl"), config(target, role, file)).expect("a file");
        let mut command = Command::new("bao");
        command
            .args([kind, "-config", &file("config.hcl")])
            .env_remove("VAULT_TOKEN")
            .env("HOME", directory.path());
        before_exec(&mut command, || set_pdeathsig(Signal::SIGKILL));
        let log = fs::File::create(file("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let sidecar = Sidecar { child: command.spawn().expect("bao runs"), directory };
        eventually("its own login", || sidecar.has_token().then_some(()));
        sidecar
    }

    fn addr(&self) -> String {
        format!("unix://{}", self.directory.path().join("it.sock").display())
    }

    fn ask(&self, headers: &str) -> String {
        let mut answer = String::new();
        let Ok(mut stream) = UnixStream::connect(self.directory.path().join("it.sock")) else {
            return answer;
        };
        let path = "/v1/auth/token/lookup-self";
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        )
        .expect("it reads");
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn has_token(&self) -> bool {
        self.ask("X-Vault-Request: true\r\n").starts_with("HTTP/1.1 200 ")
    }
}

/// The documentation's, with what is different here.
fn config(target: &Target, role: &AppRole, file: impl Fn(&str) -> String) -> String {
    let text = TEXT
        .split("```hcl agent.hcl\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a block");
    let method = "method \"approle\" {";
    let here = [
        ("https://vault.example.com:8200", target.addr()),
        ("/run/vault/agent.sock", file("it.sock")),
        ("/vault/role-id", file("role-id")),
        ("/vault/secret-id", file("secret-id")),
        (method, format!("{method}\nmount_path = \"auth/{}\"", role.mount)),
    ];
    here.iter().fold(text.to_owned(), |text, (readme, here)| {
        assert!(text.contains(readme), "no {readme}");
        text.replace(readme, here)
    })
}

/// The real server, and `bao` for an Agent or a Proxy in front of it.
fn real(name: &str) -> Option<Target> {
    let has_bao = works(Command::new("bao").arg("version"));
    let target = RealVault::http().filter(|_| has_bao).map(Target::from);
    if target.is_none() {
        not_run(
            &format!("addresses::{name}"),
            "no bao on the PATH, so neither its Agent nor its Proxy",
        );
    }
    target
}

#[test]
fn a_real_agent_and_a_real_proxy_let_a_start_through_with_a_login_and_without() {
    let name = "a_real_agent_and_a_real_proxy_let_a_start_through_with_a_login_and_without";
    let Some(target) = real(name) else { return };
    let mount = with_app(&target);
    let role = role(&target, &reading(&mount), json!({ "token_ttl": "5m" }));
    for kind in ["agent", "proxy"] {
        let sidecar = Sidecar::start(kind, &target, &role);
        assert!(sidecar.ask("").starts_with("HTTP/1.1 412 "), "{kind} wants the header");
        let at = |run: Run| {
            run.env("VAULT_ADDR", sidecar.addr()).env("A", format!("vault:{mount}/app#user"))
        };
        let without = at(run()).env("VAULT_AUTH_METHOD", "none");
        for run in [at(as_role(&target, &role)), without.clone(), without.clone()] {
            assert_eq!(run.value("A").as_deref(), Some("ada"), "{kind}");
        }
        let ended = without.clone().option("--check").end();
        assert_eq!(
            ended.text().lines().next(),
            Some(format!("A: {mount}/app#user, version 1").as_str())
        );
        assert!(sidecar.has_token(), "{kind} still has its token");
        without
            .env("A", "vault:auth/other#x")
            .fails(77, &["permission denied", "use_auto_auth_token"]);
    }
}

#[test]
fn the_version_of_the_api_at_the_end_of_an_address_is_dropped() {
    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "app", json!({ "user": "ada" }));
    let run = run().env("VAULT_TOKEN", vault.root_token()).env("A", "vault:secret/app#user");
    for end in ["/v1", "/v1/"] {
        let run = run.clone().env("VAULT_ADDR", format!("{}{end}", vault.addr()));
        assert_eq!(run.value("A").as_deref(), Some("ada"), "{end}");
    }
}

#[test]
fn an_address_is_named_as_it_was_set() {
    let wanted =
        run().env("VAULT_TOKEN", "t").env("A", "vault:a/b#c").env("VAULT_MAX_RETRIES", "0");
    for name in ["VAULT_ADDR", "BAO_ADDR", "VAULT_AGENT_ADDR", "BAO_AGENT_ADDR", "VAULT_SERVER_URL"]
    {
        wanted.clone().env(name, "vault:8200").fails(78, &[&format!("{name}: ")]);
        let closed = wanted.clone().env(name, "http://127.0.0.1:9");
        closed.fails(69, &[&format!("is {name} its address"), "http://127.0.0.1:9"]);
    }
    wanted.clone().option("--addr=vault:8200").fails(78, &["--addr: "]);
    let closed = wanted.clone().env("VAULT_ADDR", "http://h:1").option("--addr=http://127.0.0.1:9");
    closed.fails(69, &["is --addr its address"]);
}

#[test]
fn an_address_without_a_port_says_which_one_was_tried() {
    let wanted = |address| {
        let run = run().env("VAULT_TOKEN", "t").env("A", "vault:a/b#c").env("VAULT_ADDR", address);
        run.env("VAULT_MAX_RETRIES", "0").fails(69, &["Connection refused"]).stderr
    };
    assert!(wanted("http://127.0.0.2").contains("port 80 was tried, and Vault's is 8200"));
    assert!(!wanted("http://127.0.0.2:9").contains("8200"));
}
