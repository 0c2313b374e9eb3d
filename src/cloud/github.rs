//! The token by which GitHub Actions vouches for a job.

use reqwest::{Method, Url};
use serde_json::Value;

use crate::cloud::Platform;
use crate::cloud::metadata::{self, Ask, Route, Web};
use crate::error::{Code, Error};
use crate::grammar::address;
use crate::grammar::path::percent_encoded;
use crate::http;
use crate::http::retry::Patience;
use crate::secret::{Secret, Variable};

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
const WHAT: &str = "the token of this job, from GitHub Actions";
const HINT: &str = "the job needs the permission id-token: write";

/// Where a job requests its token, and the credential for the request.
/// <https://docs.github.com/actions/reference/security/oidc>
#[derive(Debug)]
pub(crate) struct Job {
    url: Url,
    token: Secret,
    network: Vec<Variable>,
}

/// Returns the current GitHub Actions job, if it may request a token.
///
/// # Errors
/// 78 for an address that is invalid or not https, and for a token that no header can hold.
pub(crate) fn job(platform: &dyn Platform, audience: Option<&str>) -> Result<Option<Job>, Error> {
    let (Some(url), Some(token)) = (platform.text(URL), platform.variable(TOKEN)) else {
        return Ok(None);
    };
    let mut url = metadata::address(url, URL)?;
    if url.scheme() != "https" && !url.host_str().is_some_and(address::is_loopback) {
        return Err(Error::config(format!("{URL}: a credential in clear to another machine")));
    }
    if let Some(audience) = audience {
        let audience = percent_encoded(audience.as_bytes(), "-._~");
        let query = url.query().filter(|query| !query.is_empty());
        let query = query.map(|query| format!("{query}&")).unwrap_or_default();
        url.set_query(Some(&format!("{query}audience={audience}")));
    }
    let token = metadata::token(token)
        .ok_or_else(|| Error::config(format!("{TOKEN}: characters that no header has")))?;
    let network = http::about_network(platform.environment());
    Ok(Some(Job { url, token, network }))
}

impl Job {
    /// Returns the token, and hides it in all messages from then on.
    ///
    /// # Errors
    /// 77 for a refusal, 76 for an answer without a token, and whatever [`Web::ask`] returns.
    pub(crate) async fn token(&self, patience: &Patience) -> Result<Secret, Error> {
        patience.redactor.add(&self.token);
        let bearer = [b"bearer ", self.token.expose()].concat();
        let ask = Ask {
            headers: vec![
                ("Authorization", Secret::from(bearer)),
                ("Accept", "application/json".into()),
            ],
            what: WHAT,
            hint: HINT,
            ..Ask::new(Method::GET, self.url.clone())
        };
        let route = Route::Internet(&self.network, None);
        let page = Web::to(patience, &route, &self.url)?.ask(&ask).await?;
        if !page.is_success() {
            return Err(page.refused(WHAT, &page.words(), &patience.redactor).hint(HINT));
        }
        let answer = page.json().unwrap_or_default();
        let token = answer.get("value").and_then(Value::as_str);
        let token = token
            .and_then(|token| metadata::token(&token.into()))
            .ok_or_else(|| Error::new(Code::Protocol, format!("{WHAT}: no value in the answer")))?;
        patience.redactor.add(&token);
        Ok(token)
    }
}
