//! The parsed settings: turns the layers of text into one value for each setting.

pub(crate) mod credentials;
pub(crate) mod layers;
pub(crate) mod load;
pub(crate) mod login_token;
pub(crate) mod names;
pub(crate) mod supervise;

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::error::{Error, Errors};
use crate::file;
use crate::grammar::address::Address;
use crate::grammar::import::{self, Import};
use crate::grammar::mount::KvVersion;
use crate::grammar::namespace;
use crate::grammar::path::Path;
use crate::grammar::placed_file::{self, PlacedFile};
use crate::grammar::reference;
use crate::grammar::sourced::{Origin, Sourced};
use crate::grammar::units::{self, Names};
use crate::http::tls::TlsSettings;
use crate::log::{self as records, Format, LogSettings};
use crate::secret::{Secret, Variable};
use crate::settings::layers::Layers;
use crate::settings::login_token::HandOn;
use crate::settings::names::{
    ADDR, AUTH_METHOD, AUTH_MOUNT, AUTH_NAMESPACE, AWS_REGION, AWS_SERVER_ID, AZURE_CLIENT,
    AZURE_RESOURCE, CACERT, CACERT_BYTES, CAPATH, CLEAN_ENV, CLIENT_CERT, CLIENT_KEY,
    DISABLE_REDIRECTS, ENABLED, ENV_FILE, ENV_FROM_PATH, FILE, FILE_DIR, FILE_MODE, FILE_OWNER,
    IGNORE_MISSING, JSON_LOG, JWT_AUDIENCE, KEEP, KV_VERSION, LITERAL, LOG_FORMAT, LOG_LEVEL,
    MAX_RETRIES, NAMESPACE, OF_VAULT_ENV, ON_CONFLICT, PREFIXES, PROXY, REMOVE_FILES, REVOKE, ROLE,
    SANITIZE, SECRETS, SECRETS_FILE, SKIP_VERIFY, Setting, TIMEOUT, TLS_SERVER_NAME, TRANSIT_BATCH,
    TRANSIT_KEY, TRANSIT_MOUNT, UPCASE, USERNAME,
};

/// Everything that the user can set, parsed.
#[derive(Debug)]
pub struct Settings {
    /// Whether Vault is asked at all.
    pub enabled: bool,
    /// The address of the server.
    pub address: Option<Address>,
    /// The namespace of the secrets; `None` is the root namespace.
    pub namespace: Option<String>,
    /// The namespace of the login.
    pub auth_namespace: Option<String>,
    /// The auth method that the user named.
    pub auth_method: Option<String>,
    /// Where the auth method is mounted, if not at its own name.
    pub auth_mount: Option<Path>,
    /// The role, for methods that have one.
    pub role: Option<String>,
    /// The user, for methods that have one.
    pub username: Option<String>,
    /// The AWS region that a login is signed for.
    pub aws_region: Option<String>,
    /// `X-Vault-AWS-IAM-Server-ID`.
    pub aws_server_id: Option<String>,
    /// The resource that an Azure token is requested for.
    pub azure_resource: Option<String>,
    /// Which one to use of several Azure identities.
    pub azure_client: Option<String>,
    /// The audience of a token that is requested.
    pub jwt_audience: Option<String>,
    /// What to import.
    pub imports: Vec<Imports>,
    /// What is written to files.
    pub files: Files,
    /// The file that lists more imports.
    pub secrets_file: Option<Sourced>,
    /// How ciphertexts are decrypted.
    pub transit: Transit,
    /// What the application gets in order to talk to Vault itself, if it asks for that.
    pub hand_on: Option<HandOn>,
    /// The version of every KV mount, if it is not to be detected.
    pub kv_version: Option<KvVersion>,
    /// How imported names are made, and what happens if they already exist.
    pub naming: Naming,
    /// Whether missing paths, versions and keys only cause a warning.
    pub ignore_missing: bool,
    /// Variables whose values are never interpreted.
    pub literal: Names,
    /// Whether the application starts with an empty environment.
    pub clean_env: bool,
    /// Our own variables that the application gets anyway.
    pub keep: Names,
    /// Whether the token is revoked before the start.
    pub revoke: Revoke,
    /// The deadline for everything, counted from the start.
    pub timeout: Duration,
    /// The number of retries after the first try; `None` means until the deadline.
    pub max_retries: Option<u32>,
    /// Whether to unlink credential files after the login.
    pub remove_files: bool,
    /// Whether to stay beside the application, and how.
    pub supervise: Option<supervise::Supervise>,
    /// How TLS is done.
    pub tls: TlsSettings,
    /// Whether a standby may redirect a request to the active node.
    pub follows_redirects: bool,
    /// The proxy that is set only for Vault.
    pub proxy: Option<Sourced>,
}

/// The permission bits of a file if none are set.
pub(crate) const DEFAULT_MODE: u32 = 0o400;

/// What is written to files, and how.
#[derive(Debug, Default)]
pub struct Files {
    /// Files at places that the user named, each with the words for it in messages.
    pub placed: Vec<(String, PlacedFile)>,
    /// The permission bits; `None` is [`DEFAULT_MODE`].
    pub mode: Option<u32>,
    /// `user[:group]`, names or numbers; not looked up yet.
    pub owner: Option<Sourced>,
    /// Where files go whose place nobody names; `None` is memory.
    pub directory: Option<Sourced>,
}

/// An import, and where it is asked for.
#[derive(Clone, Debug)]
pub struct Imports {
    /// `--secret secret/app`, `secrets.txt, line 3`.
    pub place: String,
    /// The length of the mount at the start of the path, if the mount is given.
    pub mount: Option<usize>,
    /// What is imported.
    pub import: Import,
}

/// How whole-value ciphertexts are decrypted.
#[derive(Debug)]
pub struct Transit {
    /// `VAULT_TRANSIT_KEY_ID`.
    pub key: Option<Path>,
    /// `VAULT_TRANSIT_PATH`.
    pub mount: Path,
    /// `VAULT_TRANSIT_BATCH_SIZE`: how many are decrypted by one request.
    pub batch: NonZeroUsize,
}

/// How imported names are made, and what happens if a name already exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Convert to upper case.
    pub upcase: bool,
    /// Use `_` for every character outside `[A-Za-z0-9_]`.
    pub sanitize: bool,
    /// What to do about a name that already exists.
    pub on_conflict: OnConflict,
}

/// What happens to an imported name that the environment or another import also has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The start fails.
    Error,
    /// The existing value stays.
    Keep,
    /// The import wins, and a later import wins over an earlier one.
    Overwrite,
}

/// Whether the token is revoked before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// Revoke a token of our own login that carries no lease.
    Auto,
    /// Also revoke a token that was given.
    Always,
    /// Revoke nothing.
    Never,
}

impl Settings {
    /// Returns the private key's setting, if connections to Vault use it.
    pub(crate) fn client_key(&self) -> Option<&Sourced> {
        let is_https = self.address.as_ref().is_some_and(Address::is_https);
        self.tls.client.as_ref().filter(|_| is_https).map(|(_, key)| key)
    }

    /// Returns why the private key's file has to stay after the login, if somebody needs it.
    pub(crate) fn needs_key(&self) -> Option<&'static str> {
        let is_kept = |name: &str| self.keep.contain(OsStr::new(name));
        if self.supervise.is_some() {
            Some("--supervise reads it again")
        } else if self.hand_on.is_some()
            || PREFIXES.iter().any(|prefix| is_kept(&format!("{prefix}CLIENT_KEY")))
        {
            Some("the application is told of it")
        } else {
            None
        }
    }
}

/// Returns the env files that the options and the environment name.
///
/// # Errors
/// 78 for a variable that is not UTF-8.
pub(crate) fn env_files(layers: &Layers<'_>) -> Result<Vec<(Origin, PathBuf)>, Error> {
    let items = layers.items(&ENV_FILE)?;
    Ok(items.into_iter().map(|(origin, name)| (origin, PathBuf::from(name))).collect())
}

/// Returns the length of the deadline, for what is read before all settings can be parsed.
pub(crate) fn timeout(layers: &Layers<'_>) -> Duration {
    choice(layers, &TIMEOUT, units::duration, DEFAULT_TIMEOUT).unwrap_or(DEFAULT_TIMEOUT)
}

/// Returns how records are written. This must be known before anything else is reported.
///
/// # Errors
/// 78 for an unknown level or format.
pub fn log_settings(layers: &Layers<'_>) -> Result<LogSettings, Errors> {
    let mut errors = Errors::default();
    let level = errors.keep(choice(layers, &LOG_LEVEL, records::level, LevelFilter::Warn));
    let format = match layers.one(&LOG_FORMAT) {
        Some(_) => choice(layers, &LOG_FORMAT, Format::parse, Format::Text),
        None => flag(layers, &JSON_LOG, false)
            .map(|json| if json { Format::Json } else { Format::Text }),
    };
    let format = errors.keep(format);
    let settings = LogSettings {
        level: level.unwrap_or(LevelFilter::Warn),
        format: format.unwrap_or(Format::Text),
    };
    errors.or(settings)
}

/// Parses every setting.
///
/// # Errors
/// 78 for each setting that cannot be parsed, all of them at once.
pub fn understand(layers: &Layers<'_>) -> Result<Settings, Errors> {
    let mut errors = Errors::default();
    errors.keep(own_references(layers));
    macro_rules! get {
        ($result:expr) => {
            errors.keep($result)
        };
    }
    let settings = Settings {
        enabled: get!(flag(layers, &ENABLED, true)).unwrap_or(true),
        address: get!(address(layers)).flatten(),
        namespace: get!(text(layers, &NAMESPACE)).flatten().as_deref().and_then(namespace::named),
        auth_namespace: get!(auth_namespace(layers)).flatten(),
        auth_method: get!(text(layers, &AUTH_METHOD))
            .flatten()
            .map(|name| name.to_ascii_lowercase()),
        auth_mount: get!(maybe(layers, &AUTH_MOUNT, auth_mount)).flatten(),
        role: get!(text(layers, &ROLE)).flatten(),
        username: get!(text(layers, &USERNAME)).flatten(),
        aws_region: get!(text(layers, &AWS_REGION)).flatten(),
        aws_server_id: get!(text(layers, &AWS_SERVER_ID)).flatten(),
        azure_resource: get!(text(layers, &AZURE_RESOURCE)).flatten(),
        azure_client: get!(text(layers, &AZURE_CLIENT)).flatten(),
        jwt_audience: get!(text(layers, &JWT_AUDIENCE)).flatten(),
        imports: get!(imports(layers)).unwrap_or_default(),
        files: get!(files(layers)).unwrap_or_default(),
        secrets_file: get!(sourced(layers, &SECRETS_FILE)).flatten(),
        transit: get!(transit(layers)).unwrap_or_default(),
        hand_on: get!(hand_on(layers)).flatten(),
        kv_version: get!(one_of(layers, &KV_VERSION, kv_version)).flatten(),
        naming: get!(naming(layers)).unwrap_or(DEFAULT_NAMING),
        ignore_missing: get!(flag(layers, &IGNORE_MISSING, false)).unwrap_or_default(),
        literal: get!(names(layers, &LITERAL)).unwrap_or_default(),
        clean_env: get!(flag(layers, &CLEAN_ENV, false)).unwrap_or_default(),
        keep: get!(names(layers, &KEEP)).unwrap_or_default(),
        revoke: get!(choice(layers, &REVOKE, revoke, Revoke::Auto)).unwrap_or(Revoke::Auto),
        timeout: get!(choice(layers, &TIMEOUT, units::duration, DEFAULT_TIMEOUT))
            .unwrap_or(DEFAULT_TIMEOUT),
        max_retries: get!(one_of(layers, &MAX_RETRIES, units::count)).flatten(),
        remove_files: get!(flag(layers, &REMOVE_FILES, false)).unwrap_or_default(),
        supervise: get!(supervise::understand(layers)).flatten(),
        tls: get!(tls(layers)).unwrap_or_default(),
        follows_redirects: !get!(flag(layers, &DISABLE_REDIRECTS, false)).unwrap_or_default(),
        proxy: get!(sourced(layers, &PROXY)).flatten(),
    };
    errors.or(settings)
}

/// Returns warnings about variables that have no effect: names that are nearly ours, unless they
/// are the application's own, and names that mean something to vault-env but nothing here.
pub fn without_effect(layers: &Layers<'_>) -> Vec<String> {
    let keep = names(layers, &KEEP).unwrap_or_default();
    let files = layers.files.iter().flat_map(|file| &file.variables);
    let is_for_application = |variable: &Variable| {
        keep.contain(&variable.name) || reference::has_reference(variable.value.expose())
    };
    let all = layers.environment.iter().chain(files);
    let unknown = all
        .filter(|variable| !is_for_application(variable))
        .filter_map(|variable| names::unknown(&variable.name));
    unknown.chain(of_vault_env(layers)).collect()
}

fn of_vault_env(layers: &Layers<'_>) -> Vec<String> {
    let is_set = |name: &&(&str, &str)| {
        layers
            .raw(name.0)
            .and_then(Secret::expose_text)
            .is_some_and(|text| !matches!(text, "" | "0s") && units::boolean(text) != Ok(false))
    };
    OF_VAULT_ENV
        .iter()
        .filter(is_set)
        .map(|(name, instead)| format!("{name} has no effect: {instead}"))
        .collect()
}

const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const DEFAULT_NAMING: Naming =
    Naming { upcase: false, sanitize: false, on_conflict: OnConflict::Error };

/// Parses a setting's text, or returns `None` if it is not set.
fn maybe<T>(
    layers: &Layers<'_>,
    setting: &Setting,
    parse: fn(&str) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let Some((origin, text)) = found(layers, setting)? else { return Ok(None) };
    parse(&text).map(Some).map_err(|error| error.at(origin))
}

/// Parses a setting's text with a function that says what it expected. The error does not repeat
/// the text: somebody may have put a secret there.
fn one_of<T>(
    layers: &Layers<'_>,
    setting: &Setting,
    parse: fn(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Error> {
    let Some((origin, text)) = found(layers, setting)? else { return Ok(None) };
    let wrong = |expected| Error::config(format!("{origin}: the value must be {expected}"));
    parse(&text).map(Some).map_err(wrong)
}

/// Returns a setting's text and where it was found. This is separate from the functions above
/// because those are compiled once for each type.
fn found(layers: &Layers<'_>, setting: &Setting) -> Result<Option<(Origin, String)>, Error> {
    let Some(found) = layers.one(setting) else { return Ok(None) };
    let text = found.text()?.to_owned();
    Ok(Some((found.origin, text)))
}

/// Returns a setting that is parsed later, if its text can be what the user meant.
fn sourced(layers: &Layers<'_>, setting: &Setting) -> Result<Option<Sourced>, Error> {
    let found = layers.one(setting);
    if let Some(found) = &found {
        found.text()?;
    }
    Ok(found)
}

fn choice<T>(
    layers: &Layers<'_>,
    setting: &Setting,
    parse: fn(&str) -> Result<T, &'static str>,
    default: T,
) -> Result<T, Error> {
    one_of(layers, setting, parse).map(|found| found.unwrap_or(default))
}

fn flag(layers: &Layers<'_>, setting: &Setting, default: bool) -> Result<bool, Error> {
    choice(layers, setting, units::boolean, default)
}

fn text(layers: &Layers<'_>, setting: &Setting) -> Result<Option<String>, Error> {
    maybe(layers, setting, |text| Ok(text.to_owned()))
}

fn names(layers: &Layers<'_>, setting: &Setting) -> Result<Names, Error> {
    let mut names = Names::default();
    for found in layers.all(setting) {
        let wrong =
            |expected| Error::config(format!("{}: the value must be {expected}", found.origin));
        names.add(found.text()?).map_err(wrong)?;
    }
    Ok(names)
}

fn address(layers: &Layers<'_>) -> Result<Option<Address>, Error> {
    let Some((origin, text)) = found(layers, &ADDR)? else { return Ok(None) };
    let address = Address::parse(&text).map_err(|error| error.at(&origin))?;
    Ok(Some(address.shown_if(file::is_path).set_in(&origin.to_string())))
}

/// Returns the namespace of the login. If it is not set, this is the namespace of the secrets.
fn auth_namespace(layers: &Layers<'_>) -> Result<Option<String>, Error> {
    let own = text(layers, &AUTH_NAMESPACE)?;
    Ok(own
        .map_or_else(|| text(layers, &NAMESPACE), |own| Ok(Some(own)))?
        .as_deref()
        .and_then(namespace::named))
}

fn mount(text: &str) -> Result<Path, Error> {
    Path::parse(text.trim_end_matches('/'))
        .map_err(|error| error.hint("a mount is like approle or teams/web"))
}

/// Parses the mount of the auth method. `vault auth list` and API paths have `auth/` before the
/// mount, which is removed.
fn auth_mount(text: &str) -> Result<Path, Error> {
    let text = text.trim_start_matches('/');
    mount(text.strip_prefix("auth/").unwrap_or(text))
}

fn kv_version(text: &str) -> Result<KvVersion, &'static str> {
    match text {
        "1" => Ok(KvVersion::V1),
        "2" => Ok(KvVersion::V2),
        _ => Err("1 or 2"),
    }
}

fn revoke(text: &str) -> Result<Revoke, &'static str> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Revoke::Auto);
    }
    match units::boolean(text) {
        Ok(true) => Ok(Revoke::Always),
        Ok(false) => Ok(Revoke::Never),
        Err(_) => Err("auto, true or false"),
    }
}

fn on_conflict(text: &str) -> Result<OnConflict, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(OnConflict::Error),
        "keep" => Ok(OnConflict::Keep),
        "overwrite" => Ok(OnConflict::Overwrite),
        _ => Err("error, keep or overwrite"),
    }
}

fn naming(layers: &Layers<'_>) -> Result<Naming, Errors> {
    let mut errors = Errors::default();
    let upcase = errors.keep(flag(layers, &UPCASE, false)).unwrap_or_default();
    let sanitize = errors.keep(flag(layers, &SANITIZE, false)).unwrap_or_default();
    let on_conflict = errors.keep(choice(layers, &ON_CONFLICT, on_conflict, OnConflict::Error));
    errors.or(Naming { upcase, sanitize, on_conflict: on_conflict.unwrap_or(OnConflict::Error) })
}

type Form = fn(&str) -> Result<Import, Error>;

/// Returns what to import: first the imports under vault-env's name, then our own.
fn imports(layers: &Layers<'_>) -> Result<Vec<Imports>, Errors> {
    let mut errors = Errors::default();
    let forms: [(&Setting, Form); 2] = [(&ENV_FROM_PATH, import::whole), (&SECRETS, import::parse)];
    let mut imports = Vec::new();
    for (setting, parse) in forms {
        for (origin, item) in layers.items(setting)? {
            let place = format!("{origin} {item}");
            let import = errors.keep(parse(&item).map_err(|error| error.at(&place)));
            imports.extend(import.map(|import| Imports { place, mount: None, import }));
        }
    }
    errors.or(imports)
}

fn files(layers: &Layers<'_>) -> Result<Files, Errors> {
    let mut errors = Errors::default();
    let mut placed = Vec::new();
    for (origin, item) in layers.items(&FILE)? {
        // What is no path, or stands behind the =, may be a secret.
        let place = item.split_once('=').map(|(place, _)| place.trim());
        let words = match place.filter(|place| place.starts_with('/')) {
            Some(place) => format!("{origin} {place}"),
            None => origin.to_string(),
        };
        let file = errors.keep(placed_file::parse(&item).map_err(|error| error.at(&words)));
        placed.extend(file.map(|file| (words, file)));
    }
    let mode = errors.keep(one_of(layers, &FILE_MODE, units::mode)).flatten();
    let owner = errors.keep(sourced(layers, &FILE_OWNER)).flatten();
    let directory = errors.keep(sourced(layers, &FILE_DIR)).flatten();
    errors.or(Files { placed, mode, owner, directory })
}

impl Transit {
    /// Returns the path at which ciphertexts are decrypted.
    pub fn path(&self) -> Option<Path> {
        self.key.as_ref().map(|key| self.mount.join(&Path::constant("decrypt")).join(key))
    }
}

impl Default for Transit {
    fn default() -> Transit {
        Transit { key: None, mount: Path::constant("transit"), batch: NonZeroUsize::MAX }
    }
}

fn transit(layers: &Layers<'_>) -> Result<Transit, Errors> {
    let mut errors = Errors::default();
    let default = Transit::default();
    let key = errors.keep(maybe(layers, &TRANSIT_KEY, Path::parse)).flatten();
    let mount = errors.keep(maybe(layers, &TRANSIT_MOUNT, mount)).flatten();
    let batch = errors.keep(choice(layers, &TRANSIT_BATCH, batch, default.batch));
    errors.or(Transit {
        key,
        mount: mount.unwrap_or(default.mount),
        batch: batch.unwrap_or(default.batch),
    })
}

/// Parses the batch size. 0 means unset, as for vault-env, which divides by the size.
fn batch(text: &str) -> Result<NonZeroUsize, &'static str> {
    let size = text.parse().map_err(|_| "a whole number from 0, which is all at once")?;
    Ok(NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MAX))
}

fn hand_on(layers: &Layers<'_>) -> Result<Option<HandOn>, Error> {
    let wanted = login_token::wanted(layers);
    if wanted.is_some() && choice(layers, &REVOKE, revoke, Revoke::Auto) == Ok(Revoke::Always) {
        return Err(Error::config(
            "the application asks for the token of the login (vault:login), and --revoke is true",
        )
        .hint("a revoked token is of no use to it: leave --revoke (VAULT_REVOKE_TOKEN) out"));
    }
    Ok(wanted)
}

fn tls(layers: &Layers<'_>) -> Result<TlsSettings, Error> {
    let client = match (sourced(layers, &CLIENT_CERT)?, sourced(layers, &CLIENT_KEY)?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => {
            let error = Error::config(format!("{} is set alone", only.origin));
            return Err(error
                .hint("a client certificate needs both VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"));
        }
    };
    Ok(TlsSettings {
        ca_file: sourced(layers, &CACERT)?,
        ca_bytes: sourced(layers, &CACERT_BYTES)?,
        ca_path: sourced(layers, &CAPATH)?,
        client,
        server_name: text(layers, &TLS_SERVER_NAME)?,
        skip_verify: flag(layers, &SKIP_VERIFY, false)?,
    })
}

/// Rejects references in our own settings: nothing can fetch them before the login that they are
/// for.
fn own_references(layers: &Layers<'_>) -> Result<(), Errors> {
    let mut errors = Errors::default();
    let files = layers.files.iter().flat_map(|file| &file.variables);
    for variable in layers.environment.iter().chain(files) {
        let asks_for_token =
            names::is_token(&variable.name) && reference::is_login(variable.value.expose());
        if names::is_own(&variable.name)
            && !asks_for_token
            && !FILE.has_variable(&variable.name)
            && reference::has_reference(variable.value.expose())
        {
            errors.0.push(reference_in(&variable.name.to_string_lossy()));
        }
    }
    errors.or(())
}

fn reference_in(name: &str) -> Error {
    Error::config(format!("{name}: a reference in a setting of vault-exec itself")).hint(
        "settings are needed before anything can be fetched: give the value, or a file for a \
         credential",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::layers::Options;

    fn understood(
        options: &[(&'static str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Settings, Errors> {
        let environment: Vec<Variable> =
            environment.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        understand(&Layers {
            options: &Options::of(options),
            environment: &environment,
            files: &[],
        })
    }

    #[test]
    fn defaults() {
        let settings = understood(&[], &[]).expect("nothing set is fine");
        assert!(settings.enabled && settings.address.is_none() && settings.imports.is_empty());
        assert_eq!((settings.timeout, settings.max_retries), (Duration::from_mins(1), None));
        assert_eq!((settings.revoke, settings.naming), (Revoke::Auto, DEFAULT_NAMING));
    }

    #[test]
    fn every_setting_that_cannot_be_understood_is_named_and_its_text_is_not_repeated() {
        let wrong = [
            "VAULT_ENABLED",
            "VAULT_ADDR",
            "VAULT_EXEC_KV_VERSION",
            "VAULT_EXEC_ON_CONFLICT",
            "VAULT_EXEC_UPCASE",
            "BAO_EXEC_SANITIZE",
            "VAULT_IGNORE_MISSING_SECRETS",
            "VAULT_EXEC_CLEAN_ENV",
            "VAULT_REVOKE_TOKEN",
            "VAULT_CLIENT_TIMEOUT",
            "BAO_MAX_RETRIES",
            "VAULT_EXEC_REMOVE_CREDENTIAL_FILES",
            "VAULT_SKIP_VERIFY",
            "VAULT_TRANSIT_BATCH_SIZE",
        ];
        let set: Vec<(&str, &str)> = wrong.iter().map(|name| (*name, "s3cret")).collect();
        let errors = understood(&[], &set).expect_err("all are wrong").0;
        assert_eq!(errors.len(), wrong.len());
        for name in wrong {
            assert!(
                errors.iter().any(|error| error.message.starts_with(name)),
                "{name} in {errors:?}"
            );
        }
        assert!(!format!("{errors:?}").contains("s3cret"));
    }

    #[test]
    fn options_that_cannot_be_understood_are_named_as_options() {
        let errors =
            understood(&[("timeout", "soon"), ("addr", "vault:8200"), ("secret", "a/../b")], &[])
                .expect_err("wrong")
                .0;
        let starts: Vec<&str> =
            errors.iter().filter_map(|error| error.message.split([':', ' ']).next()).collect();
        assert_eq!(starts, ["--addr", "--secret", "--timeout"]);
    }

    #[test]
    fn revocation_has_three_settings() {
        for (text, expected) in [
            ("auto", Revoke::Auto),
            ("AUTO", Revoke::Auto),
            ("1", Revoke::Always),
            ("no", Revoke::Never),
        ] {
            assert_eq!(understood(&[("revoke", text)], &[]).expect(text).revoke, expected);
        }
    }

    #[test]
    fn a_reference_in_one_of_our_settings_is_an_error_and_in_the_applications_own_is_none() {
        for (name, value) in [
            ("VAULT_TOKEN", "vault:logins"),
            ("BAO_ADDR", "http://${vault:a/b#c}"),
            ("VAULT_SECRET_ID_FILE", ">>bao:x"),
        ] {
            let errors = understood(&[], &[(name, value)]).expect_err(name).0;
            assert!(errors.iter().any(|error| error.message.contains(name)), "{errors:?}");
        }
        assert!(understood(&[], &[("VAULT_DB_PASSWORD", "vault:a/b#c")]).is_ok());
        assert!(
            understood(&[], &[("VAULT_TOKEN", "vault:login"), ("BAO_TOKEN", "bao:login")]).is_ok()
        );
        assert!(understood(&[], &[("VAULT_ROLE", "vault:login")]).is_err());
    }

    #[test]
    fn a_token_that_is_handed_on_is_not_to_be_revoked() {
        let login = ("VAULT_TOKEN", "vault:login");
        let errors = understood(&[("revoke", "true")], &[login]).expect_err("both").0;
        assert!(errors.iter().any(|error| error.message.contains("vault:login")), "{errors:?}");
        assert!(understood(&[("revoke", "false")], &[login]).expect("settings").hand_on.is_some());
        assert!(understood(&[], &[("VAULT_TOKEN", "t")]).expect("settings").hand_on.is_none());
    }

    #[test]
    fn batches_of_transit() {
        let size = |text| {
            understood(&[], &[("VAULT_TRANSIT_BATCH_SIZE", text)]).expect(text).transit.batch.get()
        };
        assert_eq!((size("25"), size("0")), (25, usize::MAX));
    }

    #[test]
    fn a_client_certificate_needs_its_key() {
        let errors = understood(&[], &[("VAULT_CLIENT_CERT", "a")]).expect_err("no key").0;
        assert!(
            errors.iter().any(|error| error.message.contains("VAULT_CLIENT_CERT")),
            "{errors:?}"
        );
    }

    #[test]
    fn the_namespace_of_the_login_is_that_of_the_secrets_unless_it_is_set() {
        let namespaces = |set: &[(&str, &str)]| {
            let settings = understood(&[], set).expect("settings");
            (settings.auth_namespace.unwrap_or_default(), settings.namespace.unwrap_or_default())
        };
        let both = |login: &str, secrets: &str| (login.to_owned(), secrets.to_owned());
        assert_eq!(namespaces(&[]), both("", ""));
        assert_eq!(namespaces(&[("VAULT_NAMESPACE", "/team/web/")]), both("team/web", "team/web"));
        assert_eq!(
            namespaces(&[("VAULT_NAMESPACE", "team/web"), ("BAO_AUTH_NAMESPACE", "team")]),
            both("team", "team/web")
        );
        assert_eq!(
            namespaces(&[("VAULT_NAMESPACE", "team"), ("VAULT_AUTH_NAMESPACE", "/")]),
            both("", "team")
        );
        assert_eq!(namespaces(&[("VAULT_AUTH_NAMESPACE", "team")]), both("team", ""));
    }
}
