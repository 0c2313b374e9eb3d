//! What the tests of auth methods with a metadata server need: what it was asked, how it fails, and
//! what is reported then.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use test_vault::{Fault, LatePort, LocalServer, Recorded};

use crate::support::auth_mount::WayIn;
use crate::support::{Ended, Run, all_at_once};

/// Asserts that a request had this line and this header, and nothing that such a server must not
/// get.
#[track_caller]
pub(crate) fn assert_asked(request: &Recorded, line: &str, (name, value): (&str, &str)) {
    assert_eq!((request.line().as_str(), request.header(name)), (line, Some(value)));
    let mut names: Vec<&str> = request.headers.keys().map(AsRef::as_ref).collect();
    names.retain(|other| !["accept", "host", "user-agent", name].contains(other));
    assert_eq!(names, Vec::<&str>::new());
    assert!(request.body.is_empty());
}

/// Returns faults that go away after a few times.
pub(crate) fn passing() -> Vec<Fault> {
    vec![
        Fault::answer(429, "").with_header("retry-after", "0"),
        Fault::answer(500, "{}"),
        Fault::answer(503, "<html></html>").with_header("content-type", "text/html"),
        Fault::Close,
        Fault::Reset,
        Fault::Truncate,
    ]
}

/// Asserts that nothing was obtained from the metadata server: within the deadline the run reports
/// what was asked, where and how often, and Vault gets no request.
#[track_caller]
pub(crate) fn assert_not_reached(way: &WayIn<'_>, run: &Run, parts: &[&str]) {
    let vault = way.target.own().expect("a server of our own");
    vault.clear();
    let began = Instant::now();
    let ended = run.clone().env("VAULT_EXEC_TIMEOUT", "2s").fails(69, parts);
    // The default deadline is a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}: {}", began.elapsed(), ended.stderr);
    assert!(
        ended.stderr.contains("1 try in") || ended.stderr.contains(" tries in"),
        "{}",
        ended.stderr
    );
    assert_eq!(vault.connections(), 0);
}

/// Asserts that the metadata server's answer ends the start with this code, without another try and
/// without a request to Vault.
#[track_caller]
pub(crate) fn assert_final(
    way: &WayIn<'_>,
    run: &Run,
    server: &LocalServer,
    code: i32,
    parts: &[&str],
) -> Ended {
    let vault = way.target.own().expect("a server of our own");
    vault.clear();
    let before = server.requests().len();
    let ended = run.fails(code, parts);
    let lines = server.lines().split_off(before);
    let mut different = lines.clone();
    different.dedup();
    assert_eq!(lines, different, "it was asked again");
    assert_eq!(vault.connections(), 0);
    ended
}

/// Asserts that neither the claims nor the signature of a JWT are shown at the highest log level.
#[track_caller]
pub(crate) fn assert_says_nothing_of_jwt(run: &Run, jwt: &str) {
    let ended = run.clone().option("--log-level=trace").marker().end();
    let said = format!("{}{}", ended.text(), ended.stderr);
    assert!(ended.stderr.contains("auth method"), "{said}");
    for part in jwt.split('.').skip(1) {
        let (first, second) = part.split_at(part.len() / 2);
        assert!(second.len() > 5 && !said.contains(first) && !said.contains(second), "{said}");
    }
}

/// Begins a start before its metadata server is there; the run is given the server's host and port.
#[track_caller]
pub(crate) fn starts_before(server: &str, run: impl FnOnce(&str) -> Run) {
    let port = LatePort::new();
    let mut child = run(&port.host()).option("--log-level=warn").marker().spawn();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.contains("trying again"), "{line}");
    port.open(server);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert!(ended.code == Some(0) && ended.started(), "{ended:?}");
}

/// Asserts that no proxy is asked for a metadata server that is elsewhere and does not answer, even
/// if every variable that names a proxy is set.
#[track_caller]
pub(crate) fn assert_asks_no_proxy(way: &WayIn<'_>, run: &Run, host: &str) {
    let proxy = LocalServer::start(|_| (502, Vec::new(), Vec::new()));
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "VAULT_PROXY_ADDR",
        "VAULT_HTTP_PROXY",
    ];
    all_at_once(names, |name| {
        assert_not_reached(way, &run.clone().env(name, proxy.addr()), &[host]);
    });
    assert_eq!(proxy.lines(), Vec::<String>::new());
}
