//! Other tools that are on the `PATH`, doing the same on the same server: one secret into the
//! environment of a program.

use std::fs;
use std::path::Path;

use test_vault::{RealVault, Target, TestVault, json};

use crate::job::{Job, NOTHING};
use crate::table::{ms, table};
use crate::timing::{Rival, medians};

const RUNS: usize = 20;

/// A tool, and how it is told what to do.
struct Tool {
    name: &'static str,
    /// The program that must be there.
    program: &'static str,
    rival: fn(&Job, &Path) -> Rival,
}

const TOOLS: [Tool; 5] = [
    Tool { name: "vault-env", program: "vault-env", rival: vault_env },
    Tool { name: "envconsul", program: "envconsul", rival: envconsul },
    Tool { name: "vaultenv", program: "vaultenv", rival: vaultenv },
    Tool {
        name: "bao agent",
        program: "bao",
        rival: |job, directory| agent("bao", job, directory),
    },
    Tool {
        name: "vault agent",
        program: "vault",
        rival: |job, directory| agent("vault", job, directory),
    },
];

pub(crate) fn run() -> String {
    let (tools, missing): (Vec<&Tool>, Vec<&Tool>) =
        TOOLS.iter().partition(|tool| is_there(tool.program));
    let names = |tools: &[&Tool]| tools.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ");
    let not_run = format!("Not run, for want of the program: {}.\n", names(&missing));
    if tools.is_empty() {
        return not_run;
    }
    let (server, target) = server();
    let job = Job::new(&target, 1, 1);
    let directory = tempfile::tempdir().expect("a directory");
    let ours = job.start(1, 1, "data/", "false");
    let rivals: Vec<Rival> = std::iter::once(ours)
        .chain(tools.iter().map(|tool| (tool.rival)(&job, directory.path())))
        .collect();
    let times = medians(&rivals, RUNS);
    let names = std::iter::once("vault-exec").chain(tools.iter().map(|tool| tool.name));
    let rows: Vec<Vec<String>> = names
        .zip(&times)
        .map(|(name, time)| vec![name.to_owned(), ms(*time), format!("{:.1}", time / times[0])])
        .collect();
    let title = format!("One secret over http from {server}, beside other tools");
    format!(
        "{}\n{}",
        table(&title, &["", "time", "times ours"], &rows),
        if missing.is_empty() { "" } else { &not_run }
    )
}

/// A real server where there is one: some tools ask for more than a test server has.
fn server() -> (String, Target) {
    match RealVault::http() {
        Some(real) => (format!("a real server, {}", real.version()), real.into()),
        None => ("the test server".to_owned(), TestVault::start().into()),
    }
}

pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn rival(words: &[&str], environment: &[(&str, &str)]) -> Rival {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Rival { words: words.iter().map(ToString::to_string).collect(), environment }
}

/// bank-vaults' tool reads the same references. It has no AppRole: a token is given to it.
fn vault_env(job: &Job, _: &Path) -> Rival {
    let reference = format!("vault:{}/data/s0#k0", job.mount);
    rival(
        &["vault-env", NOTHING],
        &[
            ("VAULT_ADDR", &job.addr),
            ("VAULT_TOKEN", &job.token),
            ("VAULT_SKIP_VERIFY", "true"),
            ("S0", &reference),
            ("VAULT_LOG_LEVEL", "error"),
        ],
    )
}

fn envconsul(job: &Job, _: &Path) -> Rival {
    let secret = format!("{}/s0", job.mount);
    rival(
        &[
            "envconsul",
            "-once",
            "-vault-renew-token=false",
            "-log-level=err",
            "-secret",
            &secret,
            NOTHING,
        ],
        &[("VAULT_ADDR", &job.addr), ("VAULT_TOKEN", &job.token)],
    )
}

fn vaultenv(job: &Job, directory: &Path) -> Rival {
    let file = directory.join("secrets");
    fs::write(&file, format!("VERSION 2\nMOUNT {}\nS0=s0#k0\n", job.mount)).expect("a file");
    let file = file.display().to_string();
    let addr = job.addr.trim_start_matches("http://");
    rival(
        &[
            "vaultenv",
            "--no-connect-tls",
            "--addr",
            &format!("http://{addr}"),
            "--secrets-file",
            &file,
            "--token",
            &job.token,
            "--",
            NOTHING,
        ],
        &[],
    )
}

/// The supervisor of an Agent, which ends with the program that it starts.
fn agent(program: &str, job: &Job, directory: &Path) -> Rival {
    let (auth, role_id, secret_id) = job.approle();
    let file = |name: &str, text: &str| {
        let file = directory.join(name);
        fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let method = json!({
        "type": "approle", "mount_path": format!("auth/{auth}"),
        "config": [{
            "role_id_file_path": file("role-id", role_id),
            "secret_id_file_path": file("secret-id", secret_id),
            "remove_secret_id_file_after_reading": false,
        }],
    });
    let template = format!(
        "{{{{ with secret \"{}/data/s0\" }}}}{{{{ .Data.data.k0 }}}}{{{{ end }}}}",
        job.mount
    );
    let config = json!({
        "vault": [{ "address": job.addr }],
        "auto_auth": [{ "method": [method] }],
        "env_template": [{ "S0": { "contents": template } }],
        "exec": [{ "command": [NOTHING] }],
    });
    rival(
        &[
            program,
            "agent",
            "-log-level=error",
            "-config",
            &file("agent.json", &config.to_string()),
        ],
        &[],
    )
}
