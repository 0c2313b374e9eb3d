//! What a program would run if a secret's key could name any variable, tried with the programs
//! themselves, as far as this machine has them.

use std::fs;
use std::process::Command;

use test_vault::{TestVault, json};

use crate::support::launch::without;
use crate::support::{Ended, Run, directory, run};

/// What is run that nobody asked for.
const MARK: &str = "hijacked";

/// A program, its arguments, and a variable that makes it run something else, or say that it would;
/// `@` is a directory of the test's.
const CASES: [(&str, &[&str], &str, &str); 13] = [
    ("node", &["-e", "0"], "NODE_OPTIONS", "--import=data:text/javascript,console.log('hijacked')"),
    ("node", &["-e", "require('m')"], "NODE_PATH", "@"),
    ("python3", &["-c", "0"], "PYTHONPATH", "@"),
    ("python3", &["-X", "importtime", "-c", "0"], "PYTHONHOME", "/hijacked"),
    ("perl", &["-e", "0"], "PERL5OPT", "-Mstrict;print(qq(hijacked))"),
    ("perl", &["-d", "-e", "0"], "PERL5DB", "BEGIN{print qq(hijacked);exit}"),
    ("bash", &["-c", "cd /"], "BASH_FUNC_cd%%", "() { echo hijacked; }"),
    ("bash", &["-c", "true"], "BASH_ENV", "@/script"),
    ("sh", &["-i", "-c", "true"], "ENV", "@/script"),
    ("java", &["-version"], "JAVA_TOOL_OPTIONS", "-Dhijacked"),
    ("java", &["-version"], "JDK_JAVA_OPTIONS", "-Dhijacked"),
    ("git", &["ls-remote", "ssh://localhost/x"], "GIT_SSH_COMMAND", "echo hijacked >&2;"),
    ("git", &["-p", "--version"], "GIT_TRACE", "hijacked"),
];

/// Whether a program has done, or says that it was told to do, what the variable says.
fn is_hijacked(ended: &Ended) -> bool {
    ended.text().contains(MARK) || ended.stderr.contains(MARK)
}

/// The run of a program with nothing else in its environment.
fn direct(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(run().variables());
    command
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn a_writable_secret_does_not_run_code_in_the_application() {
    let directory = directory();
    for (name, content) in [
        ("m.js", "console.log('hijacked')"),
        ("sitecustomize.py", "print('hijacked')"),
        ("script", "echo hijacked"),
    ] {
        fs::write(directory.path().join(name), content).expect("a file");
    }
    for (program, arguments, name, value) in CASES {
        if !is_there(program) {
            without("references::hijacked", program);
            continue;
        }
        let value = value.replace('@', directory.path().to_str().expect("UTF-8"));
        let mut command = direct(program, arguments);
        let ended = Ended::of(command.env(name, &value).output().expect("it runs"));
        // What this version of the program does not do needs no look any more.
        if !is_hijacked(&ended) {
            without("references::hijacked", &format!("{program} that heeds {name}"));
            continue;
        }
        let vault = TestVault::start();
        vault.operator().kv_put("secret", 2, "app", json!({ (name): value, "user": "ada" }));
        let words: Vec<&str> = [&[program], arguments].concat();
        let ended = imports(&vault).command(words).end();
        assert!(!is_hijacked(&ended), "{name}: {ended:?}");
        let script = format!("{name} is not imported");
        assert!(ended.stderr.contains(&script), "{name}: {ended:?}");
        let prefixed = imports(&vault).without("VAULT_EXEC_SECRETS").option("--secret");
        let prefixed = prefixed.option("APP_*=secret/app").option("--sanitize");
        let shell = "echo $APP_user && exec \"$@\"";
        let words = [&["sh", "-c", shell, "sh", program], arguments].concat();
        let ended = prefixed.command(words).end();
        assert!(!is_hijacked(&ended) && ended.text().starts_with("ada\n"), "{name}: {ended:?}");
    }
}

fn imports(vault: &TestVault) -> Run {
    run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", vault.root_token())
        .env("VAULT_EXEC_SECRETS", "secret/app")
}
