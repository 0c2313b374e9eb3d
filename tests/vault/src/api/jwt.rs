//! JWT, for tokens signed with one of the public keys in the configuration.

use serde_json::{Map, Value, json};

use crate::api::configured::{self, Method};
use crate::api::envelope::{Failure, Outcome};
use crate::api::glob;
use crate::api::grant::{TokenSettings, set};
use crate::api::jws::{self, Claims, Expected};
use crate::api::request::Request;
use crate::api::roles::{Role, Roles};

pub(crate) struct Config {
    /// The keys as they were written, and as parsed.
    pems: Vec<String>,
    keys: Vec<Vec<u8>>,
    issuer: String,
    default_role: String,
}

impl configured::Config for Config {
    fn from(request: &Request) -> Result<Self, Failure> {
        let text = |key: &str| request.text(key).unwrap_or_default().to_owned();
        let pems = request.list("jwt_validation_pubkeys").unwrap_or_default();
        if pems.is_empty() {
            return Err(Failure::bad_request(
                "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', \
                 'oidc_discovery_url', or 'provider_config' must be set",
            ));
        }
        let keys: Option<_> = pems.iter().map(|pem| jws::public_key(pem)).collect();
        let unparsable = "error parsing public key: data does not contain any valid public keys";
        let keys = keys.ok_or_else(|| Failure::bad_request(unparsable))?;
        Ok(Self { pems, keys, issuer: text("bound_issuer"), default_role: text("default_role") })
    }

    fn describe(&self) -> Value {
        json!({
            "bound_issuer": self.issuer, "default_role": self.default_role, "jwks_ca_pem": "", "jwks_url": "",
            "jwt_supported_algs": [], "jwt_validation_pubkeys": self.pems, "namespace_in_state": true,
            "oidc_client_id": "", "oidc_discovery_ca_pem": "", "oidc_discovery_url": "", "oidc_response_mode": "",
            "oidc_response_types": [], "override_allowed_server_names": [], "provider_config": {}, "status": "valid",
        })
    }
}

#[derive(Clone, Default)]
pub(crate) struct JwtRole {
    oidc: bool,
    audiences: Vec<String>,
    subject: String,
    claims: Map<String, Value>,
    with_globs: bool,
    user_claim: String,
    mappings: Map<String, Value>,
    redirects: Vec<String>,
    token: TokenSettings,
}

impl Role for JwtRole {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        let object = |key: &str| request.body.get(key).and_then(Value::as_object).cloned();
        self.oidc = match request.text("role_type").unwrap_or_default() {
            "jwt" => false,
            "" | "oidc" => true,
            other => return Err(Failure::bad_request(format!("invalid 'role_type': {other}"))),
        };
        self.token.configure(request)?;
        set(&mut self.audiences, request.list("bound_audiences"));
        set(&mut self.subject, request.text("bound_subject").map(str::to_owned));
        set(&mut self.claims, object("bound_claims"));
        self.with_globs = request.text("bound_claims_type") == Some("glob");
        set(&mut self.mappings, object("claim_mappings"));
        set(&mut self.user_claim, request.text("user_claim").map(str::to_owned));
        set(&mut self.redirects, request.list("allowed_redirect_uris"));
        self.check()
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "allowed_redirect_uris": or_null(self.redirects.is_empty(), json!(self.redirects)),
            "bound_audiences": or_null(self.audiences.is_empty(), json!(self.audiences)),
            "bound_claims": or_null(self.claims.is_empty(), json!(self.claims)),
            "bound_claims_type": if self.with_globs { "glob" } else { "string" },
            "bound_subject": self.subject, "callback_mode": "client",
            "claim_mappings": or_null(self.mappings.is_empty(), json!(self.mappings)),
            "clock_skew_leeway": 0, "expiration_leeway": 0, "groups_claim": "", "max_age": 0, "not_before_leeway": 0,
            "oauth2_metadata": null, "oidc_disable_confirmation": false, "oidc_scopes": null,
            "role_type": if self.oidc { "oidc" } else { "jwt" }, "token_policies_template_claims": false,
            "user_claim": self.user_claim, "user_claim_json_pointer": false, "verbose_oidc_logging": false,
        }))
    }
}

fn or_null(is_null: bool, value: Value) -> Value {
    if is_null { Value::Null } else { value }
}

impl JwtRole {
    fn check(&self) -> Result<(), Failure> {
        let unbound = self.audiences.is_empty()
            && self.token.bound_cidrs.is_empty()
            && self.subject.is_empty()
            && self.claims.is_empty();
        Err(Failure::bad_request(if self.user_claim.is_empty() {
            "a user claim must be defined on the role"
        } else if self.oidc && self.redirects.is_empty() {
            "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified."
        } else if !self.oidc && unbound {
            "must have at least one bound constraint when creating/updating a role"
        } else {
            return Ok(());
        }))
    }

    /// Logs in a caller whose signature is valid.
    fn login(&self, name: &str, claims: &Claims) -> Outcome {
        if self.audiences.is_empty() && !jws::audiences(claims).is_empty() {
            let text = "audience claim found in JWT but no audiences bound to the role";
            return Err(Failure::bad_request(text));
        }
        let user = self.user(claims).map_err(Failure::bad_request)?;
        let metadata = self.metadata(name, claims).map_err(Failure::bad_request)?;
        let bound = self.check_claims(claims);
        bound.map_err(|text| Failure::bad_request(format!("error validating claims: {text}")))?;
        self.token.login(user, metadata)
    }

    fn user<'a>(&self, claims: &'a Claims) -> Result<&'a str, String> {
        let name = &self.user_claim;
        let claim =
            claims.get(name).ok_or_else(|| format!("claim \"{name}\" not found in token"))?;
        claim.as_str().ok_or_else(|| format!("claim \"{name}\" could not be converted to string"))
    }

    fn metadata(&self, name: &str, claims: &Claims) -> Result<Value, String> {
        let mut metadata = json!({ "role": name });
        for (source, target) in &self.mappings {
            let Some(value) = find(claims, source) else { continue };
            let not_text = || format!("error converting claim '{source}' to string");
            metadata[target.as_str().unwrap_or_default()] =
                value.as_str().ok_or_else(not_text)?.into();
        }
        Ok(metadata)
    }

    fn check_claims(&self, claims: &Claims) -> Result<(), String> {
        for (name, wanted) in &self.claims {
            let found = find(claims, name).ok_or_else(|| format!("claim \"{name}\" is missing"))?;
            let (wanted, found) = (items(wanted), items(&found));
            if !wanted.iter().any(|wanted| found.iter().any(|found| self.fits(wanted, found))) {
                return Err(format!(
                    "claim \"{name}\" does not match any associated bound claim values"
                ));
            }
        }
        Ok(())
    }

    fn fits(&self, wanted: &Value, found: &Value) -> bool {
        match (wanted, found) {
            (Value::String(pattern), Value::String(text)) if self.with_globs => {
                glob::matches(pattern, text)
            }
            _ => wanted == found,
        }
    }
}

/// Returns a claim by its name, or by a JSON pointer.
fn find(claims: &Claims, name: &str) -> Option<Value> {
    let found = if name.starts_with('/') {
        Value::Object(claims.clone()).pointer(name).cloned()
    } else {
        claims.get(name).cloned()
    };
    found.filter(|claim| !claim.is_null())
}

fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

pub(crate) struct Jwt;

impl Method for Jwt {
    type Config = Config;
    type Role = JwtRole;

    fn login(config: Option<&Config>, roles: &Roles<JwtRole>, request: &Request) -> Outcome {
        let config = config.ok_or_else(|| Failure::bad_request("could not load configuration"))?;
        let name =
            request.text("role").filter(|name| !name.is_empty()).unwrap_or(&config.default_role);
        let name = name.to_lowercase();
        if name.is_empty() {
            return Err(Failure::bad_request("missing role"));
        }
        let missing = || Failure::bad_request(format!("role \"{name}\" could not be found"));
        let role = roles.get(&name).ok_or_else(missing)?;
        if role.oidc {
            return Err(Failure::bad_request("role with oidc role_type is not allowed"));
        }
        let token = request.text("jwt").filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Failure::bad_request("missing token"))?;
        role.token.check_origin()?;
        let claims = verified(config, role, token);
        role.login(
            &name,
            &claims
                .map_err(|text| Failure::bad_request(format!("error validating token: {text}")))?,
        )
    }
}

fn verified(config: &Config, role: &JwtRole, token: &str) -> Result<Claims, String> {
    let claims = jws::verified(token, &config.keys)?;
    let audiences = role.audiences.as_slice();
    Expected { issuer: &config.issuer, subject: &role.subject, audiences, may_lack_times: false }
        .check(&claims)?;
    Ok(claims)
}
