//! The options of this mode, before anything is started.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use test_vault::TestVault;

use crate::support::{directory, run};

const OPTIONS: [&str; 9] = [
    "--refresh=30s",
    "--on-change=none",
    "--on-file-change=none",
    "--on-expiry=keep",
    "--replace-before=1m",
    "--stop-signal=TERM",
    "--stop-timeout=1s",
    "--splay=1s",
    "--signal-group",
];

#[test]
fn each_option_of_this_mode_needs_it() {
    let directory = directory();
    let status = format!("--status-file={}", directory.path().join("status").display());
    for option in OPTIONS.into_iter().chain([status.as_str()]) {
        let name = option.split('=').next().expect("a name");
        run().option(option).fails(78, &[name, "--supervise"]);
        let ended = run().option(option).option("--supervise").marker().end();
        assert!(ended.started(), "{option}: {}", ended.stderr);
    }
}

#[test]
fn a_status_file_takes_no_place_but_that_of_a_regular_file() {
    let directory = directory();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    for place in [directory.path(), &fifo] {
        let option = format!("--status-file={}", place.display());
        run().options([option.as_str(), "--supervise"]).fails(78, &["--status-file", "regular"]);
        assert!(!place.is_file() && place.exists());
    }
}

#[test]
fn a_value_that_means_nothing_is_said_before_vault_is_asked() {
    let vault = TestVault::start();
    let asking = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    let asking = asking.env("A", "vault:secret/app#k").option("--supervise");
    for option in
        ["--refresh=9s", "--on-change=signal:NONE", "--stop-signal=0", "--on-expiry=restart"]
    {
        asking.clone().option(option).fails(78, &[option.split('=').next().expect("a name")]);
    }
    assert!(vault.lines().is_empty(), "{:?}", vault.lines());
}

#[test]
fn the_variable_of_vault_env_means_the_same() {
    let run = run().env("VAULT_ENV_DAEMON", "true").shell("echo $PPID; ps -o comm= $PPID");
    let supervised = run.clone().end();
    assert!(supervised.text().contains("vault-exec"), "{}", supervised.text());
    let ended = run.env("VAULT_EXEC_SUPERVISE", "false").end();
    assert!(!ended.text().contains("vault-exec"), "{}", ended.text());
}
