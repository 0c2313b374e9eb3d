//! `--print-policy`: the policy (HCL) with exactly the permissions that a plan needs, made without
//! asking Vault (pure).

use std::fmt::Write as _;

use crate::error::{Error, Errors};
use crate::fetch::question;
use crate::grammar::namespace;
use crate::grammar::path::Path;
use crate::grammar::reference::Ask;
use crate::login;
use crate::plan::{Plan, Request};
use crate::settings::{Revoke, Settings};
use crate::vault::mounts;

/// The capabilities for one path.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    path: Path,
    capabilities: Vec<&'static str>,
}

/// Returns the policy for a plan: a block for each path that is used, and the blocks for vault-exec
/// itself.
///
/// # Errors
/// 78 for each path whose engine or version cannot be known without asking, and for each path that
/// a policy cannot name exactly.
pub fn of(plan: &Plan, settings: &Settings) -> Result<String, Errors> {
    let mut errors = Errors::default();
    let mut rules: Vec<Rule> = Vec::new();
    for (_, request) in plan.requests.iter() {
        errors.keep(rule(request, settings).map(|rule| add(&mut rules, rule)));
    }
    if let Some(path) = settings.transit.path().filter(|_| !plan.ciphertexts.is_empty()) {
        errors.keep(exact(path, vec!["update"]).map(|rule| add(&mut rules, rule)));
    }
    errors.or(())?;
    Ok(match for_login(&rules, settings) {
        Some(rules) => hcl(&rules?, true, settings),
        None => hcl(&rules, false, settings),
    })
}

fn rule(request: &Request, settings: &Settings) -> Result<Rule, Error> {
    match (&request.ask, question(request)) {
        (Ask::Read(_), Some(question)) => {
            // If `data` comes later in the path, the mount has more than one segment.
            let is_written = request.mount.is_none() && request.path.is_like_kv2();
            let written = || is_written.then(|| mounts::as_written(&request.path));
            let target = mounts::offline(question, settings.kv_version)
                .or_else(written)
                .ok_or_else(|| ambiguous(&request.path))?;
            exact(target.path, vec!["read"])
        }
        // KV requires another capability if nothing exists at the path yet; engines that answer a
        // write do not.
        _ if request.path.is_like_kv2() => exact(request.path.clone(), vec!["create", "update"]),
        _ => exact(request.path.clone(), vec!["update"]),
    }
}

/// Makes a rule for this one path and no other. The special characters of Vault's patterns and
/// templates cannot be escaped.
fn exact(path: Path, capabilities: Vec<&'static str>) -> Result<Rule, Error> {
    let text = path.as_str();
    let is_pattern = text.ends_with('*') || path.segments().any(|segment| segment == "+");
    if is_pattern || text.contains("{{") || text.contains("${") {
        let error = Error::config(format!("{path}: a policy takes this path for a pattern"));
        return Err(error.hint(
            "*, + and {{ mean more than themselves there: store the secret under another path",
        ));
    }
    Ok(Rule { path, capabilities })
}

/// Adds a rule. Rules are sorted by path, so that two policies can be compared.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    let at = rules.partition_point(|known| known.path < rule.path);
    match rules.get_mut(at).filter(|known| known.path == rule.path) {
        Some(known) => {
            for capability in rule.capabilities {
                if !known.capabilities.contains(&capability) {
                    known.capabilities.push(capability);
                }
            }
        }
        None => rules.insert(at, rule),
    }
}

fn ambiguous(path: &Path) -> Error {
    Error::config(format!(
        "{path}: whether a KV v2 mount is there cannot be known without asking Vault"
    ))
    .hint(
        "for KV v2 write data/ after the mount. Set --kv-version 1 where all other paths are to \
         be read as they are written, as those of KV v1 and of dynamic secrets are, or 2 where \
         the first segment of each is a KV v2 mount",
    )
}

/// Returns the rules with paths as seen from the namespace of the login. Returns `None` if a path
/// lies outside of what a token of that namespace can reach.
fn for_login(rules: &[Rule], settings: &Settings) -> Option<Result<Vec<Rule>, Error>> {
    let (home, namespace) = (settings.auth_namespace.as_deref(), settings.namespace.as_deref());
    let moved = |rule: &Rule| {
        let whole = namespace::whole(namespace, rule.path.as_str());
        let path = namespace::below(home, Some(&whole)).filter(|path| !path.is_empty())?;
        Some(Path::parse(path).and_then(|path| exact(path, rule.capabilities.clone())))
    };
    rules.iter().map(moved).collect()
}

/// Returns a comment that says which namespace the policy is for. It is empty if only the root
/// namespace is used.
fn home(is_for_login: bool, settings: &Settings) -> String {
    let name = |name: &Option<String>| match name {
        Some(name) => format!("the namespace {}", name.escape_default()),
        None => "the root namespace".to_owned(),
    };
    let (login, secrets) = (name(&settings.auth_namespace), name(&settings.namespace));
    match is_for_login {
        _ if (&settings.auth_namespace, &settings.namespace) == (&None, &None) => String::new(),
        true => format!("# To be written in {login}.\n"),
        false => format!(
            "# To be written in {secrets}, for a login there.\n# It is of no use to a login in \
             {login}: a token is good for its own namespace and those below it.\n"
        ),
    }
}

fn hcl(rules: &[Rule], is_for_login: bool, settings: &Settings) -> String {
    let mut text = String::from("# What the application's variables are made of.\n");
    text.push_str(&home(is_for_login, settings));
    for rule in rules {
        block(&mut text, rule);
    }
    if settings.auth_method.as_deref() == Some(login::WITHOUT_LOGIN) {
        return text;
    }
    text.push_str(
        "\n# For vault-exec itself. The default policy has it too, and the application starts \
         without it.\n",
    );
    if settings.revoke != Revoke::Never {
        block(&mut text, &own("auth/token/revoke-self", "update"));
    }
    block(&mut text, &own("auth/token/lookup-self", "read"));
    if settings.supervise.is_some() {
        block(&mut text, &own("auth/token/renew-self", "update"));
        block(&mut text, &own("sys/leases/renew", "update"));
    }
    text
}

fn own(path: &'static str, capability: &'static str) -> Rule {
    Rule { path: Path::constant(path), capabilities: vec![capability] }
}

fn block(text: &mut String, Rule { path, capabilities }: &Rule) {
    let path = path.as_str().replace('"', "\\\"");
    let capabilities = capabilities.join("\", \"");
    // Writing into a String cannot fail.
    let _ = write!(text, "path \"{path}\" {{\n  capabilities = [\"{capabilities}\"]\n}}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::secret::Variable;
    use crate::settings;
    use crate::settings::layers::Layers;
    use crate::settings::layers::Options;

    fn policy(
        options: &[(&'static str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<String, Errors> {
        let environment: Vec<Variable> =
            environment.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        let layers =
            Layers { options: &Options::of(options), environment: &environment, files: &[] };
        let settings = settings::understand(&layers).expect("settings");
        of(&plan::make(&settings, &environment, &[]).expect("a plan"), &settings)
    }

    /// Returns the blocks for secrets, each on one line.
    fn rules(policy: &str) -> Vec<String> {
        let secrets = policy.split("\n# For vault-exec itself").next().unwrap_or_default();
        let blocks = secrets.split("path ").skip(1);
        blocks.map(|block| block.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn one_block_for_each_path_and_capability() {
        let environment = [
            ("A", "vault:kv/data/a#k"),
            (
                "B",
                "x${vault:kv/data/a#k#2}y${>>vault:pki/issue/r#certificate#{\"common_name\":\"x\"\
                 }}",
            ),
            ("C", "vault:v1:YQ=="),
            ("D", ">>vault:kv/data/a#version#{}"),
            ("E", "vault:kv/data/q\"q#k"),
            ("VAULT_TRANSIT_KEY_ID", "key"),
            ("VAULT_TRANSIT_PATH", "t/"),
        ];
        let expected = [
            r#""kv/data/a" { capabilities = ["read", "create", "update"] }"#,
            r#""kv/data/i" { capabilities = ["read"] }"#,
            r#""kv/data/q\"q" { capabilities = ["read"] }"#,
            r#""pki/issue/r" { capabilities = ["update"] }"#,
            r#""t/decrypt/key" { capabilities = ["update"] }"#,
        ];
        assert_eq!(
            rules(&policy(&[("secret", "kv/data/i")], &environment).expect("a policy")),
            expected
        );
    }

    #[test]
    fn what_cannot_be_known_without_asking_is_named() {
        let environment = [
            ("A", "vault:kv/a#k"),
            ("B", "vault:database/creds/r#username"),
            ("C", "vault:kv/data/c#k"),
        ];
        let errors = policy(&[("secret", "kv/b")], &environment).expect_err("ambiguous").0;
        let starts: Vec<&str> =
            errors.iter().filter_map(|error| error.message.split(':').next()).collect();
        assert_eq!(starts, ["kv/a", "database/creds/r", "kv/b"]);
        let one = policy(&[("kv-version", "1")], &environment).expect("a policy");
        assert!(
            rules(&one)[0].starts_with("\"database/creds/r\"")
                && rules(&one)[1].starts_with("\"kv/a\""),
            "{one}"
        );
        let two = policy(&[("kv-version", "2")], &environment[..1]).expect("a policy");
        assert!(rules(&two)[0].starts_with("\"kv/data/a\""), "{two}");
    }

    #[test]
    fn what_a_policy_would_take_for_a_pattern_is_an_error() {
        for path in ["kv/data/a*", "kv/data/+/a", "kv/data/{{identity.entity.id}}", "kv/data/${x"] {
            let value = format!("vault:{path}#k");
            assert_eq!(policy(&[], &[("A", &value)]).expect_err(path).0.len(), 1);
        }
        for path in ["kv/data/a*b", "kv/data/a+b"] {
            assert!(policy(&[], &[("A", &format!("vault:{path}#k"))]).is_ok(), "{path}");
        }
    }

    #[test]
    fn paths_begin_in_the_namespace_of_the_login() {
        let secret = [("A", "vault:kv/data/a#k"), ("B", "vault:web/kv/data/a#k")];
        for (login, secrets, front, words) in [
            ("", "", "", "made of.\npath"),
            ("team", "team", "", "in the namespace team.\n"),
            ("team", "team/web", "web/", "in the namespace team.\n"),
            ("root", "team/web", "team/web/", "in the root namespace.\n"),
            (
                "team",
                "other",
                "",
                "in the namespace other, for a login there.\n# It is of no use to a login in the \
                 namespace team:",
            ),
            ("team", "", "", "in the root namespace, for a login there.\n"),
            ("te\nam", "te\nam", "", "in the namespace te\\nam.\n"),
        ] {
            let set = [
                secret[0],
                secret[1],
                ("VAULT_AUTH_NAMESPACE", login),
                ("VAULT_NAMESPACE", secrets),
            ];
            let hcl = policy(&[], &set).expect("a policy");
            let expected = ["kv", "web/kv"]
                .map(|path| format!("\"{front}{path}/data/a\" {{ capabilities = [\"read\"] }}"));
            assert_eq!(rules(&hcl), expected, "{login} {secrets}");
            assert!(hcl.contains(words) && hcl.contains("\"auth/token/lookup-self\""), "{hcl}");
        }
        let of_web = |extra: (&str, &str)| {
            rules(
                &policy(&[], &[secret[1], ("VAULT_AUTH_NAMESPACE", "web"), extra])
                    .expect("a policy"),
            )
        };
        assert!(
            of_web(("X", ""))[0].starts_with("\"kv/data/a\""),
            "the namespace of the login in front of the path"
        );
        assert!(
            of_web(secret[0])[1].starts_with("\"web/kv/data/a\""),
            "one that the login cannot read beside it"
        );
        assert!(
            policy(&[], &[secret[0], ("VAULT_AUTH_NAMESPACE", "/"), ("VAULT_NAMESPACE", "a+/+")])
                .is_err()
        );
    }

    #[test]
    fn the_token_is_not_allowed_what_it_will_not_do() {
        assert!(policy(&[], &[]).expect("a policy").contains("revoke-self"));
        assert!(!policy(&[("revoke", "false")], &[]).expect("a policy").contains("revoke-self"));
        // The token belongs to an Agent and is not ours to revoke or to ask about.
        assert!(!policy(&[("auth-method", "none")], &[]).expect("a policy").contains("-self"));
    }
}
