//! Azure, as HashiCorp's plugin implements it. The texts are from the plugin's source; nothing was
//! compared with a real one.

use std::time::SystemTime;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::clock;
use crate::api::configured::{self, Method};
use crate::api::envelope::{Failure, Outcome};
use crate::api::grant::{TokenSettings, set};
use crate::api::jws;
use crate::api::request::Request;
use crate::api::roles::{Role, Roles};
use crate::platforms::azure_metadata::AzureMetadata;

#[derive(Clone, Default)]
pub(crate) struct AzureRole {
    principals: Vec<String>,
    subscriptions: Vec<String>,
    groups: Vec<String>,
    scale_sets: Vec<String>,
    locations: Vec<String>,
    token: TokenSettings,
}

/// The tenant whose tokens are trusted.
#[derive(Default)]
pub(crate) struct Config {
    tenant: String,
    resource: String,
    public_key: String,
}

impl configured::Config for Config {
    fn from(request: &Request) -> Result<Self, Failure> {
        let of = |key| text(request, key).to_owned();
        Ok(Self {
            tenant: of("tenant_id"),
            resource: of("resource"),
            public_key: of("test_public_key"),
        })
    }

    fn describe(&self) -> Value {
        json!({ "client_id": "", "environment": "", "resource": self.resource, "tenant_id": self.tenant })
    }
}

fn text<'a>(request: &'a Request, key: &str) -> &'a str {
    request.text(key).unwrap_or_default()
}

impl Role for AzureRole {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        set(&mut self.principals, request.list("bound_service_principal_ids"));
        set(&mut self.subscriptions, request.list("bound_subscription_ids"));
        set(&mut self.groups, request.list("bound_resource_groups"));
        set(&mut self.scale_sets, request.list("bound_scale_sets"));
        set(&mut self.locations, request.list("bound_locations"));
        self.token.configure(request)?;
        let bounds = [
            &self.principals,
            &self.subscriptions,
            &self.groups,
            &self.scale_sets,
            &self.locations,
        ];
        if bounds.iter().all(|bound| bound.is_empty()) {
            let text = "must have at least one bound constraint when creating/updating a role";
            return Err(Failure::bad_request(text));
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "bound_locations": self.locations, "bound_resource_groups": self.groups,
            "bound_scale_sets": self.scale_sets, "bound_service_principal_ids": self.principals,
            "bound_subscription_ids": self.subscriptions,
        }))
    }
}

pub(crate) struct Azure;

impl Method for Azure {
    type Config = Config;
    type Role = AzureRole;

    fn login(config: Option<&Config>, roles: &Roles<AzureRole>, request: &Request) -> Outcome {
        let token = required(request, "jwt")?;
        let name = required(request, "role")?;
        let unknown = || Failure::bad_request(format!("invalid role name {name:?}"));
        let role = roles.get(name).ok_or_else(unknown)?;
        check_names(request)?;
        let failed = |text: String| Failure::new(500, text);
        let claims = config.unwrap_or(&Config::default()).verified(token).map_err(failed)?;
        role.check(&claims, request).map_err(failed)?;
        let mut metadata = Map::new();
        for key in ["role", "resource_group_name", "subscription_id"] {
            metadata.insert(key.to_owned(), text(request, key).into());
        }
        for key in ["vm_name", "vmss_name", "resource_id"]
            .into_iter()
            .filter(|key| !text(request, key).is_empty())
        {
            metadata.insert(key.to_owned(), text(request, key).into());
        }
        metadata.extend(claims["appid"].as_str().map(|id| ("app_id".to_owned(), id.into())));
        role.token.check_origin()?;
        role.token.login("", Value::Object(metadata))
    }
}

fn required<'a>(request: &'a Request, key: &str) -> Result<&'a str, Failure> {
    let value = text(request, key);
    if value.is_empty() {
        Err(Failure::bad_request(format!("{key} is required")))
    } else {
        Ok(value)
    }
}

fn check_names(request: &Request) -> Result<(), Failure> {
    type Check = (&'static str, &'static str, fn(&str) -> bool);
    let checks: [Check; 4] = [
        ("subscription_id", "subscription id", |value| {
            value.len() == 36 && Uuid::parse_str(value).is_ok()
        }),
        ("resource_group_name", "resource group name", is_group),
        ("vmss_name", "vmss_name", is_machine),
        ("vm_name", "vm name", is_machine),
    ];
    for (key, label, is_right) in checks {
        let value = text(request, key);
        if !value.is_empty() && !is_right(value) {
            return Err(Failure::bad_request(format!("invalid {label} {value:?}")));
        }
    }
    Ok(())
}

fn is_group(name: &str) -> bool {
    !name.ends_with('.') && name.chars().all(|c| c.is_alphanumeric() || "-_.()".contains(c))
}

fn is_machine(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.ends_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Config {
    /// Checks a token: issuer, audience and time before the signature.
    fn verified(&self, token: &str) -> Result<Value, String> {
        for (value, name) in [(&self.tenant, "tenant_id"), (&self.resource, "resource")] {
            if value.is_empty() {
                return Err(format!("{name} is required"));
            }
        }
        let parts = token.split('.').count();
        let malformed =
            || format!("oidc: malformed jwt: oidc: malformed jwt, expected 3 parts got {parts}");
        let (claims, signed) = jws::read(token, &self.public_key).ok_or_else(malformed)?;
        let of = |key: &str| claims[key].as_str().unwrap_or_default().to_owned();
        let (issuer, wanted) = (of("iss"), format!("https://sts.windows.net/{}/", self.tenant));
        if issuer != wanted {
            return Err(format!(
                "oidc: id token issued by a different provider, expected {wanted:?} got {issuer:?}"
            ));
        }
        if of("aud") != self.resource {
            return Err(format!(
                "oidc: expected audience {:?} got [{:?}]",
                self.resource,
                of("aud")
            ));
        }
        if claims["exp"].as_u64().unwrap_or_default() < clock::unix(SystemTime::now()) {
            return Err("oidc: token is expired (Token Expiry: ".to_owned()
                + &claims["exp"].to_string()
                + ")");
        }
        if signed {
            Ok(claims)
        } else {
            Err("failed to verify signature: failed to verify id token signature".into())
        }
    }
}

fn has(bound: &[String], value: &str) -> bool {
    bound.iter().any(|item| item.eq_ignore_ascii_case(value))
}

impl AzureRole {
    fn check(&self, claims: &Value, request: &Request) -> Result<(), String> {
        let principal = claims["oid"].as_str().unwrap_or_default();
        if self.principals.is_empty() {
            return Err("expected specific bound_group_ids or bound_service_principal_ids; both \
                        cannot be empty or '*'"
                .into());
        }
        if self.principals != ["*"] && !has(&self.principals, principal) {
            return Err(format!("service principal not authorized: {principal}"));
        }
        let bounds = [&self.subscriptions, &self.groups, &self.scale_sets, &self.locations];
        if bounds.iter().all(|bound| bound.is_empty()) {
            Ok(())
        } else {
            self.check_resource(claims, request)
        }
    }

    fn check_resource(&self, claims: &Value, request: &Request) -> Result<(), String> {
        let (subscription, group) =
            (text(request, "subscription_id"), text(request, "resource_group_name"));
        if subscription.is_empty() || group.is_empty() {
            return Err("subscription_id and resource_group_name are required".into());
        }
        self.check_machine(claims, request)?;
        claims_name(claims, &format!("/resourcegroups/{group}"), "resource_group_name", group)?;
        for (bound, value, what) in [
            (&self.subscriptions, subscription, "subscription"),
            (&self.groups, group, "resource group"),
            (&self.locations, AzureMetadata::LOCATION, "location"),
        ] {
            if !bound.is_empty() && !has(bound, value) {
                return Err(format!("{what} not authorized"));
            }
        }
        Ok(())
    }

    /// Checks the machine. Its name is ignored if there is that of a scale set.
    fn check_machine(&self, claims: &Value, request: &Request) -> Result<(), String> {
        let (vm, vmss) = (text(request, "vm_name"), text(request, "vmss_name"));
        if !vmss.is_empty() {
            claims_name(claims, &format!("/virtualMachines/{vmss}_"), "vmss_name", vmss)?;
            let bound = self.scale_sets.is_empty() || has(&self.scale_sets, vmss);
            return if bound { Ok(()) } else { Err("scale set not authorized".into()) };
        }
        let id = text(request, "resource_id");
        if vm.is_empty() && !id.is_empty() {
            return claims_name(claims, id, "resource_id", id);
        }
        // A workload's token is looked up among the identities of the resource group.
        if vm.is_empty() && claims["xms_mirid"].to_string().contains("userAssignedIdentities") {
            return Ok(());
        }
        if vm.is_empty() {
            return Err("provided resource_id does not match resource_group_name".into());
        }
        claims_name(claims, &format!("/virtualMachines/{vm}"), "vm_name", vm)?;
        if self.scale_sets.is_empty() {
            return Ok(());
        }
        Err("bound scale set defined but this vm isn't in a scale set".into())
    }
}

fn claims_name(claims: &Value, part: &str, key: &str, value: &str) -> Result<(), String> {
    let resource = claims["xms_mirid"].as_str().unwrap_or_default().to_lowercase();
    if resource.is_empty() {
        return Err("xms_az_rid and xms_mirid claims are missing from token".into());
    }
    if resource.contains(&part.to_lowercase()) {
        return Ok(());
    }
    Err(format!("xms_mirid token claim does not match {key} {value}"))
}
