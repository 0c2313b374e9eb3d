//! Finds the text of a setting. An option wins over the environment, the environment wins over env
//! files, and `BAO_X` wins over `VAULT_X` (pure).

use std::ffi::OsStr;

use crate::cloud::Platform;
use crate::error::Error;
use crate::grammar::reference;
use crate::grammar::sourced::{Origin, Sourced};
use crate::grammar::units;
use crate::secret::{Secret, Variable};
use crate::settings::names::{PREFIXES, Setting, Takes};

/// The values that the command line sets, by option name without the dashes.
#[derive(Debug, Default)]
pub struct Options(Vec<(&'static str, String)>);

impl Options {
    /// Returns every value given to the option `name`, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    /// Adds a value after the existing ones.
    pub fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    /// Creates options as a command line would.
    #[cfg(test)]
    pub fn of(values: &[(&'static str, &str)]) -> Options {
        Options(values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }
}

/// Where a credential was found.
#[derive(Debug)]
pub enum Found {
    /// In a variable.
    Value(Sourced),
    /// In the file with this name.
    File(Sourced),
}

/// An env file's variables and its name.
#[derive(Debug)]
pub struct EnvFile {
    /// As the user wrote it.
    pub name: String,
    /// What it sets.
    pub variables: Vec<Variable>,
}

/// All the places where settings are looked for.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The command line.
    pub options: &'a Options,
    /// The process's environment.
    pub environment: &'a [Variable],
    /// The env files in the order in which the user named them. A later one wins.
    pub files: &'a [EnvFile],
}

impl Layers<'_> {
    /// Returns the texts of a repeatable setting from the highest layer that has any. An option's
    /// values are returned one by one, a variable's comma list as it is.
    pub fn all(&self, setting: &Setting) -> Vec<Sourced> {
        if let Some(option) = setting.option {
            let texts: Vec<Sourced> =
                self.options.values(option).map(|value| sourced_option(option, value)).collect();
            if !texts.is_empty() {
                return texts;
            }
        }
        self.in_variables(|variables, file| first(variables, setting.variables, file))
            .into_iter()
            .collect()
    }

    /// Returns the text of a setting from the highest layer that has it.
    pub fn one(&self, setting: &Setting) -> Option<Sourced> {
        self.all(setting).pop()
    }

    /// Returns the items of a repeatable setting: each value of the option is one item, and a
    /// variable is a comma list of items.
    ///
    /// # Errors
    /// 78 for a variable that is not UTF-8.
    pub fn items(&self, setting: &Setting) -> Result<Vec<(Origin, String)>, Error> {
        let mut items = Vec::new();
        for found in self.all(setting) {
            // A reference in a text is not an unexpanded variable.
            let is_text = matches!(setting.takes, Takes::Lines(_));
            let text = if is_text { found.plain()? } else { found.text()? };
            match found.origin {
                Origin::Option(_) => items.push((found.origin.clone(), text.to_owned())),
                Origin::Variable(_) | Origin::EnvFile { .. } => {
                    let each: Vec<&str> = match setting.takes {
                        Takes::Lines(_) => units::lines(text).collect(),
                        _ => units::list(text).collect(),
                    };
                    let each = each.into_iter().map(str::to_owned);
                    items.extend(each.map(|item| (found.origin.clone(), item)));
                }
            }
        }
        Ok(items)
    }

    /// Returns a credential from the highest layer that has it.
    ///
    /// # Errors
    /// 78 if one layer has both the value and the file.
    pub fn credential(&self, credential: &Setting) -> Result<Option<Found>, Error> {
        self.in_variables(|variables, file| {
            let names = credential.variables.iter();
            let mut all = names.flat_map(|name| PREFIXES.iter().map(move |prefix| (prefix, name)));
            all.find_map(|(prefix, name)| {
                let is_first = credential.variables.first() == Some(name);
                let aliases = if is_first { credential.file_aliases() } else { &[] };
                in_layer(variables, prefix, (name, aliases), file).transpose()
            })
        })
        .transpose()
    }

    /// Returns the value of a variable as it is in the environment, or else in the last env file
    /// that has it. An empty variable counts as missing.
    pub fn raw(&self, name: &str) -> Option<&Secret> {
        let files = self.files.iter().rev().map(|file| file.variables.as_slice());
        std::iter::once(self.environment)
            .chain(files)
            .find_map(|variables| filled(variables, [name, "", ""]))
            .map(|found| &found.value)
    }

    /// Returns the first result of `look`. It is called with the variables of a layer, and the name
    /// of the env file that they are from.
    fn in_variables<T>(&self, look: impl Fn(&[Variable], Option<&str>) -> Option<T>) -> Option<T> {
        let in_files =
            || self.files.iter().rev().find_map(|file| look(&file.variables, Some(&file.name)));
        look(self.environment, None).or_else(in_files)
    }
}

impl Platform for Layers<'_> {
    fn variable(&self, name: &str) -> Option<&Secret> {
        self.raw(name).filter(|value| !reference::has_reference(value.expose()))
    }

    fn environment(&self) -> &[Variable] {
        self.environment
    }
}

fn sourced_option(option: &'static str, value: &str) -> Sourced {
    Sourced { value: value.into(), origin: Origin::Option(option) }
}

/// A name in three parts. Each start looks for hundreds of names, few of which exist: the parts are
/// compared as they are, and joined only when a name is found.
type Parts<'a> = [&'a str; 3];

fn is_called(name: &OsStr, parts: Parts<'_>) -> bool {
    let rest = parts
        .iter()
        .try_fold(name.as_encoded_bytes(), |rest, part| rest.strip_prefix(part.as_bytes()));
    rest.is_some_and(<[u8]>::is_empty)
}

fn first(variables: &[Variable], names: &[&str], file: Option<&str>) -> Option<Sourced> {
    let mut all = names.iter().flat_map(|name| PREFIXES.iter().map(move |prefix| (prefix, name)));
    all.find_map(|(prefix, name)| get(variables, [prefix, name, ""], file))
}

/// Looks for a credential by one of its names, and by the other names of its file.
fn in_layer(
    variables: &[Variable],
    prefix: &str,
    (name, aliases): (&str, &[&str]),
    env_file: Option<&str>,
) -> Result<Option<Found>, Error> {
    let value = get(variables, [prefix, name, ""], env_file);
    // It asks for a token and is not one itself.
    let value = value.filter(|found| !reference::is_login(found.value.expose()));
    let file = get(variables, [prefix, name, "_FILE"], env_file);
    let alias = || aliases.iter().find_map(|alias| get(variables, [prefix, alias, ""], env_file));
    match (value, file.or_else(alias)) {
        (Some(value), Some(file)) => {
            Err(Error::config(format!("{} and {} are both set", value.origin, file.origin))
                .hint("they are one setting: unset one of them"))
        }
        (Some(value), None) => Ok(Some(Found::Value(value))),
        (None, file) => Ok(file.map(Found::File)),
    }
}

fn get(variables: &[Variable], name: Parts<'_>, file: Option<&str>) -> Option<Sourced> {
    let value = filled(variables, name)?.value.clone();
    let name = name.concat();
    let origin = match file {
        None => Origin::Variable(name),
        Some(file) => Origin::EnvFile { variable: name, file: file.to_owned() },
    };
    Some(Sourced { value, origin })
}

/// Returns a variable by its name. A variable that is empty or only white space counts as unset.
fn filled<'a>(variables: &'a [Variable], name: Parts<'_>) -> Option<&'a Variable> {
    let variable = variables.iter().find(|variable| is_called(&variable.name, name))?;
    (!variable.value.expose().trim_ascii().is_empty()).then_some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::names::{ADDR, TOKEN};

    fn variables(pairs: &[(&str, &str)]) -> Vec<Variable> {
        pairs.iter().map(|(name, value)| Variable::new(*name, *value)).collect()
    }

    fn file(name: &str, pairs: &[(&str, &str)]) -> EnvFile {
        EnvFile { name: name.to_owned(), variables: variables(pairs) }
    }

    fn origin(
        options: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        files: &[EnvFile],
    ) -> Option<String> {
        let layers =
            Layers { options: &Options::of(options), environment: &variables(environment), files };
        layers.one(&ADDR).map(|found| found.origin.to_string())
    }

    #[test]
    fn a_higher_layer_wins() {
        let files = [
            file("a", &[("VAULT_ADDR", "1"), ("VAULT_AGENT_ADDR", "2")]),
            file("b", &[("VAULT_ADDR", "3")]),
        ];
        let found = |options: &[_], environment: &[_]| {
            origin(options, environment, &files).unwrap_or_default()
        };
        assert_eq!(found(&[("addr", "o")], &[("BAO_ADDR", "e")]), "--addr");
        assert_eq!(found(&[], &[("VAULT_ADDR", "e")]), "VAULT_ADDR");
        assert_eq!(found(&[], &[("VAULT_ADDR", "")]), "VAULT_ADDR in b");
        assert_eq!(origin(&[], &[], &files[..1]).unwrap_or_default(), "VAULT_AGENT_ADDR in a");
        assert_eq!(origin(&[], &[], &[]), None);
    }

    #[test]
    fn within_a_layer_bao_goes_before_vault_and_a_name_before_its_alias() {
        let found = |environment: &[_]| origin(&[], environment, &[]).unwrap_or_default();
        assert_eq!(found(&[("VAULT_ADDR", "1"), ("BAO_ADDR", "2")]), "BAO_ADDR");
        assert_eq!(found(&[("BAO_ADDR", "1"), ("VAULT_AGENT_ADDR", "2")]), "VAULT_AGENT_ADDR");
        assert_eq!(found(&[("BAO_ADDR", " "), ("VAULT_ADDR", "2")]), "VAULT_ADDR");
    }

    fn token(environment: &[(&str, &str)], files: &[EnvFile]) -> Result<String, Error> {
        let layers =
            Layers { options: &Options::default(), environment: &variables(environment), files };
        Ok(match layers.credential(&TOKEN)? {
            Some(Found::Value(found)) => found.origin.to_string(),
            Some(Found::File(found)) => format!("file of {}", found.origin),
            None => "none".to_owned(),
        })
    }

    #[test]
    fn a_credential_is_a_value_or_a_file_of_the_highest_layer() {
        let files = [file("f", &[("VAULT_TOKEN", "t")])];
        let found = |environment: &[_]| token(environment, &files).unwrap_or_default();
        assert_eq!(found(&[]), "VAULT_TOKEN in f");
        assert_eq!(found(&[("VAULT_TOKEN_FILE", "x")]), "file of VAULT_TOKEN_FILE");
        assert_eq!(found(&[("VAULT_TOKEN_PATH", "x")]), "file of VAULT_TOKEN_PATH");
        assert_eq!(found(&[("VAULT_TOKEN_FILE", "x"), ("BAO_TOKEN", "y")]), "BAO_TOKEN");
        assert_eq!(found(&[("VAULT_TOKEN_FILE", ""), ("VAULT_TOKEN", "y")]), "VAULT_TOKEN");
    }

    #[test]
    fn both_in_one_layer_are_an_error_that_names_both() {
        let both = [("VAULT_TOKEN", "s3cret"), ("VAULT_TOKEN_FILE", "x")];
        let error = token(&both, &[]).expect_err("an error");
        assert!(
            error.message.contains("VAULT_TOKEN and VAULT_TOKEN_FILE")
                && !error.message.contains("s3cret"),
            "{error}"
        );
        assert!(
            token(&[], &[file("f", &both)])
                .expect_err("an error")
                .message
                .contains("VAULT_TOKEN_FILE in f")
        );
    }
}
