//! What is said of what stands between us and Vault: whose fault it is, and what to do about it.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use test_vault::{Fault, TestVault};

use super::network::proxy;
use crate::support::application::reading_one;
use crate::support::{Ended, Run, all_at_once, run};

/// A server that says this to whoever connects, and then nothing more.
fn saying(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        let mut streams = Vec::new();
        for mut stream in listener.incoming().flatten() {
            // Whoever connects may have gone.
            let _ = stream.write_all(bytes);
            streams.push(stream);
        }
    });
    addr
}

fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

fn asking(address: &str) -> Run {
    let run = run().marker().env("VAULT_ADDR", address).env("VAULT_TOKEN", "s3cret-token");
    run.env("A", "vault:secret/data/app#k").option("--timeout=700ms")
}

#[track_caller]
fn says(ended: &Ended, words: &[&str], not: &[&str]) {
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    for word in not {
        assert!(!ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
    }
}

/// What blames Vault or its address.
const BLAME: [&str; 4] =
    ["is Vault running", "name of the server in VAULT_ADDR", "VAULT_CLIENT_CERT", "VAULT_CACERT"];

#[test]
fn a_proxy_that_fails_is_named_and_vault_is_not_blamed() {
    const WANTS: &str = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\
                           connection: close\r\n\r\n";
    const REFUSES: &str =
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let ((wants, _wanting), (refuses, _refusing)) = (proxy(WANTS), proxy(REFUSES));
    let plain = saying(REFUSES.as_bytes());
    let closed = closed();
    let rows: [(&str, String, &[&str]); 5] = [
        (
            "http",
            format!("http://{closed}"),
            &["was not reached: Connection refused", "does it run"],
        ),
        ("http", "http://proxy.invalid:3128".to_owned(), &["was not reached: "]),
        ("http", format!("https://{plain}"), &["speaks no TLS", "use http:// in "]),
        ("http", format!("HTTP://u:p4ssw0rd@{wants}"), &["wants credentials", "user:password@"]),
        ("https", format!("http://{refuses}"), &["makes no tunnel to the server", "CONNECT"]),
    ];
    all_at_once(rows, |(kind, url, words)| {
        for scheme in [kind, "https"] {
            for name in [format!("{}_PROXY", scheme.to_uppercase()), "VAULT_PROXY_ADDR".to_owned()]
            {
                let run = asking(&format!("{scheme}://vault.test:8200"));
                let ended = run.env("VAULT_SKIP_VERIFY", "1").env(&name, &url).end();
                assert_eq!(ended.code, Some(69), "{}", ended.stderr);
                let (_, address) = url.split_once("://").expect("a URL");
                let address = address.rsplit('@').next().unwrap_or_default();
                let named = format!("{address} ({name})");
                says(&ended, &["the proxy http", &named], &BLAME);
                says(&ended, words, &["p4ssw0rd"]);
            }
        }
    });
}

#[test]
fn a_proxy_in_between_is_named_behind_the_hint() {
    let (html, _asked) =
        proxy("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let run = asking("http://vault.test:8200").env("HTTP_PROXY", format!("http://{html}"));
    let named = format!("; a proxy is in between: http://{html} (HTTP_PROXY)");
    run.fails(69, &["status 502", &named]);
}

/// The record of a fatal alert (RFC 8446, 5.1 and 6).
macro_rules! alert {
    ($code:literal) => {
        &[21, 3, 3, 0, 2, 2, $code]
    };
}

#[test]
fn each_alert_has_its_own_words() {
    let rows: [(&'static [u8], &[&str]); 5] = [
        (alert!(112), &["no certificate for this name", "set VAULT_TLS_SERVER_NAME"]),
        (alert!(70), &["no common TLS version or cipher"]),
        (alert!(120), &["neither HTTP/2 nor HTTP/1.1"]),
        (alert!(116), &["wants a client certificate", "VAULT_CLIENT_KEY"]),
        (alert!(80), &["failed in the handshake"]),
    ];
    all_at_once(rows, |(alert, words)| {
        let run = asking(&format!("https://{}", saying(alert))).env("VAULT_SKIP_VERIFY", "1");
        let ended = run.end();
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        says(&ended, words, &[]);
    });
}

#[test]
fn the_warning_of_a_retry_has_the_address() {
    let address = format!("http://{}", closed());
    let warning = format!("Connection refused (os error 111) ({address}); trying again for ");
    asking(&address).fails(69, &[&warning]);
}

#[test]
fn an_address_without_a_port_is_told_which_one_was_tried() {
    // Nothing listens there: this machine's own addresses are all of 127.0.0.0/8.
    for (address, port) in [("http://127.255.0.1", "port 80"), ("https://127.255.0.1", "port 443")]
    {
        let run = asking(address).env("VAULT_SKIP_VERIFY", "1");
        run.fails(69, &["refused", port, "Vault's own is 8200"]);
    }
    let ended = asking(&format!("http://{}", closed())).end();
    says(&ended, &["refused"], &["8200"]);
}

#[test]
fn an_ingress_that_hides_sys_leaves_paths_as_they_are_written() {
    let vault = TestVault::start();
    let hidden = || Fault::answer(403, "<html>403 Forbidden</html>");
    vault.fault("/v1/sys/", hidden());
    let run = reading_one(&vault).option("--revoke=false");
    // What is at the path as it is written: nothing, for KV v2 has it below data/.
    let ended = run.clone().env("A", "vault:secret/app#k").end();
    assert_eq!(ended.code, Some(66), "{}", ended.stderr);
    says(&ended, &["A: secret/app", "data/"], &["is not Vault"]);
    assert_eq!(run.env("A", "vault:secret/data/app#k").value("A").as_deref(), Some("v"));
}
