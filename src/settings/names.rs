//! The one table of options and variables (pure).
//!
//! Parsing, `--help`, the lookup in the layers and the tables of the documentation all come from
//! it. A manual page or shell completions could, too.

use std::ffi::OsStr;

use crate::grammar::nearest::nearest;

/// The prefixes of our variables, in the order in which they are looked for.
pub(crate) const PREFIXES: [&str; 2] = ["BAO_", "VAULT_"];

/// One option, setting or credential.
#[derive(Debug)]
pub struct Setting {
    /// The option's name without the dashes.
    pub option: Option<&'static str>,
    /// What the option, or the variable, takes.
    pub takes: Takes,
    /// Its variables without their prefix. The first one wins.
    pub variables: &'static [&'static str],
    /// The default in words; empty if there is none.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
}

/// What an option or a variable takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// True or false. An option without a value is true.
    Switch,
    /// A text, and the word that stands for it.
    Text(&'static str),
    /// Several texts: the option is repeatable, the variable is a comma list.
    List(&'static str),
    /// Several texts: the option is repeatable, the variable has one on each line.
    Lines(&'static str),
    /// One of these words.
    OneOf(&'static str, &'static [&'static str]),
    /// The path of a file.
    File(&'static str),
    /// Several paths: the option is repeatable, the variable is a comma list.
    Files(&'static str),
    /// The path of a directory.
    Directory(&'static str),
    /// A credential, which is never an option. It is a variable, or a variable with `_FILE` after
    /// its name that names a file. The words here are other names for that `_FILE` variable.
    Credential(&'static [&'static str]),
    /// A credential that may have white space at its ends.
    Password,
}

macro_rules! table {
    ($($name:ident = $option:expr, $takes:expr, [$($variable:literal),*], $default:literal, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub(crate) static $name: Setting = Setting {
                option: $option,
                takes: $takes,
                variables: &[$($variable),*],
                default: $default,
                help: $help,
            };
        )+
        /// The whole table, in the order of `--help`.
        pub const ALL: &[&Setting] = &[$(&$name),+];
    };
}

use Takes::{Credential, Directory, File, Files, Lines, List, OneOf, Password, Switch, Text};

table! {
    ENABLED = None, Switch, ["ENABLED"], "true",
        "false: Vault is not asked, and references get their defaults";
    ADDR = Some("addr"), Text("URL"), ["AGENT_ADDR", "ADDR", "SERVER_URL"], "",
        "server: http(s)://host[:port][/prefix] or unix:///path";
    NAMESPACE = Some("namespace"), Text("NAME"), ["NAMESPACE"], "",
        "namespace for login and secrets";
    AUTH_NAMESPACE = None, Text("NAME"), ["AUTH_NAMESPACE"], "that of the secrets",
        "namespace for the login";
    AUTH_METHOD = Some("auth-method"), OneOf("METHOD", AUTH_METHODS), ["AUTH_METHOD"], "inferred",
        "token, approle, kubernetes, jwt, cert, userpass, ldap, aws, gcp, azure or none";
    AUTH_MOUNT = Some("auth-mount"), Text("PATH"), ["AUTH_MOUNT", "AUTH_PATH", "PATH"],
        "the method's name", "where the method is mounted";
    ROLE = Some("role"), Text("NAME"), ["ROLE", "AUTH_ROLE"], "",
        "role, for the methods that have one";
    TOKEN = None, Credential(&["TOKEN_PATH"]), ["TOKEN"], "",
        "a token; vault:login hands on that of the login";
    ROLE_ID = None, Credential(&[]), ["ROLE_ID"], "", "approle: which application this is";
    SECRET_ID = None, Credential(&[]), ["SECRET_ID"], "", "approle: the proof";
    WRAPPED_SECRET_ID = None, Credential(&[]), ["WRAPPED_SECRET_ID"], "",
        "approle: a wrapping token with the secret id in it";
    JWT = None, Credential(&[]), ["JWT", "ID_TOKEN"], "", "jwt, kubernetes: the token";
    USERNAME = None, Text("NAME"), ["USERNAME"], "", "userpass, ldap: the user";
    PASSWORD = None, Password, ["PASSWORD"], "", "userpass, ldap: the password";
    AWS_REGION = None, Text("REGION"), ["AWS_REGION"], "us-east-1",
        "aws: the region that the login is signed for; auto is AWS_REGION";
    AWS_SERVER_ID = None, Text("TEXT"), ["AWS_IAM_SERVER_ID"], "",
        "aws: X-Vault-AWS-IAM-Server-ID, if the mount wants it";
    AZURE_RESOURCE = None, Text("URL"), ["AZURE_RESOURCE"], "https://management.azure.com/",
        "azure: the resource that the token is for";
    AZURE_CLIENT = None, Text("ID"), ["AZURE_CLIENT_ID"], "AZURE_CLIENT_ID",
        "azure: which of several identities; system is the machine's own";
    JWT_AUDIENCE = None, Text("TEXT"), ["JWT_AUDIENCE"], "",
        "jwt: the audience of the token that GitHub Actions is asked for";
    SECRETS = Some("secret"), List("IMPORT"), ["EXEC_SECRETS"], "",
        "import [NAME=]path[#key[#version]], path##version or 'PREFIX_*=path'";
    SECRETS_FILE = Some("secrets-file"), File("FILE"), ["EXEC_SECRETS_FILE"], "",
        "import what a vaultenv secrets file lists";
    ENV_FROM_PATH = None, List("path[#version]"), ["ENV_FROM_PATH"], "",
        "import every key of these paths, as vault-env does";
    TRANSIT_KEY = None, Text("NAME"), ["TRANSIT_KEY_ID"], "",
        "the transit key that ciphertexts are decrypted with";
    TRANSIT_MOUNT = None, Text("PATH"), ["TRANSIT_PATH"], "transit",
        "where the transit engine is mounted";
    TRANSIT_BATCH = None, Text("NUMBER"), ["TRANSIT_BATCH_SIZE"], "0, all",
        "how many ciphertexts one request decrypts";
    ENV_FILE = Some("env-file"), Files("FILE"), ["EXEC_ENV_FILE"], "",
        "settings and variables for one environment; a later file wins";
    FILE = Some("file"), Lines("PATH=VALUE"), ["EXEC_FILES"], "",
        "write path#key[#version], or a value with references, to a file; '/DIR/*=path' for each key";
    FILE_MODE = Some("file-mode"), Text("MODE"), ["EXEC_FILE_MODE"], "0400",
        "permission bits of files, octal";
    FILE_OWNER = Some("file-owner"), Text("USER[:GROUP]"), ["EXEC_FILE_OWNER"], "this user",
        "owner of files, names or numbers";
    FILE_DIR = Some("file-dir"), Directory("DIRECTORY"), ["EXEC_FILE_DIR"], "memory",
        "where the files of vault-file: are written";
    KV_VERSION = Some("kv-version"), OneOf("1|2", &["1", "2"]), ["EXEC_KV_VERSION"], "found out",
        "the version of all KV mounts, which is not detected then";
    ON_CONFLICT = Some("on-conflict"), OneOf("WHAT", &["error", "keep", "overwrite"]),
        ["EXEC_ON_CONFLICT"], "error",
        "an imported name that exists already: error, keep or overwrite";
    UPCASE = Some("upcase"), Switch, ["EXEC_UPCASE"], "false", "imported names in upper case";
    SANITIZE = Some("sanitize"), Switch, ["EXEC_SANITIZE"], "false",
        "imported names with _ for every character outside [A-Za-z0-9_]";
    IGNORE_MISSING = Some("ignore-missing"), Switch, ["IGNORE_MISSING_SECRETS"], "false",
        "leave a variable out, with a warning, if its path, version or key is missing";
    LITERAL = Some("literal"), List("NAME"), ["EXEC_LITERAL"], "",
        "names, or PREFIX_*, whose values are never interpreted";
    CLEAN_ENV = Some("clean-env"), Switch, ["EXEC_CLEAN_ENV"], "false",
        "pass on fetched variables, those of env files, PATH and --keep ones only";
    KEEP = Some("keep"), List("NAME"), ["EXEC_KEEP", "ENV_PASSTHROUGH"], "",
        "VAULT_* and BAO_* names, or PREFIX_*, not to strip";
    REVOKE = Some("revoke"), OneOf("WHEN", &["auto", "true", "false"]), ["REVOKE_TOKEN"], "auto",
        "revoke the token before the start: auto, true or false";
    TIMEOUT = Some("timeout"), Text("DURATION"), ["EXEC_TIMEOUT", "CLIENT_TIMEOUT"], "60s",
        "one deadline over everything until the start";
    MAX_RETRIES = Some("max-retries"), Text("NUMBER"), ["MAX_RETRIES"], "until the deadline",
        "tries of a request after the first one";
    REMOVE_FILES = Some("remove-credential-files"), Switch, ["EXEC_REMOVE_CREDENTIAL_FILES"],
        "false", "remove credential files after a successful login";
    SUPERVISE = Some("supervise"), Switch, ["EXEC_SUPERVISE", "ENV_DAEMON"], "false",
        "stay as an init, and keep the application's credentials alive";
    REFRESH = Some("refresh"), Text("DURATION"), ["EXEC_REFRESH"], "off",
        "how often KV is looked at; at least 10s";
    ON_CHANGE = Some("on-change"), Text("WHAT"), ["EXEC_ON_CHANGE"], "restart",
        "restart, signal:NAME, exec:PROGRAM ARGUMENTS, exit[:CODE] or none";
    ON_FILE_CHANGE = Some("on-file-change"), Text("WHAT"), ["EXEC_ON_FILE_CHANGE"],
        "as --on-change", "the same where only files changed";
    ON_EXPIRY = Some("on-expiry"), Text("WHAT"), ["EXEC_ON_EXPIRY"], "keep",
        "credentials ended and could not be replaced: keep or exit[:CODE]";
    REPLACE_BEFORE = Some("replace-before"), Text("DURATION"), ["EXEC_REPLACE_BEFORE"],
        "10-20 % of the life", "replace at least this long before an end that cannot be moved";
    STOP_SIGNAL = Some("stop-signal"), Text("SIGNAL"), ["EXEC_STOP_SIGNAL"], "TERM",
        "what stops the application at a restart, or at an exit of ours";
    STOP_TIMEOUT = Some("stop-timeout"), Text("DURATION"), ["EXEC_STOP_TIMEOUT"], "30s",
        "how long it gets for that before it is killed";
    SPLAY = Some("splay"), Text("DURATION"), ["EXEC_SPLAY"], "0",
        "random wait of at most this before acting";
    SIGNAL_GROUP = Some("signal-group"), Switch, ["EXEC_SIGNAL_GROUP"], "false",
        "signals reach the application's whole group";
    STATUS_FILE = Some("status-file"), File("FILE"), ["EXEC_STATUS_FILE"], "",
        "where the state is written as JSON";
    CHECK = Some("check"), Switch, [], "",
        "fetch everything and start nothing: a line for each variable, without its value";
    PRINT_POLICY = Some("print-policy"), Switch, [], "",
        "print the least-privilege policy for these settings, without asking Vault";
    INSTALL = Some("install"), File("PATH"), [], "",
        "copy this program to a file or into a directory, and start nothing";
    LOG_LEVEL = Some("log-level"),
        OneOf("LEVEL", &["off", "error", "warn", "info", "debug", "trace"]),
        ["EXEC_LOG", "LOG_LEVEL"], "warn", "off, error, warn, info, debug or trace";
    LOG_FORMAT = Some("log-format"), OneOf("FORMAT", &["text", "json"]), ["EXEC_LOG_FORMAT"],
        "text", "text or json";
    JSON_LOG = None, Switch, ["JSON_LOG"], "false", "the same as a log format of json";
    CACERT = None, File("FILE"), ["CACERT"], "the system's",
        "certificates of the authorities to trust, in PEM";
    CACERT_BYTES = None, Text("PEM"), ["CACERT_BYTES"], "", "the same as text";
    CAPATH = None, Directory("DIRECTORY"), ["CAPATH"], "", "a directory of such files";
    CLIENT_CERT = None, File("FILE"), ["CLIENT_CERT"], "", "a client certificate";
    CLIENT_KEY = None, File("FILE"), ["CLIENT_KEY"], "", "its key";
    TLS_SERVER_NAME = None, Text("NAME"), ["TLS_SERVER_NAME"], "the address's host",
        "the name to ask for and to verify";
    SKIP_VERIFY = None, Switch, ["SKIP_VERIFY"], "false", "verify nothing, and warn each time";
    DISABLE_REDIRECTS = None, Switch, ["DISABLE_REDIRECTS"], "false",
        "follow no redirect of a standby to the active node";
    PROXY = None, Text("URL"), ["PROXY_ADDR", "HTTP_PROXY"], "HTTP(S)_PROXY",
        "the proxy to Vault";
    HELP = Some("help"), Switch, [], "", "print this help";
    VERSION = Some("version"), Switch, [], "", "print the version";
}

/// The names of the auth methods.
const AUTH_METHODS: &[&str] = &[
    "token",
    "approle",
    "kubernetes",
    "jwt",
    "cert",
    "userpass",
    "ldap",
    "aws",
    "gcp",
    "azure",
    "none",
];

/// The settings that say how to reach Vault, and the name of each in a Vault client.
pub(crate) const OF_CONNECTION: [(&Setting, &str); 10] = [
    (&ADDR, "ADDR"),
    (&NAMESPACE, "NAMESPACE"),
    (&CACERT, "CACERT"),
    (&CACERT_BYTES, "CACERT_BYTES"),
    (&CAPATH, "CAPATH"),
    (&CLIENT_CERT, "CLIENT_CERT"),
    (&CLIENT_KEY, "CLIENT_KEY"),
    (&TLS_SERVER_NAME, "TLS_SERVER_NAME"),
    (&SKIP_VERIFY, "SKIP_VERIFY"),
    (&PROXY, "PROXY_ADDR"),
];

/// Settings of a Vault client that vault-exec does not use, or uses differently.
pub(crate) const OF_CLIENTS: [&str; 5] =
    ["CLIENT_TIMEOUT", "MAX_RETRIES", "SRV_LOOKUP", "WRAP_TTL", "MFA"];

/// Variables that mean something to vault-env but nothing here, and what happens instead.
pub(crate) const OF_VAULT_ENV: [(&str, &str); 2] = [
    ("VAULT_ENV_DELAY", "the application starts at once, and its own start can wait"),
    ("VAULT_ENV_LOG_SERVER", "records go to stderr"),
];

impl Setting {
    /// Returns whether the option may be given several times and the variable is a list.
    pub fn is_repeatable(&self) -> bool {
        matches!(self.takes, List(_) | Lines(_) | Files(_))
    }

    /// Returns whether the setting names files or directories.
    pub fn is_path(&self) -> bool {
        matches!(self.takes, File(_) | Files(_) | Directory(_))
    }

    /// Returns whether the setting is a credential.
    pub fn is_credential(&self) -> bool {
        matches!(self.takes, Credential(_) | Password)
    }

    /// Returns the other names for the variable that names a credential's file.
    pub fn file_aliases(&self) -> &'static [&'static str] {
        match self.takes {
            Credential(aliases) => aliases,
            _ => &[],
        }
    }

    /// Returns the names, without prefix, of the variables that hold a value and of those that name
    /// a credential's file.
    pub fn all_variables(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.variables {
            names.push((*name).to_owned());
            names.extend(self.is_credential().then(|| format!("{name}_FILE")));
        }
        names.extend(self.file_aliases().iter().map(|alias| (*alias).to_owned()));
        names
    }

    /// Returns whether this setting has the variable `name`.
    pub fn has_variable(&self, name: &OsStr) -> bool {
        let Some(rest) = without_prefix(name) else { return false };
        self.is_named(rest)
    }

    fn is_named(&self, rest: &str) -> bool {
        let file = rest.strip_suffix("_FILE").filter(|_| self.is_credential());
        self.variables.contains(&rest)
            || file.is_some_and(|name| self.variables.contains(&name))
            || self.file_aliases().contains(&rest)
    }
}

/// Returns the credentials of the table.
pub fn credentials() -> impl Iterator<Item = &'static Setting> {
    ALL.iter().copied().filter(|setting| setting.is_credential())
}

/// Returns the option with this name, without its dashes.
pub(crate) fn option(name: &str) -> Option<&'static Setting> {
    ALL.iter().copied().find(|setting| setting.option == Some(name))
}

/// Returns whether a variable is one of our settings or credentials.
pub(crate) fn is_own(name: &OsStr) -> bool {
    without_prefix(name).is_some_and(|rest| ALL.iter().any(|setting| setting.is_named(rest)))
}

/// Returns whether a variable may ask for the token of the login.
pub(crate) fn is_token(name: &OsStr) -> bool {
    without_prefix(name) == Some("TOKEN")
}

/// Returns whether a name is stripped from the application's environment.
pub(crate) fn is_stripped(name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Returns whether a variable of a platform holds a key or a token.
pub(crate) fn is_key_of_platform(name: &[u8]) -> bool {
    matches!(
        name,
        b"AWS_SECRET_ACCESS_KEY"
            | b"AWS_SESSION_TOKEN"
            | b"AWS_CONTAINER_AUTHORIZATION_TOKEN"
            | b"IDENTITY_HEADER"
            | b"ACTIONS_ID_TOKEN_REQUEST_TOKEN"
    )
}

/// Returns a warning about a variable that looks like one of ours but is not. Variables that
/// Kubernetes sets for a service are ignored.
pub(crate) fn unknown(name: &OsStr) -> Option<String> {
    let rest = without_prefix(name)?;
    let is_service_link = rest.contains("_PORT") || rest.contains("_SERVICE_");
    if !rest.starts_with("EXEC_") || is_service_link || is_own(name) {
        return None;
    }
    let name = name.to_str()?;
    let prefix = name.strip_suffix(rest)?;
    let ours = ALL.iter().flat_map(|setting| setting.variables.iter().copied());
    let ours = ours.filter(|variable| variable.starts_with("EXEC_"));
    Some(match nearest(rest, ours) {
        Some(meant) => {
            format!("{name} is no setting of vault-exec; did you mean {prefix}{meant}?")
        }
        None => format!("{name} is no setting of vault-exec"),
    })
}

fn without_prefix(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?;
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_for_one_setting() {
        let options: Vec<&str> = ALL.iter().filter_map(|setting| setting.option).collect();
        let variables: Vec<String> =
            ALL.iter().flat_map(|setting| setting.all_variables()).collect();
        assert_eq!(options.iter().collect::<BTreeSet<_>>().len(), options.len());
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
        for setting in ALL {
            assert!(setting.option.is_some() || !setting.variables.is_empty(), "{setting:?}");
            assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{setting:?}");
            assert!(!(setting.is_credential() && setting.option.is_some()), "{setting:?}");
        }
    }

    #[test]
    fn our_names_are_known_with_both_prefixes_and_others_are_not() {
        for name in [
            "VAULT_ADDR",
            "BAO_ADDR",
            "VAULT_TOKEN",
            "BAO_TOKEN_FILE",
            "VAULT_TOKEN_PATH",
            "VAULT_SECRET_ID_FILE",
            "VAULT_PATH",
            "VAULT_ID_TOKEN_FILE",
        ] {
            assert!(is_own(OsStr::new(name)), "{name}");
        }
        for name in
            ["VAULT_PORT", "VAULT_DB_PASSWORD", "ADDR", "VAULT_", "BAO_ADDR_FILE", "VAULT_addr"]
        {
            assert!(!is_own(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_name_like_one_of_ours_is_told_from_a_service_link() {
        for (name, meant) in [
            ("VAULT_EXEC_TIMEOUTT", "did you mean VAULT_EXEC_TIMEOUT?"),
            ("BAO_EXEC_TIMEOUTT", "did you mean BAO_EXEC_TIMEOUT?"),
            ("VAULT_EXEC_SECRET", "did you mean VAULT_EXEC_SECRETS?"),
            ("VAULT_EXEC_LOGLEVEL", "did you mean VAULT_EXEC_LOG?"),
            ("VAULT_EXEC_ON_CONFLIT", "did you mean VAULT_EXEC_ON_CONFLICT?"),
            ("VAULT_EXEC_NONSENSE", "VAULT_EXEC_NONSENSE is no setting of vault-exec"),
        ] {
            let told = unknown(OsStr::new(name)).unwrap_or_default();
            assert!(told.ends_with(meant), "{told}");
        }
        for name in [
            "VAULT_EXEC_TIMEOUT",
            "VAULT_EXEC_PORT",
            "VAULT_EXEC_PORT_8200_TCP_ADDR",
            "VAULT_EXEC_SERVICE_HOST",
            "VAULT_EXEC_API_SERVICE_PORT_HTTP",
            "VAULT_TIMEOUTT",
            "EXEC_TIMEOUTT",
            "VAULT_EXECUTOR",
        ] {
            assert_eq!(unknown(OsStr::new(name)), None, "{name}");
        }
    }
}
