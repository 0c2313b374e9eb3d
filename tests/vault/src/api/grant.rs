//! The settings that the roles of every auth method have: which tokens their logins give.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::request::Request;
use crate::api::tokens::{Grant, Kind};

/// Only this machine sends requests to a test server.
const CALLER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A role's settings for its tokens.
#[derive(Clone, Default)]
pub(crate) struct TokenSettings {
    pub(crate) grant: Grant,
    /// Where logins and uses of the tokens may come from.
    pub(crate) bound_cidrs: Vec<String>,
}

impl TokenSettings {
    /// Applies what a request sets.
    pub(crate) fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        let grant = &mut self.grant;
        set(
            &mut grant.policies,
            request.list("token_policies").or_else(|| request.list("policies")),
        );
        set(&mut grant.no_default_policy, request.flag("token_no_default_policy"));
        set(&mut grant.ttl, request.duration("token_ttl"));
        set(&mut grant.explicit_max_ttl, request.duration("token_explicit_max_ttl"));
        set(&mut grant.period, request.duration("token_period"));
        set(&mut grant.num_uses, request.number("token_num_uses"));
        let kind = request
            .text("token_type")
            .map(|kind| if kind == "batch" { Kind::Batch } else { Kind::Service });
        set(&mut grant.kind, kind);
        set(&mut self.bound_cidrs, request.list("token_bound_cidrs"));
        if self.grant.kind == Kind::Batch && self.grant.num_uses > 0 {
            return Err(Failure::bad_request(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens \
                 with limited use count",
            ));
        }
        Ok(())
    }

    /// Adds the token settings to what a read of the role returns.
    pub(crate) fn describe_in(&self, mut data: Value) -> Value {
        let own = json!({
            "token_bound_cidrs": self.bound_cidrs,
            "token_explicit_max_ttl": self.grant.explicit_max_ttl.as_secs(),
            "token_max_ttl": 0,
            "token_no_default_policy": self.grant.no_default_policy,
            "token_num_uses": self.grant.num_uses,
            "token_period": self.grant.period.as_secs(),
            "token_policies": self.grant.policies,
            "token_strictly_bind_ip": false,
            "token_ttl": self.grant.ttl.as_secs(),
            "token_type": if self.grant.kind == Kind::Batch { "batch" } else { "default" },
        });
        if let (Value::Object(data), Value::Object(own)) = (&mut data, own) {
            data.extend(own);
        }
        data
    }

    /// Checks that a login may come from the address that all of them come from.
    pub(crate) fn check_origin(&self) -> Result<(), Failure> {
        if lets_in(&self.bound_cidrs) { Ok(()) } else { Err(Failure::denied()) }
    }

    /// Returns the answer to a correct login. Tokens are named after their mount and
    /// `display_name`.
    pub(crate) fn login(&self, display_name: &str, metadata: Value) -> Outcome {
        let Value::Object(metadata) = metadata else { panic!("metadata is an object") };
        let display_name = display_name.to_owned();
        Ok(Answer::login(Grant {
            metadata,
            display_name,
            entity_id: new_entity_id(),
            ..self.grant.clone()
        }))
    }
}

/// Returns an entity id: everyone who logs in gets one.
pub(crate) fn new_entity_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Sets a field if there is a value.
pub(crate) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Returns whether this caller's address is allowed; with no restriction everyone is.
pub(crate) fn lets_in(cidrs: &[String]) -> bool {
    cidrs.is_empty() || cidrs.iter().any(|cidr| contains(cidr, CALLER))
}

fn contains(cidr: &str, address: Ipv4Addr) -> bool {
    let (network, bits) = cidr.split_once('/').unwrap_or((cidr, "32"));
    let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let shift = 32_u32.saturating_sub(bits);
    u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
}
