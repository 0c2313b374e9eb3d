//! The deadline and the repetitions, sentence by sentence as they are promised.

use std::time::{Duration, Instant};

use test_vault::{Fault, Gate, Shut, TestVault, json};

use crate::support::launch::Served;
use crate::support::{Ended, Run, all_at_once, with_enough_time};

const LOGIN: &str = "POST /v1/auth/approle/login";
const READ: &str = "GET /v1/secret/";

fn timed(run: &Run) -> (Ended, Duration) {
    let began = Instant::now();
    let ended = run.clone().marker().end();
    (ended, began.elapsed())
}

fn count(vault: &TestVault, line: &str) -> usize {
    vault.lines().iter().filter(|each| each.starts_with(line)).count()
}

/// What never ends takes longer than this.
const SLACK: Duration = Duration::from_mins(1);

#[test]
fn every_request_carries_the_time_that_is_left() {
    let served = Served::http();
    served.vault.fault(LOGIN, Fault::Delay(Duration::from_millis(1500)));
    served.vault.fault(READ, Fault::Drip(Duration::from_secs(1)));
    let (ended, took) = timed(&served.with_approle().option("--timeout=3s"));
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains(" in time"), "{}", ended.stderr);
    assert!(took >= Duration::from_secs(3) && took < SLACK, "{took:?}");
}

#[test]
fn a_connection_takes_at_most_five_seconds_of_one_try() {
    all_at_once(["http", "https"], |scheme| {
        let served = if scheme == "http" { Served::http() } else { Served::https() };
        // The first connection is not made, over https not to its end.
        let shut = if scheme == "http" { Shut::Dropped } else { Shut::Silent };
        let gate = Gate::new(served.vault.socket_addr(), 0, shut);
        let run =
            served.with_approle().env("VAULT_ADDR", format!("{scheme}://{}", gate.socket_addr()));
        let (ended, took) = timed(&run.options(["--timeout=3m", "--max-retries=0"]));
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("no connection in time") && ended.stderr.contains("1 try in "),
            "{}",
            ended.stderr
        );
        assert!(took >= Duration::from_secs(5) && took < SLACK, "{took:?}");
    });
}

#[test]
fn a_request_that_always_fails_is_repeated_until_the_deadline() {
    all_at_once([LOGIN, READ], |phase| {
        let served = Served::http();
        served.vault.fault(phase, Fault::sealed());
        let (ended, took) = timed(&served.with_approle().option("--timeout=3s"));
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        assert!(took >= Duration::from_secs(3) && took < SLACK, "{took:?}: {}", ended.stderr);
    });
}

#[test]
fn a_wait_that_the_server_asks_for_is_heeded_as_far_as_the_deadline_goes() {
    for (retry_after, timeout) in [(60, 1), (1, 3)] {
        let served = Served::http();
        served.vault.fault(READ, Fault::rate_limited(Some(&retry_after.to_string())));
        let (ended, took) = timed(&served.with_approle().option(format!("--timeout={timeout}s")));
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        let waits = count(&served.vault, READ).saturating_sub(1);
        assert!(
            took >= Duration::from_secs(retry_after) * u32::try_from(waits).expect("few"),
            "{took:?}"
        );
        assert!(took < SLACK && waits <= 2, "{took:?}: {waits}");
    }
}

#[test]
fn a_server_that_asks_for_no_wait_gets_the_usual_one() {
    let served = Served::http();
    served.vault.fault(READ, Fault::rate_limited(Some("0")));
    let (ended, _) = timed(&served.with_approle().option("--timeout=3s"));
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    let reads = count(&served.vault, READ);
    assert!((2..60).contains(&reads), "{reads}");
}

#[test]
fn our_own_words_are_whole_whatever_the_credentials_are() {
    let served = Served::http();
    let lost = crate::support::run()
        .marker()
        .env("VAULT_ADDR", "http://127.0.0.1:1")
        .env("VAULT_TOKEN", "t")
        .env("A", "vault:secret/data/myapp#k");
    lost.option("--timeout=300ms")
        .fails(69, &["trying again for", "A: secret/data/myapp: Connection refused", "tries in"]);
    let root =
        served.at().marker().env("VAULT_TOKEN", "root").env("A", "vault:secret/data/root-ca#k");
    root.fails(77, &["A: secret/data/root-ca: status 403: permission denied"]);
    let app = served.at().marker().env("VAULT_ROLE_ID", "app").env("VAULT_SECRET_ID", "s");
    let app = app.env("VAULT_AUTH_MOUNT", "team/app").env("A", "vault:secret/data/a#k");
    app.fails(77, &["login at auth/team/app: status 4"]);
}

/// A start that reads so many secrets, the preflight left out.
fn reading(served: &Served, secrets: usize) -> Run {
    served.with_many(served.with_approle().without("PASSWORD").option("--revoke=false"), secrets)
}

#[test]
fn many_reads_that_fail_together_are_one_line_in_ten_seconds() {
    // Over HTTP/1.1 few are sent at once, and those that fail first fail again.
    all_at_once([(Served::http(), 16), (Served::https(), 64)], |(served, failures)| {
        let run = reading(&served, 64);
        served.vault.fault_times(failures, READ, Fault::internal_error());
        let (ended, took) = timed(&run.option("--timeout=3m"));
        assert!(ended.started(), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| line.contains("trying again for ")).count();
        assert!(
            lines >= 1 && lines as u64 <= 1 + took.as_secs() / 10,
            "{took:?}: {}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), lines, "{}", ended.stderr);
        assert_eq!(count(&served.vault, READ), 64 + failures);
    });
}

#[test]
fn of_several_failures_each_is_reported_and_the_first_kind_gives_the_code() {
    let faults = [
        (69, Fault::answer(501, "")),
        (76, Fault::invalid_json()),
        (66, Fault::answer(404, r#"{"errors":[]}"#)),
        (77, Fault::error(403, "1 error occurred:\n\t* permission denied\n\n")),
        (78, Fault::error(404, "namespace not found")),
    ];
    for most in 1..=faults.len() {
        let served = Served::https();
        let run = reading(&served, most);
        for (number, (_, fault)) in faults[..most].iter().enumerate() {
            served.vault.fault(&*format!("{READ}data/many/{number}"), fault.clone());
        }
        let ended = run.marker().end();
        assert_eq!(ended.code, Some(faults[most - 1].0), "{}", ended.stderr);
        assert_eq!(ended.text(), "");
        for number in 0..most {
            assert!(
                ended.stderr.contains(&format!("error: V{number}: secret/data/many/{number}")),
                "{}",
                ended.stderr
            );
        }
    }
}

#[test]
fn the_message_says_how_often_and_for_how_long_was_tried() {
    let served = Served::http();
    served.vault.fault(READ, Fault::internal_error());
    let (ended, took) = timed(&served.with_approle().option("--max-retries=4"));
    let said = ended.stderr.split(", 5 tries in ").nth(1).unwrap_or_default();
    let said = said.split(')').next().and_then(|time| {
        time.strip_suffix(" ms").map(|ms| (ms, 1)).or(time.strip_suffix(" s").map(|s| (s, 1000)))
    });
    let (number, unit) = said.unwrap_or_else(|| panic!("{}", ended.stderr));
    let milliseconds = number.parse::<f64>().expect("a number") * f64::from(unit);
    assert!(
        milliseconds > 0.0 && milliseconds <= took.as_secs_f64() * 1000.0,
        "{took:?}: {}",
        ended.stderr
    );
}

/// The last try begins when there is hardly any time left.
#[test]
fn a_try_that_the_deadline_cuts_short_does_not_hide_what_is_wrong() {
    all_at_once([LOGIN, READ], |phase| {
        let start = |time: Duration| {
            let served = Served::http();
            served.vault.fault_times(1, phase, Fault::sealed());
            served.vault.fault(phase, Fault::Hang);
            served.with_approle().option(format!("--timeout={}s", time.as_secs())).marker().end()
        };
        let ended = with_enough_time(start, |ended| ended.stderr.contains("2 tries in "));
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        for words in
            ["no answer in time", "the try before: status 503: Vault is sealed", "unseal it"]
        {
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
        assert_eq!(
            ended.stderr.contains("it may have been done"),
            phase == LOGIN,
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn waits_that_double_leave_a_dead_server_in_peace() {
    let served = Served::http();
    served.vault.fault(READ, Fault::internal_error());
    let (ended, _) = timed(&served.with_approle().option("--timeout=6s"));
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    // The waits are 125, 250, 500, 1000, 2000, … ms on average: more than twenty tries in 6 s would
    // take a coin that falls on its head for ever.
    assert!(count(&served.vault, READ) <= 20, "{:?}", served.vault.lines());
}

/// A login's answer with a token that is good, as the bytes of HTTP/1.1 that leaves the connection
/// open.
fn answer_to_login(token: &str) -> Vec<u8> {
    let body = json!({ "auth": { "client_token": token } }).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The race of every kept connection: the server closes it while the next request is under way.
#[test]
fn a_connection_that_is_closed_between_two_requests_uses_no_credential_twice() {
    for served in [Served::http(), Served::by(TestVault::builder().https().http1_only())] {
        for _ in 0..10 {
            served.vault.clear();
            served.vault.clear_faults();
            // After these bytes the server closes.
            served.vault.fault(LOGIN, Fault::Raw(answer_to_login(&served.token)));
            let ended = served.with_approle().option("--revoke=false").marker().end();
            assert!(ended.started(), "{}", ended.stderr);
            assert_eq!(count(&served.vault, LOGIN), 1);
        }
    }
}

/// The same, where what would be sent on it must not be sent twice: the answer is a wait, so that
/// the client knows of the end when it comes back.
#[test]
fn a_login_finds_a_new_connection_where_the_old_one_was_closed_meanwhile() {
    for served in [Served::http(), Served::by(TestVault::builder().https().http1_only())] {
        let later = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: \
                     13\r\n\r\n{\"errors\":[]}";
        served.vault.fault_times(1, LOGIN, Fault::Raw(later.into()));
        let ended = served.with_approle().marker().end();
        assert!(ended.started(), "{}", ended.stderr);
        assert_eq!(count(&served.vault, LOGIN), 2);
    }
}

#[test]
fn a_login_on_a_connection_that_breaks_is_not_repeated() {
    for served in
        [Served::http(), Served::by(TestVault::builder().https().http1_only()), Served::https()]
    {
        for fault in [Fault::Reset, Fault::Close] {
            let (run, _token) = served.with_wrapped();
            served.vault.clear();
            served.vault.clear_faults();
            served.vault.fault(LOGIN, fault);
            run.fails(
                69,
                &[
                    "login at auth/approle: the connection was lost",
                    "it may have been done",
                    "1 try in ",
                ],
            );
            let requests = served.vault.requests();
            assert_eq!(count(&served.vault, LOGIN), 1, "{requests:?}");
            let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
            // In clear, what must not be sent twice has a connection of its own.
            let expected = if served.vault.tls().is_some() { [1, 1, 1] } else { [1, 2, 3] };
            let first = connections[0] - 1;
            assert_eq!(connections, expected.map(|connection| first + connection));
        }
    }
}

/// The first request on a connection.
const FIRST_STREAM: u32 = 1;

#[test]
fn a_login_that_http_2_refused_is_repeated_as_one_that_was_not_sent() {
    all_at_once([Fault::refused_stream(FIRST_STREAM), Fault::go_away(0)], |fault| {
        let served = Served::https();
        served.vault.fault_times(4, LOGIN, fault.clone());
        let ended = served.with_approle().marker().end();
        assert!(ended.started(), "{fault:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("trying again"), "{fault:?}: {}", ended.stderr);
        assert_eq!(count(&served.vault, LOGIN), 5, "{fault:?}");
        served.vault.clear();
        served.vault.fault(LOGIN, fault.clone());
        served
            .with_approle()
            .option("--max-retries=0")
            .fails(69, &["login at auth/approle: ", "1 try in "]);
        assert_eq!(count(&served.vault, LOGIN), 1, "{fault:?}: nobody repeats it behind our back");
    });
}

#[test]
fn a_login_that_http_2_may_have_looked_at_is_not_repeated() {
    for last in [FIRST_STREAM, u32::MAX >> 1] {
        let served = Served::https();
        served.vault.fault(LOGIN, Fault::go_away(last));
        let ended = served
            .with_approle()
            .fails(69, &["it may have been done, so it is not repeated", "1 try in "]);
        assert_eq!(count(&served.vault, LOGIN), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_request_whose_turn_does_not_come_before_the_connection_ends_is_understood() {
    let served = Served::by(TestVault::builder().https().streams(1));
    served.vault.fault(READ, Fault::Close);
    let run = served.with_many(served.with_approle(), 3).option("--kv-version=2");
    let ended = run.option("--max-retries=0").fails(69, &["before the turn of the request"]);
    assert!(!ended.stderr.contains("dispatch"), "{}", ended.stderr);
}

#[test]
fn a_server_that_says_goodbye_is_asked_again_over_another_connection() {
    let served = Served::https();
    served.vault.fault_times(1, READ, Fault::go_away(0));
    let ended = served.with_approle().marker().end();
    assert!(ended.started(), "{}", ended.stderr);
    assert_eq!((count(&served.vault, LOGIN), count(&served.vault, READ)), (1, 2));
}

#[test]
fn an_answer_ends_at_four_mebibytes() {
    const MOST: usize = 4 << 20;
    for (length, code) in [(MOST, 0), (MOST + 1, 76)] {
        let served = Served::http();
        let mut body = json!({ "data": { "password": "p" } }).to_string();
        body.push_str(&" ".repeat(length - body.len()));
        served.vault.fault(READ, Fault::answer(200, body));
        let ended = served.with_approle().marker().end();
        assert_eq!(ended.code, Some(code), "{length}: {}", ended.stderr);
    }
}

#[test]
fn after_the_deadline_nothing_but_the_revocation_is_sent() {
    let start = |time: Duration| {
        let served = Served::http();
        served.vault.fault(READ, Fault::Hang);
        let run = served
            .with_approle()
            .option(format!("--timeout={}s", time.as_secs()))
            .option("--log-level=info");
        (run.marker().end(), served.vault.lines())
    };
    let (ended, lines) =
        with_enough_time(start, |(_, lines)| lines.iter().any(|line| line.starts_with(READ)));
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    let expected = ["GET /v1/secret/data/app", "POST /v1/auth/token/revoke-self"];
    assert_eq!(lines[lines.len() - 2..], expected);
}
