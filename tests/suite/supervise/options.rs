//! The options of this mode, before anything is started.

use test_vault::TestVault;

use crate::support::run;

const OPTIONS: [&str; 10] = [
    "--refresh=30s",
    "--on-change=none",
    "--on-file-change=none",
    "--on-expiry=keep",
    "--replace-before=1m",
    "--stop-signal=TERM",
    "--stop-timeout=1s",
    "--splay=1s",
    "--signal-group",
    "--status-file=/dev/null",
];

#[test]
fn each_option_of_this_mode_needs_it() {
    for option in OPTIONS {
        let name = option.split('=').next().expect("a name");
        run().option(option).fails(78, &[name, "--supervise"]);
        let ended = run().option(option).option("--supervise").marker().end();
        assert!(ended.started(), "{option}: {}", ended.stderr);
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
