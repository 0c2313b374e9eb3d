//! The text of `--help`, made from the table of names (pure).

use crate::settings::names::{self, Setting, Takes};

const ABOUT: &str = "\
Usage: vault-exec [options] [--] command [argument ...]

Logs in to Vault or OpenBao, puts secrets into the environment, and becomes the
application.
";

const NOTES: &str = "
BAO_X goes before VAULT_X. An option goes before its variable, and a variable before
an env file's.

References:
  NAME=vault:PATH#KEY[#VERSION][:-DEFAULT]   vault?: if it may be missing
  NAME=>>vault:PATH#KEY[#JSON]               writes
  NAME=https://${vault:PATH#USER}@host       in a text
  NAME=vault:v1:…                            a ciphertext, with VAULT_TRANSIT_KEY_ID

Example:
  VAULT_ADDR=https://vault:8200 VAULT_ROLE_ID=… \\
    VAULT_SECRET_ID_FILE=/run/secret-id \\
    DB_PASSWORD=vault:secret/app#password vault-exec -- python app.py
";

/// The width of a line.
const WIDTH: usize = 84;
/// The column in which the description of an option begins.
const COLUMN: usize = 28;

/// Returns the whole help text.
pub(super) fn text() -> String {
    let mut text = ABOUT.to_owned();
    text.push_str("\nOptions:\n");
    for setting in names::ALL {
        if let Some(name) = setting.option {
            row(&mut text, &format!("--{name}{}", value(setting)), &option(setting));
        }
    }
    text.push_str("\nVariables without an option; credentials are never options:\n");
    for setting in names::ALL.iter().filter(|setting| setting.option.is_none()) {
        row(&mut text, &variables(setting), &meaning(setting));
    }
    text.push_str(NOTES);
    text
}

/// Returns the word that stands for an option's value, after a space.
fn value(setting: &Setting) -> String {
    match setting.takes {
        Takes::Switch | Takes::Credential(_) | Takes::Password => String::new(),
        Takes::Text(word)
        | Takes::List(word)
        | Takes::Lines(word)
        | Takes::OneOf(word, _)
        | Takes::File(word)
        | Takes::Files(word)
        | Takes::Directory(word) => format!(" {word}"),
    }
}

fn option(setting: &Setting) -> String {
    let mut text = meaning(setting);
    if setting.is_repeatable() {
        text.push_str("; repeatable");
    }
    if !setting.variables.is_empty() {
        text.extend([" (", &variables(setting), ")"]);
    }
    text
}

/// Returns what a setting does, and its default if it has one.
fn meaning(setting: &Setting) -> String {
    match setting.default {
        "" | "false" => setting.help.to_owned(),
        default => format!("{}; default: {default}", setting.help),
    }
}

/// Returns the variables of a setting, with one of their prefixes.
fn variables(setting: &Setting) -> String {
    let suffix = if setting.is_credential() { "[_FILE]" } else { "" };
    let names = setting.variables.iter().map(|name| format!("VAULT_{name}{suffix}"));
    let aliases = setting.file_aliases().iter().map(|name| format!("VAULT_{name}"));
    names.chain(aliases).collect::<Vec<_>>().join(", ")
}

/// Adds a row: a name, and its meaning in a separate column.
fn row(text: &mut String, name: &str, meaning: &str) {
    let mut line = format!("  {name}");
    if line.len() + 2 > COLUMN {
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    let mut at = COLUMN;
    line.push_str(&" ".repeat(COLUMN.saturating_sub(line.len())));
    for word in meaning.split(' ') {
        if at > COLUMN && at + 1 + word.len() > WIDTH {
            line.push('\n');
            line.push_str(&" ".repeat(COLUMN));
            at = COLUMN;
        } else if at > COLUMN {
            line.push(' ');
            at += 1;
        }
        line.push_str(word);
        at += word.len();
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_it_and_no_line_is_wide() {
        let text = text();
        for setting in names::ALL {
            assert!(setting.option.is_none_or(|name| text.contains(&format!("  --{name}"))));
            for name in setting.variables {
                assert!(text.contains(&format!("VAULT_{name}")), "{name}");
            }
        }
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH && line.trim_end() == line, "{line}");
        }
    }
}
