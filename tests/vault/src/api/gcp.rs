//! GCP, as HashiCorp's plugin implements it. The texts are from the plugin's source; nothing was
//! compared with a real one.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::api::clock;
use crate::api::configured::{self, Method};
use crate::api::envelope::{Failure, Outcome};
use crate::api::grant::{TokenSettings, set};
use crate::api::jws;
use crate::api::request::Request;
use crate::api::roles::{Role, Roles};

#[derive(Clone)]
pub(crate) struct GcpRole {
    kind: String,
    accounts: Vec<String>,
    projects: Vec<String>,
    zones: Vec<String>,
    max_jwt_exp: Duration,
    token: TokenSettings,
}

impl Default for GcpRole {
    fn default() -> Self {
        let (kind, lists) = (String::new(), Vec::new);
        let (accounts, projects, zones) = (lists(), lists(), lists());
        Self {
            kind,
            accounts,
            projects,
            zones,
            max_jwt_exp: Duration::from_mins(15),
            token: TokenSettings::default(),
        }
    }
}

/// The key that takes the place of Google's.
#[derive(Default)]
pub(crate) struct Config {
    public_key: String,
}

impl configured::Config for Config {
    fn from(request: &Request) -> Result<Self, Failure> {
        Ok(Self { public_key: request.text("test_public_key").unwrap_or_default().to_owned() })
    }

    fn describe(&self) -> Value {
        json!({ "iam_alias": "role_id", "gce_alias": "role_id" })
    }
}

impl Role for GcpRole {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        set(&mut self.kind, request.text("type").map(str::to_owned));
        set(&mut self.accounts, request.list("bound_service_accounts"));
        set(&mut self.projects, request.list("bound_projects"));
        set(&mut self.zones, request.list("bound_zones"));
        set(&mut self.max_jwt_exp, request.duration("max_jwt_exp"));
        self.token.configure(request)?;
        match self.kind.as_str() {
            "" => Err(Failure::bad_request("role type cannot be empty")),
            "iam" if self.accounts.is_empty() => {
                Err(Failure::bad_request("IAM role type must have at least one service account"))
            }
            "iam" | "gce" => Ok(()),
            other => Err(Failure::bad_request(format!("role type '{other}' is invalid"))),
        }
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "bound_projects": self.projects, "bound_service_accounts": self.accounts, "bound_zones": self.zones,
            "max_jwt_exp": self.max_jwt_exp.as_secs(), "type": self.kind,
        }))
    }
}

pub(crate) struct Gcp;

impl Method for Gcp {
    type Config = Config;
    type Role = GcpRole;

    fn login(config: Option<&Config>, roles: &Roles<GcpRole>, request: &Request) -> Outcome {
        check_fields(request)?;
        let name = request.text("role").unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::bad_request("role is required"));
        }
        let unknown = || Failure::bad_request(format!("role {name:?} not found"));
        let role = roles.get(name).ok_or_else(unknown)?;
        let token =
            request.text("jwt").ok_or_else(|| Failure::bad_request("jwt argument is required"))?;
        let claims =
            config.unwrap_or(&Config::default()).verified(token).map_err(Failure::bad_request)?;
        check_claims(&claims, name).map_err(Failure::bad_request)?;
        role.check(&claims).map_err(Failure::bad_request)?;
        let machine = &claims["google"]["compute_engine"];
        let metadata = json!({
            "role": name, "project_id": machine["project_id"], "zone": machine["zone"],
            "instance_id": machine["instance_id"], "instance_name": machine["instance_name"],
            "service_account_id": claims["sub"], "service_account_email": claims["email"],
        });
        let metadata = metadata.as_object().expect("an object").clone();
        let metadata = metadata.into_iter().filter(|(_, value)| !value.is_null()).collect();
        role.token.check_origin()?;
        role.token.login("", Value::Object(metadata))
    }
}

impl Config {
    fn verified(&self, token: &str) -> Result<Value, String> {
        match jws::read(token, &self.public_key) {
            None => Err("unable to parse signed JWT: go-jose/go-jose: compact JWS format must \
                         have three parts"
                .into()),
            Some((_, false)) => Err("go-jose/go-jose: error in cryptographic primitive".into()),
            Some((claims, true)) => Ok(claims),
        }
    }
}

fn check_fields(request: &Request) -> Result<(), Failure> {
    let mut unknown: Vec<_> =
        request.body.keys().filter(|key| !["role", "jwt"].contains(&key.as_str())).collect();
    unknown.sort();
    let quoted: Vec<String> = unknown.iter().map(|key| format!("{key:?}")).collect();
    if quoted.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(422, format!("unknown fields: [{}]", quoted.join(" "))))
    }
}

/// Returns the seconds from now until it expires, not counting a minute of tolerance.
fn expires_in(claims: &Value) -> i64 {
    let now = i64::try_from(clock::unix(SystemTime::now())).expect("a time of ours");
    claims["exp"].as_i64().unwrap_or_default() - now
}

fn check_claims(claims: &Value, role: &str) -> Result<(), String> {
    let left = expires_in(claims);
    if left < -60 {
        return Err("JWT is expired or does not have proper 'exp' claim".into());
    }
    if left > 3660 {
        return Err(format!("JWT must expire in 60 minutes, expires in {left}s"));
    }
    if claims["sub"].as_str().unwrap_or_default().is_empty() {
        return Err("expected JWT to have 'sub' claim with service account id or email".into());
    }
    let wanted = format!("vault/{role}");
    if claims["aud"].as_str().is_some_and(|audience| !audience.ends_with(&wanted)) {
        return Err(format!("at least one of the JWT claim 'aud' must end in {wanted:?}"));
    }
    Ok(())
}

impl GcpRole {
    fn check(&self, claims: &Value) -> Result<(), String> {
        if self.kind == "iam" { self.check_iam(claims) } else { self.check_gce(claims) }
    }

    fn check_iam(&self, claims: &Value) -> Result<(), String> {
        let limit = self.max_jwt_exp.as_secs();
        if expires_in(claims) > i64::try_from(limit).unwrap_or(i64::MAX) {
            return Err(format!(
                "role requires that service account JWTs expire within {limit} seconds"
            ));
        }
        let (id, email) = account(claims);
        if self.accounts == ["*"] || self.has_account(id, email) {
            return Ok(());
        }
        Err(format!("service account {email} (id: {id}) is not authorized for role"))
    }

    fn check_gce(&self, claims: &Value) -> Result<(), String> {
        let machine = &claims["google"]["compute_engine"];
        let of = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
        let (instance, project) = (of("instance_id"), of("project_id"));
        if instance.is_empty() {
            return Err("expected JWT to have claims with GCE metadata".into());
        }
        if !self.projects.is_empty() && !self.projects.contains(&project) {
            let bound = self.projects.join(" ");
            return Err(format!(
                "instance {instance:?} (project {project:?}) not in bound projects [{bound}]"
            ));
        }
        if !self.zones.is_empty() && !self.zones.contains(&of("zone")) {
            return Err(format!("instance not in bound zones {}", quoted(&self.zones)));
        }
        let (id, email) = account(claims);
        if self.accounts.is_empty() || self.has_account(id, email) {
            return Ok(());
        }
        Err(format!(
            "service account {id:?} ({email:?}) is not in bound service accounts {}",
            quoted(&self.accounts)
        ))
    }

    fn has_account(&self, id: &str, email: &str) -> bool {
        self.accounts.iter().any(|account| account == id || account == email)
    }
}

/// Returns the two values that Google is asked for; the claims take the place of its answer.
fn account(claims: &Value) -> (&str, &str) {
    let id = claims["sub"].as_str().unwrap_or_default();
    (id, claims["email"].as_str().unwrap_or(id))
}

/// Formats a list as Go's `%q` does.
fn quoted(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}
