//! The proof that no credential is left in the process that becomes the application.
//!
//! The process is stopped at the entry of its `execve`, when its memory is as large as it will ever
//! be. Everything that it can write to is searched: stack, heap, anonymous mappings, and the block
//! with its initial environment. Only root, or the root of a user namespace, can do that.

pub(crate) mod frozen;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use test_vault::{Fault, Recorded, TestVault, TlsFiles, Versions};

use crate::support::controls::control;
use crate::support::launch::{
    FETCHED, Ordinary, PATIENCE, Served, as_root, before_exec, eventually, executable, works,
};
use crate::support::{Run, binary, directory, run};
use frozen::Frozen;

/// Something that must not be found, with a name.
pub(crate) type Credential = (&'static str, Vec<u8>);

/// Returns the credentials of a start, as the server saw them in requests, those that a start could
/// have used instead, and the secrets of its TLS sessions, which decrypt a recording of them.
pub(crate) fn credentials(served: &Served) -> Vec<Credential> {
    let text = |name, text: &str| (name, text.as_bytes().to_vec());
    let mut credentials = vec![
        text("role id", &served.role.role_id),
        text("secret id", &served.role.secret_id),
        text("token", &served.token),
    ];
    for request in served.vault.requests() {
        let token = request.token().filter(|token| *token != served.token);
        let name =
            if request.path.ends_with("/unwrap") { "wrapping token" } else { "login's token" };
        credentials.extend(token.map(|token| text(name, token)));
        let body = request.json();
        let field = |name: &str| {
            body[name].as_str().filter(|value| *value != served.role.secret_id).map(str::to_owned)
        };
        for (field, name) in [
            (field("secret_id"), "unwrapped secret id"),
            (field("jwt"), "JWT"),
            (field("password"), "password"),
        ] {
            credentials.extend(field.map(|value| text(name, &value)));
        }
    }
    credentials.extend(session_secrets(served));
    credentials
}

/// Returns the secrets that decrypt a recording of a server's sessions.
pub(crate) fn session_secrets(served: &Served) -> Vec<Credential> {
    let secrets = served.vault.tls().map(TlsFiles::session_secrets).unwrap_or_default();
    // Leaked for as long as the tests run.
    secrets.into_iter().map(|(label, secret)| (&*label.leak(), secret)).collect()
}

/// Returns each credential that is left, with its locations. The search is for halves, so that a
/// copy without its end counts too.
pub(crate) fn left(frozen: &Frozen, credentials: &[Credential]) -> Vec<String> {
    let mut left = Vec::new();
    for (name, value) in credentials {
        let (first, second) = value.split_at(value.len() / 2);
        assert!(first.len() >= 12, "{name} is too short to be searched for");
        for (half, needle) in [("first", first), ("second", second)] {
            left.extend(
                frozen
                    .memory()
                    .find(needle)
                    .iter()
                    .map(|found| format!("{half} half of {name}: {found:?}")),
            );
        }
    }
    left
}

/// Asserts that no credential is left, including the `others` that the server has not seen.
#[track_caller]
pub(crate) fn frozen_clean(served: &Served, run: &Run, others: &[Credential]) -> Frozen {
    let frozen = Frozen::start(&binary(), &run.clone().shell("echo $PASSWORD"));
    let credentials = [credentials(served), others.to_vec()].concat();
    let left = left(&frozen, &credentials);
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(frozen.writing, [""; 0], "a file is written");
    let line = fs::read(format!("/proc/{}/cmdline", frozen.pid())).expect("a process of ours");
    for (name, value) in credentials {
        assert!(
            !has(&line, &value) && !has(&line, &value[value.len() / 2..]),
            "{name} is on the command line"
        );
    }
    frozen
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Returns how often a value is in the new environment, and how often elsewhere.
pub(crate) fn places(frozen: &Frozen, value: &str) -> (usize, usize) {
    let environment = frozen.new_environment();
    let is_new = |address: u64| environment.iter().any(|string| string.contains(&address));
    let found = frozen.memory().find(value.as_bytes());
    let (new, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| is_new(found.address));
    (new.len(), other.len())
}

/// Asserts that only the fetched value is left, that it is in the new environment only, and that
/// the application starts with it.
#[track_caller]
pub(crate) fn assert_clean(served: &Served, run: &Run) {
    assert_clean_of(served, run, &[]);
}

/// The same with credentials that the server does not see.
#[track_caller]
pub(crate) fn assert_clean_of(served: &Served, run: &Run, others: &[Credential]) {
    let frozen = frozen_clean(served, run, others);
    let environment = frozen.new_environment();
    for found in frozen.memory().find(FETCHED.as_bytes()) {
        let is_in_it = environment.iter().any(|string| string.contains(&found.address));
        assert!(is_in_it, "the fetched value outside of the new environment: {found:?}");
    }
    let ended = frozen.go_on();
    assert_eq!((ended.code, ended.text()), (Some(0), format!("{FETCHED}\n")), "{}", ended.stderr);
}

#[test]
fn nothing_of_a_token_in_the_environment_is_left() {
    as_root("proof::memory::nothing_of_a_token_in_the_environment_is_left", || {
        for served in [Served::http(), Served::https()] {
            assert_clean(&served, &served.with_token());
            assert_clean(&served, &served.at().env("BAO_TOKEN", &served.token));
        }
    });
}

#[test]
fn nothing_of_a_token_in_a_file_is_left() {
    as_root("proof::memory::nothing_of_a_token_in_a_file_is_left", || {
        let directory = directory();
        for served in [Served::http(), Served::https()] {
            let file = write(directory.path(), "token", &format!("{}\n", served.token));
            assert_clean(&served, &served.at().env("VAULT_TOKEN_FILE", file));
        }
    });
}

#[test]
fn nothing_of_a_token_in_the_home_directory_or_a_fifo_is_left() {
    as_root("proof::memory::nothing_of_a_token_in_the_home_directory_or_a_fifo_is_left", || {
        let directory = directory();
        let fifo = directory.path().join("fifo");
        assert!(works(Command::new("mkfifo").arg(&fifo)));
        for served in [Served::http(), Served::https()] {
            write(directory.path(), ".vault-token", &served.token);
            let run = served.at().env("HOME", directory.path()).env("VAULT_AUTH_METHOD", "token");
            assert_clean(&served, &run);
            std::thread::scope(|scope| {
                // This opens once the start reads.
                scope.spawn(|| fs::write(&fifo, &served.token).expect("a reader"));
                assert_clean(&served, &served.at().env("VAULT_TOKEN_FILE", &fifo));
            });
        }
    });
}

#[test]
fn a_token_that_the_application_asks_for_is_left_in_its_environment_only() {
    as_root(
        "proof::memory::a_token_that_the_application_asks_for_is_left_in_its_environment_only",
        || {
            for served in [Served::http(), Served::https()] {
                let run = served
                    .with_approle()
                    .env("VAULT_TOKEN", "vault:login")
                    .shell("echo $VAULT_TOKEN");
                let frozen = Frozen::start(&binary(), &run);
                let requests = served.vault.requests();
                let token =
                    requests.iter().find_map(Recorded::token).expect("a login's token").to_owned();
                let (first, second) = token.split_at(token.len() / 2);
                assert_eq!([first, second].map(|half| places(&frozen, half)), [(1, 0); 2]);
                let others = [
                    ("role id", served.role.role_id.clone().into()),
                    ("secret id", served.role.secret_id.clone().into()),
                ];
                let left = left(&frozen, &others);
                assert!(left.is_empty(), "{left:#?}");
                assert_eq!(frozen.go_on().text(), format!("{token}\n"));
            }
        },
    );
}

#[test]
fn nothing_of_an_approle_login_over_http_is_left() {
    as_root("proof::memory::nothing_of_an_approle_login_over_http_is_left", || {
        let served = Served::http();
        assert_clean(&served, &served.with_approle());
    });
}

#[test]
fn nothing_of_an_approle_login_over_https_is_left() {
    as_root("proof::memory::nothing_of_an_approle_login_over_https_is_left", || {
        let served = Served::https();
        assert_clean(&served, &served.with_approle());
    });
}

#[test]
fn nothing_of_an_approle_login_with_files_is_left() {
    as_root("proof::memory::nothing_of_an_approle_login_with_files_is_left", || {
        let directory = directory();
        for served in [Served::http(), Served::https()] {
            let role_id = write(directory.path(), "role-id", &served.role.role_id);
            let secret_id =
                write(directory.path(), "secret-id", &format!("{}\n", served.role.secret_id));
            let run = served
                .at()
                .env("VAULT_ROLE_ID_FILE", role_id)
                .env("VAULT_SECRET_ID_FILE", secret_id);
            assert_clean(&served, &run);
        }
    });
}

/// Asserts that the start really used what is searched for: a wrapping token and its content.
#[track_caller]
fn assert_clean_and_unwrapped(served: &Served, run: &Run, token: &str) {
    assert_clean(served, run);
    let credentials = credentials(served);
    let of_name = |name: &str| {
        credentials.iter().rfind(|found| found.0 == name).map(|found| found.1.as_slice())
    };
    assert_eq!(of_name("wrapping token"), Some(token.as_bytes()));
    assert!(of_name("unwrapped secret id").is_some());
}

#[test]
fn nothing_of_a_wrapped_secret_id_is_left() {
    as_root("proof::memory::nothing_of_a_wrapped_secret_id_is_left", || {
        for served in [Served::http(), Served::https()] {
            let (run, token) = served.with_wrapped();
            assert_clean_and_unwrapped(&served, &run, &token);
        }
    });
}

#[test]
fn nothing_of_a_wrapped_secret_id_with_files_is_left() {
    as_root("proof::memory::nothing_of_a_wrapped_secret_id_with_files_is_left", || {
        let directory = directory();
        for served in [Served::http(), Served::https()] {
            let (run, token) = served.with_wrapped();
            let file = write(directory.path(), "wrapping-token", &format!("{token}\n"));
            let run =
                run.without("VAULT_WRAPPED_SECRET_ID").env("VAULT_WRAPPED_SECRET_ID_FILE", file);
            assert_clean_and_unwrapped(&served, &run.option("--role=app"), &token);
        }
    });
}

#[test]
fn nothing_of_a_wrapped_secret_id_is_left_where_tries_failed() {
    as_root("proof::memory::nothing_of_a_wrapped_secret_id_is_left_where_tries_failed", || {
        for served in [Served::http(), Served::https()] {
            for path in ["/v1/sys/wrapping/lookup", "/v1/sys/wrapping/unwrap", "/v1/auth/"] {
                served.vault.fault_times(1, path, Fault::sealed());
            }
            let (run, token) = served.with_wrapped();
            assert_clean_and_unwrapped(&served, &run, &token);
        }
    });
}

#[test]
fn the_search_finds_a_wrapping_token_and_what_was_in_it() {
    as_root("proof::memory::the_search_finds_a_wrapping_token_and_what_was_in_it", || {
        for (program, name) in [
            ("control_unwiped_block", "wrapping token"),
            ("control_unwiped_heap", "unwrapped secret id"),
        ] {
            let served = Served::https();
            let left = left(
                &Frozen::start(&control(program), &served.with_wrapped().0),
                &credentials(&served),
            );
            assert!(
                left.iter().any(|found| found.contains(name)),
                "{name} was not found: {left:#?}"
            );
        }
    });
}

#[test]
fn nothing_of_credentials_in_an_env_file_is_left() {
    as_root("proof::memory::nothing_of_credentials_in_an_env_file_is_left", || {
        let directory = directory();
        for served in [Served::http(), Served::https()] {
            let (role_id, secret_id) = (&served.role.role_id, &served.role.secret_id);
            let text =
                format!("VAULT_ROLE_ID={role_id}\nOTHER=x\nVAULT_SECRET_ID=\"{secret_id}\"\n");
            let file = write(directory.path(), "approle.env", &text);
            assert_clean(&served, &served.at().option("--env-file").option(file));
            let file = write(
                directory.path(),
                "token.env",
                &format!("export BAO_TOKEN='{}' # x\n", served.token),
            );
            assert_clean(&served, &served.at().option("--env-file").option(file));
        }
    });
}

#[test]
fn nothing_is_left_of_tries_that_failed() {
    as_root("proof::memory::nothing_is_left_of_tries_that_failed", || {
        for served in [Served::http(), Served::https()] {
            served.vault.fault_times(1, "/v1/auth/", Fault::sealed());
            served.vault.fault_times(1, "/v1/secret/", Fault::internal_error());
            assert_clean(&served, &served.with_approle());
        }
    });
}

#[test]
fn nothing_is_left_whether_the_token_is_revoked_or_not() {
    as_root("proof::memory::nothing_is_left_whether_the_token_is_revoked_or_not", || {
        for served in [Served::http(), Served::https()] {
            for revoke in ["true", "false", "auto"] {
                assert_clean(&served, &served.with_approle().option("--revoke").option(revoke));
            }
            served.vault.fault("/v1/auth/token/revoke-self", Fault::internal_error());
            assert_clean(&served, &served.with_approle().option("--revoke=true"));
        }
    });
}

#[test]
fn nothing_is_left_of_many_reads_at_once() {
    as_root("proof::memory::nothing_is_left_of_many_reads_at_once", || {
        for served in [Served::http(), Served::https()] {
            let mut run = served.with_approle().option("--ignore-missing");
            for number in 0..20 {
                run =
                    run.env(format!("MISSING_{number}"), format!("vault:secret/none-{number}#key"));
            }
            assert_clean(&served, &run);
        }
    });
}

#[test]
fn nothing_is_left_where_no_vault_is_asked() {
    as_root("proof::memory::nothing_is_left_where_no_vault_is_asked", || {
        let served = Served::http();
        for run in [served.with_token(), served.with_approle()] {
            let nothing_to_fetch = run.clone().env("PASSWORD", "plain");
            let not_enabled = run.env("PASSWORD", "vault:x#y:-plain").env("VAULT_ENABLED", "false");
            for run in [nothing_to_fetch, not_enabled] {
                assert_eq!(frozen_clean(&served, &run, &[]).go_on().text(), "plain\n");
            }
        }
        assert_eq!(served.vault.lines(), Vec::<String>::new());
    });
}

#[test]
fn the_search_finds_what_an_allocator_that_does_not_wipe_leaves() {
    as_root("proof::memory::the_search_finds_what_an_allocator_that_does_not_wipe_leaves", || {
        for served in [Served::http(), Served::https()] {
            let directory = directory();
            let file = write(directory.path(), "secret-id", &served.role.secret_id);
            let run = served
                .at()
                .env("VAULT_ROLE_ID", &served.role.role_id)
                .env("VAULT_SECRET_ID_FILE", file);
            let frozen = Frozen::start(&control("control_unwiped_heap"), &run);
            assert!(!left(&frozen, &credentials(&served)).is_empty(), "nothing was found");
        }
    });
}

/// Starts with each version of TLS and of HTTP.
fn on_each_tls_version(test: impl Fn(Versions, &Served, &Run)) {
    for (versions, label) in
        [(Versions::Tls12, "CLIENT_RANDOM"), (Versions::Tls13, "CLIENT_TRAFFIC_SECRET_0")]
    {
        let builder = || TestVault::builder().https().tls_versions(versions);
        for served in [Served::by(builder()), Served::by(builder().http1_only())] {
            test(versions, &served, &served.with_approle());
            test(versions, &served, &served.with_token());
            let secrets = session_secrets(&served);
            assert!(secrets.iter().any(|(name, _)| *name == label), "no {label}");
        }
    }
}

#[test]
fn nothing_of_the_sessions_secrets_is_left() {
    as_root("proof::memory::nothing_of_the_sessions_secrets_is_left", || {
        on_each_tls_version(|_, served, run| assert_clean(served, run));
    });
}

/// Returns whether the binary under test is one that is shipped. In a debug build frames are so
/// large that whatever runs after a handshake overwrites everything that it left.
pub(crate) fn is_optimised() -> bool {
    std::env::var_os("VAULT_EXEC_BINARY").is_some()
}

#[test]
fn the_search_finds_the_sessions_secrets_where_the_stack_is_not_wiped() {
    as_root(
        "proof::memory::the_search_finds_the_sessions_secrets_where_the_stack_is_not_wiped",
        || {
            let found = RefCell::new(Vec::new());
            on_each_tls_version(|versions, served, run| {
                let frozen = Frozen::start(&control("control_unwiped_stack"), run);
                let left = left(&frozen, &session_secrets(served));
                if left.iter().any(|found| found.contains("[stack]")) {
                    found.borrow_mut().push(versions);
                }
            });
            let found = found.into_inner();
            for versions in [Versions::Tls12, Versions::Tls13] {
                assert!(!is_optimised() || found.contains(&versions), "none of {versions:?}");
            }
        },
    );
}

#[test]
fn the_search_finds_what_stands_in_the_initial_environment() {
    as_root("proof::memory::the_search_finds_what_stands_in_the_initial_environment", || {
        let served = Served::http();
        let frozen = Frozen::start(&control("control_unwiped_block"), &served.with_token());
        let left = left(&frozen, &credentials(&served));
        assert!(
            left.iter().any(|found| found.contains("half of token") && found.contains("[stack]")),
            "{left:#?}"
        );
    });
}

/// Returns a start whose read of the secret is not answered.
fn waiting(served: &Served, mut command: Command) -> Waiting {
    served.vault.fault("/v1/secret/", Fault::Hang);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let is_read = |requests: &[Recorded]| {
        requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
    };
    let waiting = Waiting(child);
    assert!(served.vault.wait_for(is_read, PATIENCE), "the secret is asked for");
    waiting
}

/// A process that is killed when the test ends.
pub(crate) struct Waiting(pub(crate) Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn while_it_waits_the_initial_environment_shows_root_no_credential() {
    as_root(
        "proof::memory::while_it_waits_the_initial_environment_shows_root_no_credential",
        || {
            let served = Served::http();
            let run = served
                .with_approle()
                .env("BAO_TOKEN", &served.token)
                .env("VAULT_AUTH_METHOD", "approle");
            let waiting = waiting(&served, run.env("PLAIN", "plain").build());
            let environment =
                fs::read(format!("/proc/{}/environ", waiting.0.id())).expect("root may read it");
            let has = |text: &[u8]| has(&environment, text);
            for (name, value) in credentials(&served) {
                assert!(!has(&value) && !has(&value[value.len() / 2..]), "{name} is there");
            }
            for (name, value) in [
                ("VAULT_ROLE_ID", &served.role.role_id),
                ("VAULT_SECRET_ID", &served.role.secret_id),
                ("BAO_TOKEN", &served.token),
            ] {
                assert!(
                    has(format!("{name}={}\0", "\0".repeat(value.len())).as_bytes()),
                    "{name} has other text in its place"
                );
            }
            assert!(
                has(b"\0PLAIN=plain\0") || environment.starts_with(b"PLAIN=plain\0"),
                "what is not ours stays"
            );
        },
    );
}

/// A way to look into a process from outside: by its id, at an address.
type Look = fn(Pid, u64) -> nix::Result<()>;

fn attach(pid: Pid, _: u64) -> nix::Result<()> {
    ptrace::seize(pid, Options::empty())
}

fn read_a_byte(pid: Pid, address: u64) -> nix::Result<()> {
    let mut byte = 0_u8;
    let own = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let address = usize::try_from(address).expect("an address");
    let its = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: 1 };
    #[allow(unsafe_code, reason = "nix has the call with another of its features only")]
    // SAFETY: the kernel writes only to `byte` in this process; the other address does not belong
    // to this process.
    let read =
        unsafe { libc::process_vm_readv(pid.as_raw(), &raw const own, 1, &raw const its, 1, 0) };
    nix::errno::Errno::result(read).map(drop)
}

/// Returns the error that an ordinary user's process gets when it looks into another one.
fn refusal(pid: Pid, address: u64, look: Look) -> Option<i32> {
    let mut command = Command::new("true");
    Ordinary::be(&mut command);
    before_exec(&mut command, move || look(pid, address));
    command.status().err().and_then(|error| error.raw_os_error())
}

/// Returns whether an ordinary user's process can read a file of another one. There is nothing to
/// read at the beginning of its memory; a process that may not read it cannot open it.
pub(crate) fn can_read(file: &str) -> bool {
    let mut reader = Command::new("sh");
    Ordinary::be(&mut reader);
    let script = r#"case $0 in */mem) : < "$0";; *) head -c 1 "$0";; esac"#;
    works(reader.args(["-c", script, file]))
}

/// Makes Yama allow every process of the user to look into one: if it is still refused, that is
/// because it is not dumpable.
pub(crate) fn open_to_all(command: &mut Command) {
    before_exec(command, || {
        #[allow(unsafe_code, reason = "nix has no call for it")]
        // SAFETY: the request takes a number; if there is no Yama, it fails.
        unsafe {
            libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY)
        };
        Ok(())
    });
}

/// Returns the ids of all threads of a process.
fn threads(pid: u32) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.map(Pid::from_raw).collect()
}

pub(crate) fn start_of_its_stack(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process of ours");
    let line = maps.lines().find(|line| line.ends_with("[stack]")).expect("a stack");
    u64::from_str_radix(line.split('-').next().expect("a range"), 16).expect("an address")
}

#[test]
fn while_it_waits_other_processes_of_its_user_can_read_neither_environment_nor_memory() {
    let (served, ordinary) = (Served::http(), Ordinary::new());
    let mut command = ordinary.build(&served.with_token());
    open_to_all(&mut command);
    let waiting = waiting(&served, command);
    let mut plain = Command::new("sleep");
    Ordinary::be(plain.arg("1000").stdin(Stdio::null()));
    open_to_all(&mut plain);
    let plain = Waiting(plain.spawn().expect("sleep runs"));
    let own = |pid: u32| Pid::from_raw(i32::try_from(pid).expect("a pid"));
    let (plain, id) = (plain.0.id(), waiting.0.id());
    eventually("reading of a process that is dumpable", || {
        can_read(&format!("/proc/{plain}/environ")).then_some(())
    });
    let stack = start_of_its_stack(plain);
    assert_eq!(
        [read_a_byte as Look, attach].map(|look| refusal(own(plain), stack, look)),
        [None; 2]
    );
    for thread in threads(id) {
        for what in ["environ", "maps", "mem", "auxv", "smaps", "syscall", "stack"] {
            for file in [format!("/proc/{id}/{what}"), format!("/proc/{id}/task/{thread}/{what}")] {
                assert!(!can_read(&file), "{file} can be read");
            }
        }
        let refused = [read_a_byte as Look, attach].map(|look| refusal(thread, stack, look));
        assert_eq!(refused, [Some(libc::EPERM); 2], "{thread}");
    }
    assert!(threads(id).contains(&own(id)), "no thread was looked at");
}

#[test]
fn a_program_that_writes_a_file_is_found() {
    as_root("proof::memory::a_program_that_writes_a_file_is_found", || {
        let directory = directory();
        let file = directory.path().join("file");
        for write in ["echo x >", "echo x >>", "exec 9<>"] {
            let script = format!("#!/bin/sh\n{write} {}\nexec true\n", file.display());
            let program = executable(directory.path(), "program", script.as_bytes());
            assert!(!Frozen::start(&program, &run()).writing.is_empty(), "{write}");
        }
    });
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).expect("a file");
    file
}
