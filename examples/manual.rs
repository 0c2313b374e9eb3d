//! Writes the manual page and the completions for bash, zsh and fish into a directory, all of them
//! made from the program's own table of options and from the documentation:
//! `cargo run --example manual -- DIRECTORY`.

#![allow(clippy::format_push_string, reason = "it reads better, and runs once a release")]

use std::env;
use std::fs;
use std::io;
use std::path::Path;

use vault_exec::door::settings::names::{ALL, Setting, Takes};

const EXIT_CODES: &str = include_str!("../docs/exit-codes.md");
const REFERENCES: &str = include_str!("../docs/references.md");

const DESCRIPTION: &str = "\
logs in to HashiCorp Vault or OpenBao, puts the secrets that the application needs into its \
environment, wipes its own credentials, and becomes the application: same process, same pid. \
What the application needs is written into its environment as references, such as
.BR DB_PASSWORD=vault:secret/app#password .
Everything after the first
.B \\-\\-
reaches the application byte for byte.";

/// What a line of the manual page has room for.
const LINE: usize = 60;

const EXAMPLE: &str = "\
export VAULT_ADDR=https://vault.example.com:8200
export VAULT_ROLE_ID=7a1c1e5c-2f0e-4b1b-9d52-5f8f0a4b7d11
export VAULT_SECRET_ID_FILE=/run/secrets/secret-id
export DB_PASSWORD=vault:secret/app#password
vault-exec -- python3 app.py";

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("the directory to write to is missing"));
    };
    let directory = Path::new(&directory);
    for (name, text) in [
        ("vault-exec.1", manual()),
        ("vault-exec.bash", bash()),
        ("_vault-exec", zsh()),
        ("vault-exec.fish", fish()),
    ] {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// The options of the table, each with its name.
fn options() -> impl Iterator<Item = (&'static str, &'static Setting)> {
    ALL.iter().filter_map(|setting| Some((setting.option?, *setting)))
}

/// The word that stands for an option's value; none for a switch.
fn placeholder(setting: &Setting) -> Option<&'static str> {
    match setting.takes {
        Takes::Text(word)
        | Takes::List(word)
        | Takes::OneOf(word, _)
        | Takes::File(word)
        | Takes::Files(word)
        | Takes::Directory(word) => Some(word),
        _ => None,
    }
}

/// The manual page, man(7).
fn manual() -> String {
    let mut page = format!(
        ".TH VAULT\\-EXEC 1 \"\" \"vault\\-exec {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    // No hyphens: they would be read as a part of a name.
    page += ".nh\n.ad l\n";
    page += ".SH NAME\nvault\\-exec \\- start an application with secrets from Vault or OpenBao\n";
    page += ".SH SYNOPSIS\n.B vault\\-exec\n[\\fIoptions\\fR] [\\fB\\-\\-\\fR] \\fIcommand\\fR \
             [\\fIargument\\fR ...]\n";
    page += &format!(".SH DESCRIPTION\n.B vault\\-exec\n{DESCRIPTION}\n");
    page += ".SH OPTIONS\nAn option goes before its variable, and a variable before that of an env \
             file.\n";
    for (name, setting) in options() {
        page += &format!(".TP\n\\fB\\-\\-{}\\fR", roff(name));
        if let Some(word) = placeholder(setting) {
            page += &format!("=\\fI{}\\fR", roff(word));
        }
        page += &format!("\n{}\n", about(setting));
    }
    page += ".SH ENVIRONMENT\nEach variable can begin with BAO_ as well, which goes before VAULT_. \
             An empty one counts as unset. A list is divided by commas.\n";
    for setting in ALL.iter().filter(|setting| !setting.variables.is_empty()) {
        let names = setting.all_variables();
        let names: Vec<String> =
            names.iter().map(|name| format!("\\fBVAULT_{}\\fR", roff(name))).collect();
        page += &format!(".TP\n{}\n", names.join(", "));
        page += &match setting.option {
            Some(option) => format!("is \\fB\\-\\-{}\\fR\n", roff(option)),
            None => format!("{}\n", about(setting)),
        };
    }
    page += ".SH REFERENCES\nThe value of a variable of the application's:\n.nf\n";
    for line in REFERENCES.lines().filter_map(|line| line.strip_prefix("    ")) {
        page += &format!("{}\n", roff(line));
    }
    page += ".fi\n.PP\nWhat these give, for a secret of user, password, lists and more:\n";
    let examples = rows(REFERENCES, "| value of the variable | the application gets |");
    for row in examples.iter().filter(|row| row[1].len() < LINE) {
        page += &format!(".TP\n\\fB{}\\fR\n{}\n", roff(&row[0]), roff(&row[1]));
    }
    page += ".SH EXIT STATUS\n";
    for row in rows(EXIT_CODES, "| code | meaning |") {
        page += &format!(".TP\n{}\n{}\n", roff(&row[0]), roff(&row[1]));
    }
    page += ".PP\nEvery other code is the application's own.\n";
    page += &format!(".SH EXAMPLE\n.nf\n{}\n.fi\n", roff(EXAMPLE));
    page
}

/// What a setting does, and its default.
fn about(setting: &Setting) -> String {
    let default = if setting.default.is_empty() || setting.default == "false" {
        String::new()
    } else {
        format!(" (default: {})", setting.default)
    };
    let often =
        if setting.is_repeatable() && setting.option.is_some() { "; repeatable" } else { "" };
    roff(&format!("{}{often}{default}", setting.help))
}

/// The rows of the table of a page whose header begins like this, without backquotes.
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let line = line.replace("\\|", "\0");
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').replace('`', "").replace('\0', "|"))
                .collect()
        })
        .collect()
}

/// A text as roff(7) has to be given it.
fn roff(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        if line.starts_with('.') { format!("\\&{line}") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The options that take a value, or those that take none.
fn words(with_value: bool) -> String {
    let names = options().filter(|(_, setting)| placeholder(setting).is_some() == with_value);
    names.map(|(name, _)| format!("--{name}")).collect::<Vec<_>>().join(" ")
}

fn bash() -> String {
    let mut cases = String::new();
    for (name, setting) in options() {
        let complete = match setting.takes {
            Takes::OneOf(_, words) => format!("-W '{}'", words.join(" ")),
            Takes::File(_) | Takes::Files(_) => "-f".to_owned(),
            Takes::Directory(_) => "-d".to_owned(),
            _ => continue,
        };
        cases += &format!(
            "            --{name}) mapfile -t COMPREPLY < <(compgen {complete} -- \"$current\") ;;\n"
        );
    }
    include_str!("manual/completion.bash")
        .replace("@VALUED@", &words(true))
        .replace("@SWITCHES@", &words(false))
        .replace("            @CASES@\n", &cases)
}

fn zsh() -> String {
    let escaped = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('\'', "'\\''");
        ["[", "]", ":"].iter().fold(text, |text, c| text.replace(c, &format!("\\{c}")))
    };
    let mut lines = String::new();
    for (name, setting) in options() {
        let often = if setting.is_repeatable() { "*" } else { "" };
        let action = match setting.takes {
            Takes::OneOf(_, words) => format!("({})", words.join(" ")),
            Takes::File(_) | Takes::Files(_) => "_files".to_owned(),
            Takes::Directory(_) => "_files -/".to_owned(),
            _ => " ".to_owned(),
        };
        let value = placeholder(setting).map(|word| format!(":{}:{action}", escaped(word)));
        let equals = if value.is_some() { "=" } else { "" };
        lines += &format!(
            "    '{often}--{name}{equals}[{}]{}' \\\n",
            escaped(setting.help),
            value.unwrap_or_default()
        );
    }
    format!(
        "#compdef vault-exec\n# Made from the table of options of vault-exec.\n_arguments -S \\\n\
         {lines}    '(-)1:command: _command_names -e' \\\n    '*::argument:_normal'\n"
    )
}

fn fish() -> String {
    let mut lines = "# Made from the table of options of vault-exec.\n\
                     complete --command vault-exec --no-files \
                     --arguments '(__fish_complete_subcommand)'\n"
        .to_owned();
    for (name, setting) in options() {
        let value = match setting.takes {
            Takes::OneOf(_, words) => format!(" --exclusive --arguments '{}'", words.join(" ")),
            Takes::File(_) | Takes::Files(_) | Takes::Directory(_) => {
                " --require-parameter --force-files".to_owned()
            }
            Takes::Text(_) | Takes::List(_) => " --exclusive".to_owned(),
            _ => String::new(),
        };
        let help = setting.help.replace('\\', "\\\\").replace('\'', "\\'");
        lines += &format!(
            "complete --command vault-exec --long-option {name}{value} --description '{help}'\n"
        );
    }
    lines
}
