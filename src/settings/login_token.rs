//! `VAULT_TOKEN=vault:login`: the application talks to Vault itself, with the token of our login
//! (pure).

use crate::grammar::reference::is_login;
use crate::secret::Variable;
use crate::settings::layers::Layers;
use crate::settings::names::{OF_CLIENTS, OF_CONNECTION, PREFIXES};

/// What the application gets in addition to the token.
#[derive(Clone, Debug)]
pub struct HandOn {
    /// `VAULT_TOKEN` or `BAO_TOKEN`.
    pub token: String,
    /// The address, namespace and TLS settings that are in effect, and what else vault-env leaves
    /// in place for a Vault client.
    pub variables: Vec<Variable>,
}

/// Returns what is handed on, if a variable asks for it. All variables get the prefix of the one
/// that asks.
pub(crate) fn wanted(layers: &Layers<'_>) -> Option<HandOn> {
    let asks = |prefix: &&str| {
        layers.raw(&format!("{prefix}TOKEN")).is_some_and(|value| is_login(value.expose()))
    };
    let prefix = PREFIXES.into_iter().find(|prefix| asks(prefix))?;
    let in_effect = OF_CONNECTION.iter().filter_map(|(setting, name)| {
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
