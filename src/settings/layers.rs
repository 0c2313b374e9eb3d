//! Where a setting's text comes from: option > environment > env files > nothing, and `BAO_X`
//! before `VAULT_X` (pure).

use std::ffi::OsStr;

use crate::cli::Options;
use crate::error::Error;
use crate::grammar::reference;
use crate::grammar::units;
use crate::secret::{Secret, Variable};

/// The prefixes of our variables, in the order in which they are looked for.
pub const PREFIXES: [&str; 2] = ["BAO_", "VAULT_"];

/// A setting: its option and its variables.
#[derive(Debug)]
pub struct Setting {
    /// The option's name without the dashes.
    pub option: Option<&'static str>,
    /// Its variables without their prefix, the one that wins first.
    pub variables: &'static [&'static str],
}

/// A credential: a value in a variable, or the path of a file in another one.
#[derive(Debug)]
pub struct Credential {
    /// The variable without its prefix; with `_FILE` behind it, it names a file.
    pub variable: &'static str,
    /// Another name for the file's variable, without the prefix.
    pub file_alias: Option<&'static str>,
}

/// A setting's text and where it was found.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// The text, which may be a credential.
    pub value: Secret,
    /// What the user calls the place: `--addr`, `VAULT_ADDR`, `VAULT_ADDR in .env.staging`.
    pub origin: String,
}

/// Where a credential is found.
#[derive(Debug)]
pub enum Found {
    /// In a variable.
    Value(Sourced),
    /// In the file of this name.
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

/// All the places in which settings are looked for.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The command line.
    pub options: &'a Options,
    /// The process's environment.
    pub environment: &'a [Variable],
    /// The env files, in the order in which the user named them: a later one wins.
    pub files: &'a [EnvFile],
}

impl Layers<'_> {
    /// The texts of a repeatable setting from the highest layer that has any: an option's values
    /// one by one, a variable's comma list as it is.
    pub fn all(&self, setting: &Setting) -> Vec<Sourced> {
        if let Some(option) = setting.option {
            let texts: Vec<Sourced> =
                self.options.values(option).map(|value| sourced_option(option, value)).collect();
            if !texts.is_empty() {
                return texts;
            }
        }
        self.in_variables(|variables, place| first(variables, setting.variables, place))
            .into_iter()
            .collect()
    }

    /// The text of a setting from the highest layer that has it.
    pub fn one(&self, setting: &Setting) -> Option<Sourced> {
        self.all(setting).pop()
    }

    /// The items of a repeatable setting: each value of the option is one, a variable is a comma
    /// list of them.
    ///
    /// # Errors
    /// A variable that is not UTF-8.
    pub fn items(&self, setting: &Setting) -> Result<Vec<(String, String)>, Error> {
        let mut items = Vec::new();
        for found in self.all(setting) {
            let text = found.text()?;
            if found.origin.starts_with("--") {
                items.push((found.origin.clone(), text.to_owned()));
            } else {
                items.extend(units::list(text).map(|item| (found.origin.clone(), item.to_owned())));
            }
        }
        Ok(items)
    }

    /// A credential from the highest layer that has it.
    ///
    /// # Errors
    /// 78 where one layer has both the value and the file.
    pub fn credential(&self, credential: &Credential) -> Result<Option<Found>, Error> {
        self.in_variables(|variables, place| {
            PREFIXES
                .iter()
                .find_map(|prefix| in_layer(variables, prefix, credential, place).transpose())
        })
        .transpose()
    }

    /// The value of a variable as it stands in the environment, or else in the last of the env
    /// files that has it; one that is empty does not have it.
    pub fn raw(&self, name: &str) -> Option<&Secret> {
        let files = self.files.iter().rev().map(|file| file.variables.as_slice());
        std::iter::once(self.environment)
            .chain(files)
            .find_map(|variables| filled(variables, name))
            .map(|found| &found.value)
    }

    /// A variable that a platform sets, such as `AWS_REGION`. One with a reference in it is yet to
    /// be fetched, and for the application alone.
    pub fn of_platform(&self, name: &str) -> Option<&Secret> {
        self.raw(name).filter(|value| !reference::has_reference(value.expose()))
    }

    /// The same as text, without white space at its ends.
    pub fn text_of_platform(&self, name: &str) -> Option<&str> {
        let text = self.of_platform(name)?.expose_text()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The first answer of `look` to the variables of a layer and the words behind a variable's
    /// name for it.
    fn in_variables<T>(&self, look: impl Fn(&[Variable], &str) -> Option<T>) -> Option<T> {
        let in_files = || {
            self.files
                .iter()
                .rev()
                .find_map(|file| look(&file.variables, &format!(" in {}", file.name)))
        };
        look(self.environment, "").or_else(in_files)
    }
}

impl Sourced {
    /// The text of a setting, without white space at its ends.
    ///
    /// # Errors
    /// 78 where it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        let text = self.value.expose_text().map(str::trim);
        text.ok_or_else(|| Error::config(format!("{}: the value is not UTF-8", self.origin)))
    }
}

fn sourced_option(option: &str, value: &str) -> Sourced {
    Sourced { value: value.into(), origin: format!("--{option}") }
}

fn first(variables: &[Variable], names: &[&str], place: &str) -> Option<Sourced> {
    let full =
        names.iter().flat_map(|name| PREFIXES.iter().map(move |prefix| format!("{prefix}{name}")));
    full.into_iter().find_map(|name| get(variables, &name, place))
}

fn in_layer(
    variables: &[Variable],
    prefix: &str,
    wanted: &Credential,
    place: &str,
) -> Result<Option<Found>, Error> {
    let value = get(variables, &format!("{prefix}{}", wanted.variable), place);
    // It asks for a token and is none.
    let value = value.filter(|found| !reference::is_login(found.value.expose()));
    let file = get(variables, &format!("{prefix}{}_FILE", wanted.variable), place);
    let alias = || get(variables, &format!("{prefix}{}", wanted.file_alias?), place);
    match (value, file.or_else(alias)) {
        (Some(value), Some(file)) => {
            Err(Error::config(format!("{} and {} are both set", value.origin, file.origin))
                .hint("they are one setting: unset one of them"))
        }
        (Some(value), None) => Ok(Some(Found::Value(value))),
        (None, file) => Ok(file.map(Found::File)),
    }
}

fn get(variables: &[Variable], name: &str, place: &str) -> Option<Sourced> {
    let variable = filled(variables, name)?;
    Some(Sourced { value: variable.value.clone(), origin: format!("{name}{place}") })
}

/// A variable by its name. An empty one, or one of white space alone, counts as unset.
fn filled<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    let variable = variables.iter().find(|variable| variable.name == OsStr::new(name))?;
    (!variable.value.expose().trim_ascii().is_empty()).then_some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: Setting = Setting { option: Some("addr"), variables: &["AGENT_ADDR", "ADDR"] };
    const TOKEN: Credential = Credential { variable: "TOKEN", file_alias: Some("TOKEN_PATH") };

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
        layers.one(&ADDR).map(|found| found.origin)
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
            Some(Found::Value(found)) => found.origin,
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
