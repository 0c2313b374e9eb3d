//! Any text is a template or an error; what a template makes of any secret has a bound, and no error
//! shows a value of the secret.
//!
//! An input is a template, and behind its last line break a secret as JSON.

use serde_json::{Map, Value};
use vault_exec::door::error::Error;
use vault_exec::door::grammar::template::{Template, split_action};

/// Stands in values of the seeds' secrets. A template that has it itself shows nothing of them.
const MARK: &str = "S3CR3T";

/// What one function may make, and so the most for each action.
const MOST: usize = 1 << 20;

pub(crate) fn settles(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (template, json) = text.rsplit_once('\n').unwrap_or((text, "{}"));
    let parsed = match Template::parse(template) {
        Ok(parsed) => parsed,
        Err(error) => return is_quiet(&error, template),
    };
    assert_eq!(parsed.source().expose(), template.as_bytes());
    if let Some((_, action)) = template.split_once("${") {
        assert!(split_action(action).is_some(), "{template}");
    }
    let Ok(secret) = serde_json::from_str::<Map<String, Value>>(json) else { return };
    let made = parsed.apply(&secret);
    assert_eq!(parsed.apply(&secret), made, "{template}");
    match made {
        Ok(Some(value)) => {
            let actions = template.matches("${").count();
            let most = template.len() + actions * (MOST + json.len());
            assert!(value.expose().len() <= most, "{template}");
        }
        Ok(None) => {}
        Err(error) => is_quiet(&error, template),
    }
}

fn is_quiet(error: &Error, template: &str) {
    assert_eq!(error.code.status(), 78);
    assert!(template.contains(MARK) || !format!("{error:?}").contains(MARK), "{error:?}");
}
