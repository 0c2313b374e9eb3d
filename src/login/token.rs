//! `token`: the user provides a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::method::{Credentials, LogIn, Method, incomplete};
use crate::error::{Error, Errors};
use crate::settings::Settings;
use crate::settings::credentials::{self, Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;
use crate::vault::session::{Session, check_token};

pub(super) const METHOD: Method = Method {
    name: "token",
    needs: "VAULT_TOKEN or VAULT_TOKEN_FILE, or ~/.vault-token where the method is named",
    reads: &["VAULT_TOKEN", "VAULT_TOKEN_FILE"],
    find,
};

/// Where the token is.
enum Given {
    Found(Located),
    /// The file where `vault login` keeps the token, if there is a home directory.
    InHome(Option<PathBuf>),
}

fn find(layers: &Layers<'_>, _settings: &Settings) -> Result<Credentials, Errors> {
    Ok(Box::new(match Located::find(layers, &names::TOKEN)? {
        Some(found) => Given::Found(found),
        None => Given::InHome(in_home(layers)),
    }))
}

/// Returns the path of the file where `vault login` keeps the token.
pub(super) fn in_home(layers: &Layers<'_>) -> Option<PathBuf> {
    let home = layers.environment.iter().find(|variable| variable.name == "HOME")?;
    let home = home.value.expose_text().filter(|home| !home.is_empty())?;
    Some(Path::new(home).join(".vault-token"))
}

impl Given {
    fn load(&self, left: Duration) -> Result<Loaded, Error> {
        match self {
            Given::Found(found) => found.load(left),
            Given::InHome(file) => {
                let usual = |file| credentials::usual_file(file, left);
                let loaded = file.as_deref().map_or(Ok(None), usual)?;
                loaded.ok_or_else(|| incomplete(&METHOD, "token"))
            }
        }
    }

    fn session(&self, client: &Client) -> Result<Session, Error> {
        let Loaded { value, origin, file } = self.load(client.patience.left())?;
        client.redactor().add(&value);
        check_token(&value).map_err(|error| error.at(&origin))?;
        Ok(Session::given(value, file.into_iter().collect()))
    }
}

impl LogIn for Given {
    fn log_in<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>> {
        Box::pin(async move { Ok(self.session(client)?) })
    }
}
