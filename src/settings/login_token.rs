//! `VAULT_TOKEN=vault:login`: the application talks to Vault itself, with the token of our login
//! (pure).

use std::ffi::OsStr;

use crate::grammar::reference::is_login;
use crate::plan::{Origin, Source};
use crate::secret::Variable;
use crate::settings;
use crate::settings::layers::{Layers, PREFIXES};

/// What reaches the application beside its token.
#[derive(Clone, Debug)]
pub struct HandOn {
    /// `VAULT_TOKEN` or `BAO_TOKEN`.
    token: String,
    /// Address, namespace and TLS as they are in effect, and what else vault-env leaves in place
    /// for a Vault client.
    pub variables: Vec<Variable>,
}

/// Settings of a Vault client that vault-exec has no use for, or another one.
const OF_CLIENTS: [&str; 5] = ["CLIENT_TIMEOUT", "MAX_RETRIES", "SRV_LOOKUP", "WRAP_TTL", "MFA"];

/// Whether a variable is the one that may ask for the token of the login.
pub fn is_token(name: &OsStr) -> bool {
    PREFIXES.iter().any(|prefix| name == OsStr::new(&format!("{prefix}TOKEN")))
}

/// What is handed on, where it is asked for. The prefix of the variable that asks is that of all.
pub fn wanted(layers: &Layers<'_>) -> Option<HandOn> {
    let asks = |prefix: &&str| {
        layers.raw(&format!("{prefix}TOKEN")).is_some_and(|value| is_login(value.expose()))
    };
    let prefix = PREFIXES.into_iter().find(|prefix| asks(prefix))?;
    let in_effect = settings::OF_CONNECTION.iter().filter_map(|(setting, name)| {
        let value = layers.one(setting)?.value.trimmed();
        (!value.is_empty()).then(|| Variable::new(format!("{prefix}{name}"), value))
    });
    let of_clients = OF_CLIENTS.iter().filter_map(|name| {
        let name = format!("{prefix}{name}");
        layers.raw(&name).map(|value| Variable::new(name.clone(), value.clone()))
    });
    Some(HandOn {
        token: format!("{prefix}TOKEN"),
        variables: in_effect.chain(of_clients).collect(),
    })
}

impl HandOn {
    /// Where the value of a variable comes from, if it is one of those that are handed on.
    pub fn source(&self, name: &OsStr) -> Option<Source> {
        if name == OsStr::new(&self.token) {
            return Some(Source::Token);
        }
        let found = self.variables.iter().find(|variable| variable.name == name)?;
        Some(Source::Value(found.value.clone(), Origin::Setting))
    }
}
