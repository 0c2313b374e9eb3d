//! `none`: an Agent or a Proxy adds its own token to requests without one.

use futures_util::future::LocalBoxFuture;

use super::method::{Credentials, LogIn, Method};
use crate::error::{Error, Errors};
use crate::settings::layers::Layers;
use crate::settings::{Revoke, Settings};
use crate::vault::client::Client;
use crate::vault::session::Session;

pub(super) const METHOD: Method = Method {
    name: "none",
    needs: "an Agent or a Proxy at the address that adds its own token",
    reads: &["VAULT_AGENT_ADDR", "VAULT_ADDR"],
    find,
};

/// No credentials: the server at the address adds its own token.
struct LeftToServer;

fn find(_layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
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
    errors.or(Box::new(LeftToServer))
}

impl LogIn for LeftToServer {
    fn log_in<'a>(&'a self, _client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>> {
        Box::pin(async { Ok(Session::default()) })
    }

    fn leaves_token_to_server(&self) -> bool {
        true
    }
}
