//! `none`: an Agent or a Proxy adds its own token to requests that have none.

use super::{Method, Way};
use crate::error::{Error, Errors};
use crate::settings::layers::Layers;
use crate::settings::{Revoke, Settings};

pub(super) const METHOD: Method = Method {
    name: super::WITHOUT_LOGIN,
    needs: "an Agent or a Proxy at the address that adds its own token",
    reads: &["VAULT_AGENT_ADDR", "VAULT_ADDR"],
    prepare,
};

fn prepare(_layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    let mut errors = Errors::default();
    if settings.hand_on.is_some() {
        errors.0.push(
            Error::config(
                "the application asks for the token of the login (vault:login), and the auth \
                 method is none",
            )
            .hint(
                "there is no login: let the application ask the Agent or Proxy itself, or log in",
            ),
        );
    }
    if settings.revoke == Revoke::Always {
        errors.0.push(
            Error::config("the auth method is none, and --revoke (VAULT_REVOKE_TOKEN) is true")
                .hint(
                    "the token is that of the Agent or Proxy, which others use too: leave \
                     --revoke out",
                ),
        );
    }
    errors.or(Way::Added)
}
