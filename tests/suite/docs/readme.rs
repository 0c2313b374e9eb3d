//! The documentation says what is true: its examples are run, its tables are compared with the source.

mod methods;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Map;
use test_vault::{
    Operator, Postgres, Target, Value, json, on_every_vault, on_every_vault_with_database,
};

use vault_exec::door::grammar::variable::{CONTROLLING, IN_ANY_CASE};
use vault_exec::door::settings::names::{self, Setting};

use crate::docs::pages::{TEXT, TEXTS};
use crate::docs::shell::Shell;
use crate::support::{Ended, binary, directory, run, run_at};

const JOB: &str = include_str!("../../../examples/kubernetes/job.yaml");
const DOCKERFILE: &str = include_str!("../../../Dockerfile.example");
const ERROR: &str = include_str!("../../../src/error.rs");

/// The address that the documentation writes in examples that print one.
const SHOWN_ADDRESS: &str = "http://127.0.0.1:8200";
/// What the ids of leases begin with, and the rest of the one that the documentation shows.
const SHOWN_LEASE: (&str, &str) = ("lease database/creds/app/", "Zp0Hk1aWqT");

/// A fenced block: the words behind the fence, and the text.
#[derive(Clone, Debug)]
struct Block {
    page: &'static str,
    language: &'static str,
    /// The file that it is, where it is one.
    file: Option<&'static str>,
    text: String,
}

fn blocks() -> Vec<Block> {
    TEXTS.iter().flat_map(|(page, text)| blocks_of(page, text)).collect()
}

fn blocks_of(page: &'static str, text: &'static str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), is_open) {
            (Some(info), false) => {
                let mut words = info.split_whitespace();
                let language = words.next().expect("every block says what it is");
                let file = words.next();
                blocks.push(Block { page, language, file, text: String::new() });
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => blocks.last_mut().expect("an open block").text.extend([line, "\n"]),
            (None, false) => {}
        }
    }
    assert!(!is_open, "a block of {page} is not closed");
    blocks
}

fn blocks_in(language: &str) -> Vec<Block> {
    let found: Vec<Block> =
        blocks().into_iter().filter(|block| block.language == language).collect();
    assert!(!found.is_empty(), "no {language} block");
    found
}

/// The rows of all tables with this header, each cut into its cells. A bar in a cell is `\|`.
fn table(header: &str) -> Vec<Vec<String>> {
    let cell = |cell: &str| cell.trim().replace('\0', "|");
    let lines: Vec<&str> = TEXT.lines().collect();
    let tables = lines.iter().enumerate().filter(|(_, line)| **line == header);
    let rows: Vec<Vec<String>> = tables
        .flat_map(|(at, _)| lines[at + 2..].iter().take_while(|line| line.starts_with('|')))
        .map(|line| line.replace("\\|", "\0").trim_matches('|').split('|').map(cell).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

/// The texts in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What stands between `before` and `after`, everywhere.
fn between<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

/// A directory with its files in it, and a Vault with what the documentation's operator sets up.
struct Scene<'a> {
    target: &'a Target,
    directory: tempfile::TempDir,
    /// Whether the blocks are run as they stand: where there is a real server, its command line is
    /// there too.
    has_cli: bool,
    /// Whether there is a database secrets engine, which a real server has where there is a
    /// PostgreSQL.
    has_database: bool,
    /// The shell of a page, which all of its examples are typed into.
    shell: RefCell<Option<(&'static str, Shell)>>,
}

impl Scene<'_> {
    fn new(target: &Target) -> Scene<'_> {
        let directory = directory();
        let programs = directory.path().join("programs");
        fs::create_dir(&programs).expect("a directory");
        link(&binary(), &programs.join("vault-exec"));
        let cli = if target.own().is_none() { command_line_of_vault() } else { None };
        if let Some(cli) = &cli {
            link(cli, &programs.join("vault"));
        }
        let postgres = if target.own().is_none() { Postgres::shared() } else { None };
        let has_database = target.own().is_some() || postgres.is_some();
        if has_database {
            target.operator().enable_database(
                "database",
                "app",
                json!({ "default_ttl": "1h" }),
                postgres,
            );
        }
        Scene { target, directory, has_cli: cli.is_some(), has_database, shell: RefCell::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Does what a block says.
    fn play(&self, block: &Block) {
        match (block.language, block.file) {
            // What another program was started with.
            (_, Some("before")) => {}
            (_, Some("after")) => self.start(block),
            (_, Some(method)) if method.starts_with("for-") => {}
            (_, Some(file)) => {
                fs::write(self.path(file), &block.text).expect("a file of the documentation");
            }
            ("sh", None) if self.has_cli => {
                let ended = self.shell(&format!("set -e\n{}", block.text));
                assert_eq!(ended.code, Some(0), "{}\n{}{}", block.text, ended.text(), ended.stderr);
            }
            ("sh", None) => block.text.lines().for_each(|line| self.operate(line)),
            ("console", None) if self.has_database || !block.text.contains("vault:database/") => {
                self.compare(block);
            }
            _ => {}
        }
    }

    /// Types the lines behind `$ ` into the shell of the page, which must print the others.
    fn compare(&self, block: &Block) {
        let lines = || block.text.lines();
        let commands: Vec<&str> = lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        let expected: Vec<&str> = lines().filter(|line| !line.starts_with("$ ")).collect();
        let mut shell = self.shell.borrow_mut();
        if shell.as_ref().is_none_or(|(page, _)| *page != block.page) {
            *shell = Some((block.page, Shell::open(self.container(block.page))));
        }
        let (_, shell) = shell.as_mut().expect("a shell");
        let printed = shell.type_in(&commands.join("\n"));
        let printed = with_shown_leases(&printed.replace(&self.target.addr(), SHOWN_ADDRESS));
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{}: {commands:#?}", block.page);
    }

    /// A shell as a container's application has it: the pages behind the README have the
    /// credentials that it sets.
    fn container(&self, page: &str) -> Command {
        let mut command = self.bare_shell();
        if page != "README.md" {
            command.env("VAULT_ROLE_ID_FILE", "role-id").env("VAULT_SECRET_ID_FILE", "secret-id");
        }
        command
    }

    /// Starts what a manifest or a Dockerfile starts, at the Vault of the scene: each of its
    /// variables that has a reference must reach the application without it.
    fn start(&self, block: &Block) {
        let (variables, command) = match block.language {
            "yaml" => {
                (of_manifest(&block.text), between(&block.text, "command: ", '\n')[0].to_owned())
            }
            _ => (
                of_dockerfile(&block.text),
                between(&block.text, "ENTRYPOINT ", '\n')[0].to_owned(),
            ),
        };
        let words: Vec<String> = serde_json::from_str(&command).expect("a command");
        assert_eq!(words[..2], ["/vault-exec", "--"]);
        let ours = |name: &str| {
            ["VAULT_ADDR", "VAULT_ROLE_ID", "VAULT_SECRET_ID"]
                .iter()
                .any(|ours| name.starts_with(ours))
        };
        let run = run_at(self.target)
            .env("VAULT_ROLE_ID_FILE", self.path("role-id"))
            .env("VAULT_SECRET_ID_FILE", self.path("secret-id"));
        let set = variables.iter().filter(|(name, _)| !ours(name));
        let environment = set.fold(run, |run, (name, value)| run.env(name, value)).environment();
        let references: Vec<_> =
            variables.iter().filter(|(_, value)| value.contains("vault:")).collect();
        assert!(references.len() > 1, "{variables:?}");
        for (name, _) in references {
            assert!(
                environment.get(name).is_some_and(|value| !value.contains("vault:")),
                "{name}: {environment:?}"
            );
        }
        let from_path = variables.iter().any(|(name, _)| name == "VAULT_ENV_FROM_PATH");
        assert_eq!(environment.contains_key("password"), from_path);
    }

    /// Runs what an operator types.
    fn shell(&self, script: &str) -> Ended {
        let mut command = self.bare_shell();
        command.env("VAULT_TOKEN", self.target.root_token()).args(["-c", script]);
        Ended::of(command.output().expect("a shell"))
    }

    fn bare_shell(&self) -> Command {
        let mut search = self.path("programs").into_os_string();
        search.push(":");
        search.push(std::env::var_os("PATH").expect("a PATH"));
        let mut command = Command::new("sh");
        command.env_clear().current_dir(self.directory.path());
        command
            .env("PATH", search)
            .env("HOME", self.directory.path())
            .env("VAULT_ADDR", self.target.addr());
        if let Some(ca) = self.target.ca_file() {
            command.env("VAULT_CACERT", ca);
        }
        command
    }

    /// Does to the project's own Vault what a `vault …` line does to a real one.
    fn operate(&self, line: &str) {
        let (line, output) =
            line.split_once(" > ").map_or((line, None), |(line, file)| (line, Some(file)));
        let words: Vec<&str> = line.split_whitespace().collect();
        let (flags, words): (Vec<&str>, Vec<&str>) =
            words.into_iter().partition(|word| word.starts_with('-'));
        let operator = self.target.operator();
        let content =
            |name: &str| fs::read_to_string(self.path(name)).expect("a file of the documentation");
        let answer = match words.as_slice() {
            ["vault", "kv", "put", path, file] => {
                let (mount, path) = path.split_once('/').expect("a mount");
                let secret =
                    content(file.strip_prefix('@').expect("a file")).parse().expect("JSON");
                operator.kv_put(mount, 2, path, secret);
                Value::Null
            }
            ["vault", "policy", "write", name, file] => {
                operator.policy(name, &content(file));
                Value::Null
            }
            ["vault", "secrets", "enable", engine] => {
                operator.write(&format!("sys/mounts/{engine}"), json!({ "type": engine }));
                Value::Null
            }
            ["vault", "auth", "enable", method] => {
                operator.write(&format!("sys/auth/{method}"), json!({ "type": method }));
                Value::Null
            }
            ["umask", "077"] => return,
            ["vault", "read", path] => operator.read(path),
            ["vault", "token", "create"] => create_token(&operator, &flags),
            ["vault", "write", path] if flags.iter().any(|flag| flag.starts_with("-wrap-ttl=")) => {
                wrapped_secret_id(&operator, path, &flags)
            }
            ["vault", "write", path, pairs @ ..] => {
                let pairs = pairs.iter().map(|pair| pair.split_once('=').expect("name=value"));
                let read =
                    |value: &str| value.strip_prefix('@').map_or_else(|| value.to_owned(), content);
                let body: Map<String, Value> =
                    pairs.map(|(name, value)| (name.to_owned(), json!(read(value)))).collect();
                operator.write(path, Value::Object(body))
            }
            _ => panic!("not understood: {line}"),
        };
        let Some(output) = output else { return };
        let field = flags
            .iter()
            .find_map(|flag| flag.strip_prefix("-field="))
            .expect("a field for the file");
        let text = match field {
            "token" => &answer["auth"]["client_token"],
            "wrapping_token" => &answer["wrap_info"]["token"],
            field => &answer["data"][field],
        };
        let path = self.path(output);
        fs::write(&path, text.as_str().expect("a text")).expect("a file of the operator");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
}

/// The text with the lease of the documentation in place of each.
fn with_shown_leases(text: &str) -> String {
    let (start, id) = SHOWN_LEASE;
    let mut parts = text.split(start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + start + id + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric())
    })
}

/// The variables of a manifest, each on a line `- { name: NAME, value: VALUE }`.
fn of_manifest(text: &str) -> Vec<(String, String)> {
    let entries =
        text.lines().filter_map(|line| line.trim().strip_prefix("- { name: ")?.strip_suffix(" }"));
    entries.filter_map(|entry| entry.split_once(", value: ")).map(unquoted).collect()
}

/// The variables of a Dockerfile.
fn of_dockerfile(text: &str) -> Vec<(String, String)> {
    let entries = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    entries.map(|entry| unquoted(entry.split_once('=').expect("a value"))).collect()
}

fn unquoted((name, value): (&str, &str)) -> (String, String) {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    // Docker expands `${…}` outside of single quotes.
    let value =
        quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
    (name.to_owned(), value.to_owned())
}

fn create_token(operator: &Operator, flags: &[&str]) -> Value {
    let (policy, ttl) = (value(flags, "-policy="), value(flags, "-ttl="));
    operator.write("auth/token/create", json!({ "policies": [policy], "ttl": ttl }))
}

fn wrapped_secret_id(operator: &Operator, path: &str, flags: &[&str]) -> Value {
    let ["auth", mount, "role", role, "secret-id"] = path.split('/').collect::<Vec<_>>()[..] else {
        panic!("{path}")
    };
    json!({ "wrap_info": { "token": operator.wrapped_secret_id(mount, role, value(flags, "-wrap-ttl=")) } })
}

/// What stands behind a flag of a command of the TEXT.
fn value<'a>(flags: &[&'a str], name: &str) -> &'a str {
    flags.iter().find_map(|flag| flag.strip_prefix(name)).expect("the flag")
}

fn link(to: &Path, from: &Path) {
    std::os::unix::fs::symlink(to, from).expect("a link");
}

/// `vault`, or `bao`, which understands the same commands.
fn command_line_of_vault() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = ["bao", "vault"].into_iter().flat_map(|name| {
        std::env::split_paths(&path).map(move |directory| directory.join(name)).collect::<Vec<_>>()
    });
    candidates.into_iter().find(|candidate| candidate.is_file())
}

#[test]
fn the_examples_do_what_they_show() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        for block in blocks() {
            scene.play(&block);
        }
        references(&scene);
        imports(&scene);
    });
}

/// Every row of the table of references, all in one start.
fn references(scene: &Scene<'_>) {
    let rows = table("| value of the variable | the application gets | |");
    let mut run = run_at(scene.target)
        .env("VAULT_ROLE_ID_FILE", scene.path("role-id"))
        .env("VAULT_SECRET_ID_FILE", scene.path("secret-id"));
    for (number, row) in rows.iter().enumerate() {
        run = run.env(format!("ROW_{number}"), quoted(&row[0])[0]);
    }
    let environment = run.environment();
    for (number, row) in rows.iter().enumerate() {
        let expected = if row[1] == "(left out)" { None } else { Some(quoted(&row[1])[0]) };
        assert_eq!(
            environment.get(&format!("ROW_{number}")).map(String::as_str),
            expected,
            "{}",
            row[0]
        );
    }
}

/// Every row of the table of imports gives the variables that it names.
fn imports(scene: &Scene<'_>) {
    for row in table("| option | variables |") {
        let run = run_at(scene.target)
            .env("VAULT_ROLE_ID_FILE", scene.path("role-id"))
            .env("VAULT_SECRET_ID_FILE", scene.path("secret-id"))
            .options(quoted(&row[0])[0].split_whitespace());
        let imported: BTreeSet<String> =
            run.environment().into_keys().filter(|name| name != "PATH").collect();
        let expected: BTreeSet<String> = quoted(&row[1]).into_iter().map(str::to_owned).collect();
        assert_eq!(imported, expected, "{}", row[0]);
    }
}

#[test]
fn dynamic_secrets_are_as_they_are_described() {
    on_every_vault_with_database(|target, postgres| {
        let (operator, mount) = (target.operator(), target.unique("database"));
        operator.enable_database(&mount, "app", json!({ "default_ttl": "1h" }), postgres);
        operator
            .policy(&mount, &format!("path \"{mount}/creds/app\" {{ capabilities = [\"read\"] }}"));
        operator.enable_approle(&mount);
        let run = |role: Value| {
            operator.approle_role(&mount, "app", role);
            run_at(target)
                .env("VAULT_AUTH_MOUNT", &mount)
                .env("VAULT_ROLE_ID", operator.role_id(&mount, "app"))
                .env("VAULT_SECRET_ID", operator.secret_id(&mount, "app", json!({})))
                .env("A", format!("vault:{mount}/creds/app#username"))
                .env("B", format!("vault:{mount}/creds/app#password"))
        };
        let role = |ttl: &str, uses: u8| json!({ "token_policies": [mount], "token_ttl": ttl, "token_num_uses": uses });
        let leases = |count| operator.wait_for_leases(&mount, count, Duration::from_secs(10)).len();

        let used_up = run(role("8h", 1));
        used_up.fails(78, &["token_num_uses"]);
        assert_eq!(leases(0), 0);
        let checked = run(role("8h", 0)).option("--check").end();
        assert!(
            checked.code == Some(0) && checked.text().contains(", lease "),
            "{}",
            checked.stderr
        );
        assert_eq!(leases(0), 0);

        let logged = run(role("8h", 2)).options(["--log-level", "info"]).marker().end();
        assert!(
            logged.started() && logged.stderr.contains(&format!("lease {mount}/creds/app/")),
            "{}",
            logged.stderr
        );
        assert_eq!(leases(1), 1);
        let warned = run(role("5m", 0)).marker().end();
        assert!(
            warned.started() && warned.stderr.contains("with the token that it was made with"),
            "{}",
            warned.stderr
        );
        assert_eq!(leases(2), 2);
        let revoked = run(role("8h", 0)).options(["--revoke", "true"]).marker().end();
        assert!(
            revoked.started() && revoked.stderr.contains("the dynamic secrets end with it"),
            "{}",
            revoked.stderr
        );
        assert_eq!(leases(2), 2);
    });
}

#[test]
fn every_value_in_the_table_of_errors_is_one() {
    let target = Target::from(test_vault::TestVault::start());
    let rows = table("| value of the variable | why |");
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        run_at(&target)
            .env("VAULT_TOKEN", target.root_token())
            .env("ROW", quoted(&row[0])[0])
            .fails(78, &["vault-exec: error: ROW: "]);
    }
}

#[test]
fn a_policy_that_allows_less_is_not_enough() {
    let vault = test_vault::TestVault::start();
    let target = Target::from(vault);
    let scene = Scene::new(&target);
    let is_started = |block: &&Block| block.language == "console" || block.file == Some("after");
    blocks().iter().filter(|block| !is_started(block)).for_each(|block| scene.play(block));
    let policy = blocks_in("hcl")[0].text.replace("secret/data/app", "secret/data/other");
    assert_ne!(policy, blocks_in("hcl")[0].text);
    target.operator().policy("app", &policy);
    run_at(&target)
        .env("VAULT_ROLE_ID_FILE", scene.path("role-id"))
        .env("VAULT_SECRET_ID_FILE", scene.path("secret-id"))
        .env("A", "vault:secret/app#user")
        .fails(77, &["A: ", "permission denied"]);
}

/// The variables of a setting, as the documentation names them.
fn variables(setting: &Setting) -> BTreeSet<String> {
    setting.all_variables().iter().map(|name| format!("VAULT_{name}")).collect()
}

#[test]
fn the_table_of_settings_is_that_of_the_source() {
    let rows = table("| option | variable | default | meaning |");
    for row in &rows {
        let option = quoted(&row[0]).first().map(|option| option.trim_start_matches("--"));
        let named: BTreeSet<String> = quoted(&row[1]).into_iter().map(str::to_owned).collect();
        let setting = names::ALL
            .iter()
            .find(|setting| setting.option == option && variables(setting) == named);
        let setting = setting.unwrap_or_else(|| panic!("no setting like {row:?}"));
        assert_eq!(row[2].replace('`', ""), setting.default, "{row:?}");
    }
    for setting in names::ALL.iter().filter(|setting| setting.option.is_some()) {
        let option = format!("`--{}`", setting.option.expect("an option"));
        assert!(rows.iter().any(|row| row[0] == option), "{option}");
    }
}

#[test]
fn help_has_every_option_and_no_other() {
    let help = run().option("--help").end().text();
    let options: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  --"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    let named: BTreeSet<&str> = names::ALL.iter().filter_map(|setting| setting.option).collect();
    assert_eq!(named, options);
}

#[test]
fn every_variable_is_documented() {
    for name in names::ALL.iter().flat_map(|setting| variables(setting)) {
        assert!(TEXT.contains(&format!("{name}`")) || TEXT.contains(&format!("{name}=")), "{name}");
    }
}

#[test]
fn names_that_are_never_imported_are_those_of_the_source() {
    for name in CONTROLLING.iter().chain(IN_ANY_CASE) {
        assert!(TEXT.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_table_of_exit_codes_is_that_of_the_source() {
    let source: BTreeSet<&str> =
        between(ERROR, "=> ", ',').into_iter().filter(|code| code.parse::<u8>().is_ok()).collect();
    let rows = table("| code | meaning |");
    let named: BTreeSet<&str> =
        rows.iter().map(|row| row[0].as_str()).filter(|code| *code != "128+n").collect();
    assert!(source.len() >= 9, "{source:?}");
    assert_eq!(named, source);
    let values = between(JOB, "values: [", ']');
    for code in values.iter().flat_map(|values| values.split(',')).map(str::trim) {
        assert!(named.contains(code), "{code} in the Job");
    }
    assert_eq!(values.len(), 1);
}

/// Instructions of a Dockerfile, with continued lines put together.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.trim().split_once(' '));
    lines.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect()
}

#[test]
fn the_dockerfiles_start_the_application_through_the_binary() {
    let blocks = blocks_in("dockerfile");
    for text in blocks.iter().map(|block| block.text.as_str()).chain([DOCKERFILE]) {
        let instructions = instructions(text);
        let all = |name: &str| {
            instructions
                .iter()
                .filter(|found| found.0 == name)
                .map(|found| found.1.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("ENTRYPOINT"), [r#"["/vault-exec", "--"]"#]);
        assert_eq!(all("CMD"), [r#"["python3", "/app.py"]"#]);
        assert!(all("COPY").iter().any(|copy| copy.ends_with(" /vault-exec")), "{text}");
        for (name, rest) in &instructions {
            let known = ["FROM", "COPY", "RUN", "WORKDIR", "ENV", "ENTRYPOINT", "CMD", "USER"]
                .contains(&name.as_str());
            assert!(known, "{name} {rest}");
            // A reference is not a secret; credentials are given at the start.
            assert!(
                !["SECRET_ID=", "VAULT_TOKEN="].iter().any(|name| rest.contains(name)),
                "{rest}"
            );
        }
        let stages: Vec<&str> =
            all("FROM").iter().filter_map(|from| from.split(" AS ").nth(1)).collect();
        // The repository of vault-exec is a build context of its own.
        let stages = [stages, vec!["vault-exec"]].concat();
        for stage in all("COPY").iter().flat_map(|copy| between(copy, "--from=", ' ')) {
            assert!(stages.contains(&stage), "no stage {stage}");
        }
    }
}

/// The command of the documentation that shows a start.
fn quick_start() -> Command {
    let Some(words) = blocks_in("shell").iter().find_map(|block| {
        let line = block.text.lines().next()?;
        line.contains("quickstart")
            .then(|| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }) else {
        panic!("the documentation does not name the quick start")
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| words[0].clone().into());
    let mut command = Command::new(cargo);
    // What cargo tells a test about its package would make build scripts run again that look at it,
    // as ring's does.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(name);
    }
    command.args(&words[1..]).arg("--").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

#[test]
fn the_quick_start_ends_with_the_exit_code_of_the_application() {
    let output = quick_start()
        .args(["sh", "-c", "test \"$DB_USER\" = ada && env | grep -c ^VAULT_; exit 7"])
        .output()
        .expect("cargo runs");
    let ended = Ended::of(output);
    assert_eq!(ended.code, Some(7), "{}{}", ended.text(), ended.stderr);
    assert!(
        ended.text().contains("\n0\n"),
        "no VAULT_ variable reaches the application: {}",
        ended.text()
    );
    assert!(ended.text().contains("vault write auth/approle/role/app"), "{}", ended.text());
}

#[test]
fn what_the_quick_start_prints_can_be_typed_while_it_stays() {
    let mut started = quick_start()
        .arg("--stay")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs");
    let output = BufReader::new(started.stdout.take().expect("piped"));
    let lines = output.lines().map(|line| line.expect("UTF-8"));
    let printed: Vec<String> = lines.take_while(|line| !line.contains("server stays")).collect();
    // What an operator types needs a command line of Vault.
    let typed = printed.iter().filter(|line| !line.contains("vault ")).cloned();
    let script = typed.collect::<Vec<_>>().join("\n");
    let ended = Ended::of(Command::new("sh").args(["-c", &script]).output().expect("a shell"));
    drop(started.stdin.take());
    assert!(started.wait().expect("it ends").success());
    assert_eq!(ended.code, Some(0), "{script}\n{}", ended.stderr);
    assert!(ended.text().contains("ada"), "{script}\n{}", ended.text());
}

#[test]
fn the_complete_dockerfile_copies_what_there_is() {
    let instructions = instructions(DOCKERFILE);
    let sources =
        instructions.iter().filter(|(name, rest)| name == "COPY" && !rest.starts_with("--from="));
    let sources: Vec<&str> = sources.filter_map(|(_, rest)| rest.split(' ').next()).collect();
    assert!(sources.contains(&"app.py"), "{sources:?}");
    for source in sources {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        assert!(examples.join(source).exists(), "{source}");
    }
    let is_build = |(name, rest): &(String, String)| {
        name == "RUN"
            && rest.starts_with("cargo static --target ")
            && rest.ends_with("/release/vault-exec /vault-exec")
            && rest.contains("install -m 0711 ")
    };
    assert!(instructions.iter().any(is_build), "{instructions:?}");
    assert!(DOCKERFILE.contains("COPY --from=build /vault-exec /vault-exec\n"));
}

#[test]
fn other_names_of_vaults_are_no_errors_and_are_stripped() {
    let rows = table("| variable | what happens |");
    let names: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert!(names.contains(&"VAULT_WRAP_TTL") && names.len() > 10, "{names:?}");
    let target = Target::from(test_vault::TestVault::start());
    target.operator().kv_put("secret", 2, "app", json!({ "user": "ada" }));
    let run =
        run_at(&target).env("VAULT_TOKEN", target.root_token()).env("A", "vault:secret/app#user");
    let run = names.iter().fold(run, |run, name| run.env(*name, "an odd value"));
    let environment = run.environment();
    assert_eq!(environment.get("A").map(String::as_str), Some("ada"));
    assert!(!environment.keys().any(|name| name.starts_with("VAULT_")), "{environment:?}");
}

/// The manifests, and what a line of each begins with that sets a variable.
fn manifests() -> Vec<(PathBuf, Vec<(String, String)>)> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let is_variable = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let of_kubernetes = fs::read_dir(examples.join("kubernetes")).expect("a directory");
    let mut found: Vec<_> = of_kubernetes
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), of_manifest(&fs::read_to_string(path).expect("a manifest"))))
        .map(|(path, pairs)| {
            (path, pairs.into_iter().filter(|(name, _)| is_variable(name)).collect())
        })
        .collect();
    let of_lines = |name: &str, divider: &str, begins: &str| {
        let path = examples.join(name);
        let text = fs::read_to_string(&path).expect("a manifest");
        let pairs = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(begins)?.split_once(divider))
            .filter(|(name, _)| is_variable(name.trim()))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"').replace("$$", "$")))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        (path, pairs)
    };
    found.push(of_lines("compose.yaml", ": ", ""));
    found.push(of_lines("swarm.yaml", ": ", ""));
    found.push(of_lines("nomad.hcl", " = ", ""));
    found.push(of_lines("systemd/app.service", "=", "Environment="));
    found
}

/// No setting of a manifest is unknown or wrong, and each reference is one: a start comes as far as
/// it comes without Vault.
#[test]
fn the_manifests_are_understood() {
    let mut starts = 0;
    for (path, variables) in manifests() {
        if variables.is_empty() {
            continue;
        }
        let run = variables.iter().fold(run(), |run, (name, value)| run.env(name, value));
        // What the platform puts in place of its own `${…}`, and mounts.
        let run = run.env("VAULT_CACERT", "").env("VAULT_JWT_FILE", "");
        let ended = run.options(["--kv-version", "2", "--print-policy"]).end();
        assert_eq!(ended.code, Some(0), "{}: {}", path.display(), ended.stderr);
        assert!(!ended.stderr.contains("warn"), "{}: {}", path.display(), ended.stderr);
        assert!(ended.text().contains("capabilities"), "{}: {}", path.display(), ended.text());
        starts += 1;
    }
    assert!(starts >= 8, "{starts}");
}
