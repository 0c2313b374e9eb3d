//! The table of auth methods, and the choice of one.

mod approle;
mod aws;
mod azure;
mod cert;
mod gcp;
mod jwt;
mod kubernetes;
mod ldap;
mod method;
mod none;
mod service_account;
mod token;
mod userpass;
pub(crate) mod wrapping;

pub(crate) use method::{Credentials, Method};

use crate::error::{Error, Errors};
use crate::settings::Settings;
use crate::settings::credentials::Located;
use crate::settings::layers::Layers;
use crate::settings::names;

/// Every auth method of this version.
pub const METHODS: &[&Method] = &[
    &token::METHOD,
    &approle::METHOD,
    &kubernetes::METHOD,
    &jwt::METHOD,
    &cert::METHOD,
    &userpass::METHOD,
    &ldap::METHOD,
    &aws::METHOD,
    &gcp::METHOD,
    &azure::METHOD,
    &none::METHOD,
];

/// The name of the method that does not log in.
pub(crate) const WITHOUT_LOGIN: &str = none::METHOD.name;

/// The number of methods, from the start of the table, that are inferred from what is set.
const INFERRED: usize = 3;

/// Chooses the method and finds its credentials. Does not read files yet.
///
/// # Errors
/// 78 for an unknown method, or for credentials of several methods or of none.
pub(crate) fn credentials(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let method = match &settings.auth_method {
        Some(name) => by_name(name)?,
        None => inferred(layers, settings)?,
    };
    let method = if has_token_beside(method, layers)? { &token::METHOD } else { method };
    log::debug!("auth method {}", method.name);
    (method.find)(layers, settings)
}

/// Returns whether a token is given beside a method that does not need one. The webhook of
/// bank-vaults always sets the method `jwt`, and also a token if a pod has one.
fn has_token_beside(method: &Method, layers: &Layers<'_>) -> Result<bool, Error> {
    let yields = [kubernetes::METHOD.name, jwt::METHOD.name].contains(&method.name);
    Ok(yields && Located::find(layers, &names::TOKEN)?.is_some())
}

/// Looks up the method with this name without reading anything.
///
/// # Errors
/// 78 with the list of known methods.
pub(crate) fn by_name(name: &str) -> Result<&'static Method, Error> {
    // Names that other tools use.
    let known = match name {
        "aws-iam" => "aws",
        "gcp-gce" => "gcp",
        name => name,
    };
    let found = METHODS.iter().copied().find(|method| method.name == known);
    found.ok_or_else(|| {
        Error::config("--auth-method (VAULT_AUTH_METHOD): no such auth method")
            .hint(format!("the auth methods are {}", names(METHODS)))
    })
}

/// Returns the method whose credentials are set, if only one method's are.
fn inferred(layers: &Layers<'_>, settings: &Settings) -> Result<&'static Method, Error> {
    let found = |credential| {
        Ok::<_, Error>(Located::find(layers, credential)?.map(|found| found.origin().to_string()))
    };
    let token = found(&names::TOKEN)?;
    let approle =
        [found(&names::ROLE_ID)?, found(&names::SECRET_ID)?, found(&names::WRAPPED_SECRET_ID)?];
    let approle: Vec<String> = approle.into_iter().flatten().collect();
    match (token, approle.is_empty()) {
        (Some(_), true) => Ok(&token::METHOD),
        (None, false) => Ok(&approle::METHOD),
        (Some(token), false) => Err(Error::config(format!(
            "credentials of two auth methods: {token}, and {}",
            approle.join(", ")
        ))
        .hint(
            "unset those of one of them, or name the method: VAULT_AUTH_METHOD=token or \
             VAULT_AUTH_METHOD=approle",
        )),
        (None, true) if settings.role.is_some() => Ok(&kubernetes::METHOD),
        (None, true) => Err(nothing_found(layers, settings)?),
    }
}

/// Returns the error for when nothing indicates the method. The credentials that are set may belong
/// to a method that has to be named.
fn nothing_found(layers: &Layers<'_>, settings: &Settings) -> Result<Error, Error> {
    let mut found = Vec::new();
    for credential in names::credentials() {
        found.extend(Located::find(layers, credential)?.map(|found| found.origin().to_string()));
    }
    found.extend(settings.username.is_some().then(|| "VAULT_USERNAME".to_owned()));
    found.extend(settings.tls.client.is_some().then(|| "VAULT_CLIENT_CERT".to_owned()));
    let found =
        if found.is_empty() { String::new() } else { format!("; found {}", found.join(", ")) };
    let message = format!("there are secrets to fetch, and no credentials to log in with{found}");
    if found.is_empty() && token::in_home(layers).is_some_and(|file| file.is_file()) {
        return Ok(Error::config(message).hint(
            "set VAULT_AUTH_METHOD=token to use the token of vault login in ~/.vault-token",
        ));
    }
    let (inferred, named) = METHODS.split_at(INFERRED);
    let needs = inferred.iter().map(|method| format!("{} needs {}", method.name, method.needs));
    let needs = needs.collect::<Vec<_>>().join("; ");
    Ok(Error::config(message)
        .hint(format!("{needs}. VAULT_AUTH_METHOD names any other: {}", names(named))))
}

fn names(methods: &[&Method]) -> String {
    methods.iter().map(|method| method.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::method::incomplete;
    use super::*;

    #[test]
    fn every_method_has_a_row_that_says_what_it_needs() {
        for method in METHODS {
            assert!(!method.needs.is_empty() && !method.reads.is_empty(), "{}", method.name);
            let hint = incomplete(method, "x").hint.expect("a hint");
            assert!(hint.contains(method.needs) && hint.contains(method.reads[0]), "{hint}");
            assert_eq!(by_name(method.name).map(|found| found.name), Ok(method.name));
        }
        for name in ["", "approl", "TOKEN"] {
            let error = by_name(name).err().expect("an error");
            let names = error.hint.expect("a hint");
            assert_eq!(error.code.status(), 78);
            assert!(METHODS.iter().all(|method| names.contains(method.name)), "{names}");
        }
    }
}
