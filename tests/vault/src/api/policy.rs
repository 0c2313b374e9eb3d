//! ACL policies: enough of HCL, and Vault's rules for which path rule applies.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::str::CharIndices;

use crate::api::envelope::Failure;
use crate::api::namespaces::Namespace;
use crate::api::tokens;

/// The policy of every token that was not made without it.
pub(crate) const DEFAULT: &str = r#"
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
path "sys/tools/hash" { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
"#;

const CAPABILITIES: [&str; 9] =
    ["create", "read", "update", "delete", "list", "patch", "scan", "sudo", "deny"];

/// One `path` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pattern: String,
    capabilities: BTreeSet<String>,
}

impl Rule {
    fn is_exact(&self) -> bool {
        !self.pattern.ends_with('*') && !self.pattern.split('/').any(|segment| segment == "+")
    }

    fn grants(&self) -> bool {
        !self.capabilities.is_empty() && !self.capabilities.contains("deny")
    }

    fn matches(&self, path: &str) -> bool {
        let (pattern, glob) =
            self.pattern.strip_suffix('*').map_or((self.pattern.as_str(), false), |p| (p, true));
        let mut wanted = pattern.split('/').peekable();
        let mut given = path.split('/');
        while let Some(segment) = wanted.next() {
            let Some(other) = given.next() else { return false };
            let last = wanted.peek().is_none();
            let same =
                segment == other || segment == "+" || (last && glob && other.starts_with(segment));
            if !same {
                return false;
            }
        }
        glob || given.next().is_none()
    }

    /// Returns the rule's priority. Among rules with wildcards the greatest applies: a later first
    /// wildcard, no `*` at the end, fewer `+`, longer, greater.
    fn priority(&self) -> (usize, bool, Reverse<usize>, usize, &str) {
        let pattern = self.pattern.as_str();
        let glob = pattern.ends_with('*');
        let first = first_plus(pattern).unwrap_or(pattern.len() - usize::from(glob));
        let pluses = pattern.split('/').filter(|segment| *segment == "+").count();
        (first, !glob, Reverse(pluses), pattern.len(), pattern)
    }

    /// Returns whether the rule covers something below a mount.
    fn reaches_into(&self, mount: &str) -> bool {
        let pattern = self.pattern.trim_end_matches('*');
        let mut segments = pattern.split('/');
        mount
            .trim_end_matches('/')
            .split('/')
            .all(|wanted| segments.next().is_some_and(|s| s == wanted || s == "+"))
            && segments.next().is_some()
    }
}

fn first_plus(pattern: &str) -> Option<usize> {
    let mut at = 0;
    for segment in pattern.split('/') {
        if segment == "+" {
            return Some(at);
        }
        at += segment.len() + 1;
    }
    None
}

/// The policies, by the path of their namespace and their name.
pub(crate) struct Policies(BTreeMap<(String, String), (String, Vec<Rule>)>);

impl Default for Policies {
    fn default() -> Self {
        let mut policies = Self(BTreeMap::new());
        policies.furnish(&Namespace::default());
        policies
    }
}

fn key(namespace: &Namespace, name: &str) -> (String, String) {
    (namespace.path.clone(), name.to_lowercase())
}

impl Policies {
    /// Adds what every namespace has.
    pub(crate) fn furnish(&mut self, namespace: &Namespace) {
        if self.text(namespace, "default").is_none() {
            self.write(namespace, "default", DEFAULT).expect("the default policy is well formed");
        }
    }

    /// Deletes all policies of a namespace.
    pub(crate) fn clear(&mut self, namespace: &Namespace) {
        self.0.retain(|(own, _), _| *own != namespace.path);
    }

    pub(crate) fn write(
        &mut self,
        namespace: &Namespace,
        name: &str,
        text: &str,
    ) -> Result<(), Failure> {
        let rules = parse(text)
            .map_err(|error| Failure::bad_request(format!("failed to parse policy: {error}")))?;
        self.0.insert(key(namespace, name), (text.to_owned(), rules));
        Ok(())
    }

    pub(crate) fn text(&self, namespace: &Namespace, name: &str) -> Option<&str> {
        self.0.get(&key(namespace, name)).map(|(text, _)| text.as_str())
    }

    pub(crate) fn names(&self, namespace: &Namespace) -> Vec<&str> {
        let own = self.0.keys().filter(|(own, _)| *own == namespace.path);
        own.map(|(_, name)| name.as_str()).collect()
    }

    pub(crate) fn delete(&mut self, namespace: &Namespace, name: &str) {
        self.0.remove(&key(namespace, name));
    }

    /// Returns what a token may do by the policies of its namespace; unknown names grant nothing.
    pub(crate) fn acl(&self, token: &tokens::Token) -> Acl {
        let (names, home) = (&token.policies, token.namespace());
        let known = names.iter().filter_map(|name| self.0.get(&key(home, name)));
        let rules = known.flat_map(|(_, rules)| rules.clone()).collect();
        Acl { root: names.iter().any(|name| name == "root"), rules, home: home.path.clone() }
    }
}

/// What a token may do. The paths passed to it start at the root namespace.
pub(crate) struct Acl {
    root: bool,
    rules: Vec<Rule>,
    /// The namespace that the paths of its rules are relative to.
    home: String,
}

impl Acl {
    pub(crate) fn allows(&self, capability: &str, path: &str) -> bool {
        let Some(path) = path.strip_prefix(&self.home) else { return false };
        self.root || self.capabilities(path).contains(capability)
    }

    /// Returns whether a list is allowed; a rule for the path without its slash allows it, too.
    pub(crate) fn allows_list(&self, path: &str) -> bool {
        self.allows("list", path) || self.allows("list", path.trim_end_matches('/'))
    }

    /// Returns whether anything is granted on the mount or below it, which is what makes it
    /// visible.
    pub(crate) fn sees(&self, mount: &str) -> bool {
        let Some(mount) = mount.strip_prefix(&self.home) else { return false };
        let below = |rule: &Rule| rule.grants() && rule.reaches_into(mount);
        self.root || !self.capabilities(mount).is_empty() || self.rules.iter().any(below)
    }

    fn capabilities(&self, path: &str) -> BTreeSet<String> {
        let Some(pattern) = self.deciding_pattern(path) else { return BTreeSet::new() };
        let same = self.rules.iter().filter(|rule| rule.pattern == pattern);
        let capabilities: BTreeSet<String> =
            same.flat_map(|rule| rule.capabilities.clone()).collect();
        if capabilities.contains("deny") { BTreeSet::new() } else { capabilities }
    }

    fn deciding_pattern(&self, path: &str) -> Option<&str> {
        let (exact, wild): (Vec<_>, Vec<_>) =
            self.rules.iter().filter(|rule| rule.matches(path)).partition(|rule| rule.is_exact());
        let rule = exact
            .first()
            .copied()
            .or_else(|| wild.into_iter().max_by_key(|rule| rule.priority()))?;
        Some(&rule.pattern)
    }
}

/// Parses `path "…" { capabilities = […] }`; other attributes and nested blocks are skipped.
fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let mut tokens = tokens(text)?.into_iter();
    let mut rules = Vec::new();
    while let Some(word) = tokens.next() {
        match (word, tokens.next(), tokens.next()) {
            (Token::Word(word), Some(Token::Text(pattern)), Some(Token::Mark('{')))
                if word == "path" =>
            {
                let capabilities = capabilities(&mut tokens, &pattern)?;
                rules.push(Rule { pattern, capabilities });
            }
            (word, ..) => return Err(format!("expected a path block, found {word:?}")),
        }
    }
    Ok(rules)
}

fn capabilities(
    tokens: &mut impl Iterator<Item = Token>,
    pattern: &str,
) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    let mut depth = 1;
    let mut ours = false;
    while depth > 0 {
        match tokens.next().ok_or("object expected closing RBRACE got: EOF")? {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            Token::Mark(']') => ours = false,
            Token::Word(word) => ours = depth == 1 && word == "capabilities",
            Token::Text(capability) if ours => {
                found.insert(known(capability, pattern)?);
            }
            Token::Mark(_) | Token::Text(_) => {}
        }
    }
    Ok(found)
}

fn known(capability: String, pattern: &str) -> Result<String, String> {
    if CAPABILITIES.contains(&capability.as_str()) {
        Ok(capability)
    } else {
        Err(format!("path {pattern:?}: invalid capability {capability:?}"))
    }
}

#[derive(Debug)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let used = if rest.starts_with('#') || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").ok_or("comment not terminated")? + 2
        } else if first == '"' {
            let (literal, end) = literal(&rest[1..])?;
            tokens.push(Token::Text(literal));
            end + 1
        } else if "{}[]=,".contains(first) {
            tokens.push(Token::Mark(first));
            1
        } else {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("illegal character {first:?}"));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

/// Returns the text from after a quote up to the next one, and where it ends. It must be on one
/// line.
fn literal(rest: &str) -> Result<(String, usize), String> {
    let mut literal = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((literal, at + 1)),
            '\n' => break,
            '\\' => literal.push(escaped(&mut characters).ok_or("illegal char escape")?),
            other => literal.push(other),
        }
    }
    Err("literal not terminated".to_owned())
}

fn escaped(characters: &mut CharIndices) -> Option<char> {
    match characters.next()?.1 {
        same @ ('"' | '\\') => Some(same),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'x' => numbered(characters, 2),
        'u' => numbered(characters, 4),
        'U' => numbered(characters, 8),
        _ => None,
    }
}

fn numbered(characters: &mut CharIndices, digits: usize) -> Option<char> {
    let digits: String = characters.take(digits).map(|(_, digit)| digit).collect();
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}
