//! The only public interface of the crate, for the program and for its tests, benchmarks and fuzz
//! targets. Nothing else is visible from outside, and nothing here is an interface for anybody
//! else.
#![allow(missing_docs, reason = "each is described where it is defined")]

pub mod cli {
    pub use crate::cli::{Invocation, parse};
}
pub mod cloud {
    pub mod sigv4 {
        pub use crate::cloud::sigv4::{Credentials, Request, Scope, sign};
    }
}
pub mod environment {
    pub use crate::environment::{Built, Outcomes, Provided, Rules, build};
}
pub mod error {
    pub use crate::error::{Code, Error, Errors};
}
pub mod grammar {
    pub mod env_file {
        pub use crate::grammar::env_file::parse;
    }
    pub mod import {
        pub use crate::grammar::import::{Import, Keys, parse};
    }
    pub mod path {
        pub use crate::grammar::path::Path;
    }
    pub mod reference {
        pub use crate::grammar::reference::{
            Ask, Body, Form, Piece, Reference, Value, has_reference, is_login, is_reference, parse,
        };
    }
    pub mod secrets_file {
        pub use crate::grammar::secrets_file::{Line, parse};
    }
    pub mod selector {
        pub use crate::grammar::selector::Selector;
    }
    pub mod template {
        pub use crate::grammar::template::{Template, split_action};
    }
    pub mod units {
        pub use crate::grammar::units::{Names, boolean, duration};
    }
    pub mod variable {
        pub use crate::grammar::variable::{CONTROLLING, IN_ANY_CASE};
    }
}
pub mod http {
    pub mod answers {
        pub use crate::http::answers::Budget;
    }
    pub mod no_proxy {
        pub use crate::http::no_proxy::NoProxy;
    }
    pub mod pem {
        pub use crate::http::pem::sections;
    }
    pub mod redact {
        pub use crate::http::redact::Redactor;
    }
}
pub mod log {
    pub use crate::log::report_bugs;
}
pub mod login {
    pub use crate::login::METHODS;
    pub mod wrapping {
        pub use crate::login::wrapping::secret_id;
    }
}
pub mod plan {
    pub use crate::plan::{Piece, Plan, Request, Source, make};
}
pub mod policy {
    pub use crate::policy::of;
}
pub mod process {
    pub mod alloc {
        pub use crate::process::alloc::Wiping;
    }
}
pub mod secret {
    pub use crate::secret::{Secret, Variable};
}
pub mod settings {
    pub use crate::settings::{Settings, log_settings, understand, without_effect};
    pub mod layers {
        pub use crate::settings::layers::{EnvFile, Layers, Options};
    }
    pub mod names {
        pub use crate::settings::names::{ALL, Setting, Takes, credentials};
    }
}
pub mod start {
    pub use crate::start::{Wiped, start};
}
pub mod vault {
    pub mod answer {
        pub use crate::vault::answer::{Answer, Raw, Verdict, judge};
    }
    pub mod document {
        pub use crate::vault::document::{Document, Found};
    }
    pub mod kv {
        pub use crate::vault::kv::understand;
    }
    pub mod lookup {
        pub use crate::vault::lookup::understand;
    }
    pub mod mounts {
        pub use crate::vault::mounts::mounts;
    }
    pub mod redirect {
        pub use crate::vault::redirect::target;
    }
    pub mod session {
        pub use crate::vault::session::Session;
    }
    pub mod transit {
        pub use crate::vault::transit::{plaintext, results};
    }
}
