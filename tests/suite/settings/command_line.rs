//! What is wrong with a command line.

use crate::support::{Ended, run};

#[test]
fn without_a_command_there_is_nothing_to_start() {
    let run = run().command::<&str>([]);
    let ended = run.end();
    assert_eq!((ended.code, ended.text().as_str()), (Some(64), ""));
    assert!(
        ended.stderr.contains("no command")
            && ended.stderr.contains("vault-exec [options] -- command"),
        "{}",
        ended.stderr
    );
    let bare = Ended::of(
        std::process::Command::new(crate::support::binary()).env_clear().output().expect("it runs"),
    );
    assert_eq!((bare.code, bare.stderr), (Some(64), ended.stderr));
}

#[test]
fn an_option_that_there_is_not_is_named_and_its_value_is_not_shown() {
    for option in ["--adress", "--adr=s3cret", "-x", "-timeout", "--Timeout=s3cret"] {
        let name = option.split('=').next().expect("a name");
        let ended = run().option(option).fails(64, &[name, "unknown option", "--help"]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn a_credential_is_no_option_and_the_remedy_is_named() {
    for option in ["--token=s3cret", "--role-id=s3cret", "--secret-id=s3cret"] {
        let ended = run()
            .option(option)
            .fails(64, &["unknown option", "a command line is public", "VAULT_TOKEN_FILE"]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn an_option_without_its_value_or_given_twice_is_named() {
    let ended = Ended::of(
        std::process::Command::new(crate::support::binary())
            .env_clear()
            .arg("--addr")
            .output()
            .expect("it runs"),
    );
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("--addr lacks its value"), "{}", ended.stderr);
    run()
        .option("--timeout=1s")
        .option("--timeout=2s")
        .fails(64, &["--timeout is given more than once"]);
    run().option("--upcase=maybe").fails(64, &["--upcase", "true or false"]);
}

#[test]
fn help_and_version_start_nothing_and_print_on_stdout() {
    for option in ["--help", "-h", "--version"] {
        let ended = run().option(option).marker().end();
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.text().contains("vault-exec") && !ended.started() && ended.stderr.is_empty(),
            "{ended:?}"
        );
    }
}
