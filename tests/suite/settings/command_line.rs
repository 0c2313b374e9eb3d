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
    for (option, remedy) in [
        ("--adress", "did you mean --addr?"),
        ("--adr=s3cret", "did you mean --addr?"),
        ("-x", "--help"),
        ("-timeout", "did you mean --timeout?"),
        ("--Timeout=s3cret", "did you mean --timeout?"),
        ("--quiet", "--help"),
    ] {
        let name = option.split('=').next().expect("a name");
        let ended = run().option(option).fails(64, &[name, "unknown option", remedy]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn a_credential_is_no_option_and_the_remedy_is_named() {
    for (option, variable) in [
        ("--token=s3cret", "VAULT_TOKEN_FILE"),
        ("--role-id=s3cret", "VAULT_ROLE_ID_FILE"),
        ("--secret-id=s3cret", "VAULT_SECRET_ID_FILE"),
        ("--jwt-file=s3cret", "VAULT_JWT_FILE"),
        ("--password=s3cret", "VAULT_PASSWORD_FILE"),
    ] {
        let ended = run()
            .option(option)
            .fails(64, &["unknown option", "a command line is public", variable]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn an_option_without_its_value_is_named() {
    let ended = Ended::of(
        std::process::Command::new(crate::support::binary())
            .env_clear()
            .arg("--addr")
            .output()
            .expect("it runs"),
    );
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("--addr lacks its value"), "{}", ended.stderr);
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

#[test]
fn the_last_of_two_occurrences_counts() {
    assert!(run().option("--addr=nonsense").option("--addr=http://a").marker().end().started());
    assert!(run().option("--check").option("--check=false").marker().end().started());
    let checked = run().option("--check=false").option("--check").marker().end();
    assert!(checked.code == Some(0) && !checked.started(), "{checked:?}");
}

#[test]
fn what_would_become_the_command_behind_an_option_is_an_error() {
    let line = |words: &[&str]| {
        let mut command = std::process::Command::new(crate::support::binary());
        let ended = command.env_clear().env("PATH", "/bin:/usr/bin").args(words).output();
        let ended = Ended::of(ended.expect("it runs"));
        assert_eq!(ended.code, Some(64), "{words:?}");
        ended.stderr
    };
    for (words, part) in [
        (&["--upcase", "true", "--", "echo"][..], "--upcase=true"),
        (&["--check", "false", "--", "echo"], "--check=false"),
        (&["--secret", "--", "echo"], "--secret=VALUE"),
        (&["--addr", "--", "echo"], "--addr=VALUE"),
    ] {
        let told = line(words);
        assert!(told.contains(part), "{told}");
    }
}
