//! `VAULT_TOKEN=vault:login`: the application talks to Vault itself, with the token of our login
//! (pure).

use crate::grammar::reference::is_login;
use crate::secret::Variable;
use crate::settings::layers::Layers;
use crate::settings::names::{OF_CLIENTS, OF_CONNECTION, PREFIXES};

/// What reaches the application beside its token.
#[derive(Clone, Debug)]
pub struct HandOn {
    /// `VAULT_TOKEN` or `BAO_TOKEN`.
    pub token: String,
    /// Address, namespace and TLS as they are in effect, and what else vault-env leaves in place
    /// for a Vault client.
    pub variables: Vec<Variable>,
}

/// What is handed on, where it is asked for. The prefix of the variable that asks is that of all.
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
