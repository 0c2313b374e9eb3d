//! `token`: the user brings a token along.

use std::path::Path;

use super::{Given, Method, Way, check_token, incomplete};
use crate::error::{Error, Errors};
use crate::settings::Settings;
use crate::settings::credentials::{self, Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;

pub(super) const METHOD: Method = Method {
    name: "token",
    needs: "VAULT_TOKEN or VAULT_TOKEN_FILE, or ~/.vault-token where the method is named",
    reads: &["VAULT_TOKEN", "VAULT_TOKEN_FILE"],
    prepare,
};

fn prepare(layers: &Layers<'_>, _settings: &Settings) -> Result<Way, Errors> {
    let loaded = match Located::find(layers, &names::TOKEN)? {
        Some(found) => found.load()?,
        None => from_home(layers)?,
    };
    check_token(&loaded.value).map_err(|error| error.at(&loaded.origin))?;
    Ok(Way::Given(Given { token: loaded.value, files: loaded.file.into_iter().collect() }))
}

/// The file in which `vault login` keeps the token.
fn from_home(layers: &Layers<'_>) -> Result<Loaded, Error> {
    let home = layers.environment.iter().find(|variable| variable.name == "HOME");
    let home = home.and_then(|home| home.value.expose_text()).filter(|home| !home.is_empty());
    let loaded = home
        .map_or(Ok(None), |home| credentials::usual_file(&Path::new(home).join(".vault-token")))?;
    loaded.ok_or_else(|| incomplete(&METHOD, "token"))
}
