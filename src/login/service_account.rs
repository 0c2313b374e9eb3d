//! The token of the pod's service account, which `kubernetes` and `jwt` send.

use std::path::Path;

use super::method::{Method, incomplete, load};
use crate::error::Error;
use crate::settings::credentials::{self, Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;

/// Where Kubernetes puts the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A JWT that the user names, or else the token of the pod's service account.
pub(super) struct ServiceAccount {
    named: Option<Located>,
    method: &'static Method,
    what: &'static str,
}

impl ServiceAccount {
    /// Finds the JWT for a method. `what` is how messages name a missing one.
    ///
    /// # Errors
    /// 78 if there is none.
    pub(super) fn find(
        layers: &Layers<'_>,
        method: &'static Method,
        what: &'static str,
    ) -> Result<ServiceAccount, Error> {
        let named = Located::find(layers, &names::JWT)?;
        if named.is_none() && !Path::new(TOKEN).exists() {
            return Err(incomplete(method, what));
        }
        Ok(ServiceAccount { named, method, what })
    }

    /// Reads the JWT.
    ///
    /// # Errors
    /// 78 if the file cannot be read or is empty.
    pub(super) fn load(&self, client: &Client) -> Result<Loaded, Error> {
        if let Some(named) = &self.named {
            return load(client, named);
        }
        let loaded = credentials::usual_file(Path::new(TOKEN), client.patience.left())?;
        let loaded = loaded.ok_or_else(|| incomplete(self.method, self.what))?;
        client.redactor().add(&loaded.value);
        Ok(loaded)
    }
}
