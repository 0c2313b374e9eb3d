//! AWS credentials, in the order in which AWS's own libraries look for them: environment, web
//! identity, container, instance. Source: "Standardized credential providers", AWS SDKs and Tools
//! Reference Guide.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use crate::cloud::Platform;
use crate::cloud::metadata::{self, Ask, Page, Route, Web};
use crate::cloud::sigv4::Credentials;
use crate::error::{Code, Error};
use crate::file;
use crate::grammar::address;
use crate::grammar::path::percent_encoded;
use crate::grammar::sourced::{Origin, Sourced};
use crate::http;
use crate::http::retry::Patience;
use crate::secret::{Secret, Variable};

/// Where an ECS container asks, and where an instance asks.
const CONTAINER: &str = "http://169.254.170.2";
const INSTANCE: &str = "http://169.254.169.254";
const INSTANCE_IPV6: &str = "http://[fd00:ec2::254]";
/// Link-local hosts of ECS and EKS. Apart from this machine, only these may be asked for
/// credentials in clear.
const ON_LINK: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

const FROM_CONTAINER: &str = "the container's credentials (AWS)";
const FROM_INSTANCE: &str = "the instance's credentials (AWS, IMDSv2)";
const FROM_IDENTITY: &str = "credentials for the web identity (AWS, AssumeRoleWithWebIdentity)";
const NO_INSTANCE: &str = "there are no other credentials: no AWS_ACCESS_KEY_ID, \
                           AWS_WEB_IDENTITY_TOKEN_FILE or AWS_CONTAINER_CREDENTIALS_… in the \
                           environment. On EC2 a container needs a hop limit of 2 \
                           (http-put-response-hop-limit)";
const NO_CONTAINER: &str =
    "the address comes from AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI";
const NO_STS: &str = "AWS's token service must be reached from here; AWS_ENDPOINT_URL_STS names \
                      another address for it";

const NOT_TRUSTED: &str =
    "does the role in AWS_ROLE_ARN trust the issuer and the subject of the token?";

/// Where the credentials come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They are in the environment.
    Keys(Credentials),
    /// They are exchanged for the token of an identity provider such as EKS.
    WebIdentity(WebIdentity),
    /// ECS or EKS gives them to each container.
    Container {
        /// The URL of the credentials.
        url: Url,
        /// Proves that the request comes from this container.
        authorization: Option<Authorization>,
    },
    /// EC2 gives them to the instance.
    Instance {
        /// The address of its metadata server.
        server: Url,
    },
}

/// A token for a container's credentials.
#[derive(Debug)]
pub(crate) enum Authorization {
    /// The token itself.
    Value(Secret),
    /// A file with the token; the token in it is renewed.
    File(PathBuf),
}

/// What to exchange for credentials.
#[derive(Debug)]
pub(crate) struct WebIdentity {
    endpoint: Url,
    role: String,
    session: String,
    token: PathBuf,
    /// The variables that name its proxies.
    environment: Vec<Variable>,
    /// `AWS_CA_BUNDLE`: the certificate authorities for AWS's hosts.
    authorities: Option<Sourced>,
}

/// Returns the first source that the environment names. If it names none, returns the instance, or
/// `None` if the environment says not to ask it.
///
/// # Errors
/// 78 for variables that are inconsistent or not understood.
pub(crate) fn source(platform: &dyn Platform) -> Result<Option<Source>, Error> {
    if let Some(keys) = keys(platform)? {
        return Ok(Some(Source::Keys(keys)));
    }
    if let Some(identity) = web_identity(platform)? {
        return Ok(Some(Source::WebIdentity(identity)));
    }
    if let Some(container) = container(platform)? {
        return Ok(Some(container));
    }
    instance(platform)
}

/// Returns the region that the environment names.
///
/// # Errors
/// 78 for anything that is not a region.
pub(crate) fn region(platform: &dyn Platform) -> Result<Option<String>, Error> {
    let found = first(platform, ["AWS_REGION", "AWS_DEFAULT_REGION"]);
    found.map(|(name, region)| checked_region(region, name)).transpose()
}

/// Checks the name of a region, which becomes part of a host name.
///
/// # Errors
/// 78 for anything but letters, digits and dashes.
pub(crate) fn checked_region(region: &str, origin: &str) -> Result<String, Error> {
    let is_name = !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let wrong =
        || Error::config(format!("{origin}: not a region")).hint("a region is like eu-central-1");
    if is_name { Ok(region.to_ascii_lowercase()) } else { Err(wrong()) }
}

/// Returns the host of the token service: that of the region, or the global one.
pub(crate) fn sts_host(region: Option<&str>) -> String {
    /// Prefixes of regions outside the partition `aws` and their domains, as in the partitions.json
    /// of AWS's client libraries.
    const PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let Some(region) = region.filter(|region| *region != "us-east-1") else {
        return "sts.amazonaws.com".to_owned();
    };
    let partition = PARTITIONS.iter().find(|(start, _)| region.starts_with(start));
    format!("sts.{region}.{}", partition.map_or("amazonaws.com", |(_, domain)| domain))
}

/// Returns the first of two variables that is set, with its name.
fn first<'a>(
    platform: &'a dyn Platform,
    names: [&'static str; 2],
) -> Option<(&'static str, &'a str)> {
    names.into_iter().find_map(|name| Some((name, platform.text(name)?)))
}

fn keys(platform: &dyn Platform) -> Result<Option<Credentials>, Error> {
    let value = |name| platform.variable(name).map(Secret::trimmed);
    match (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key_id), Some(secret_access_key)) => {
            let session_token = value("AWS_SESSION_TOKEN");
            let credentials = Credentials { access_key_id, secret_access_key, session_token };
            check(&credentials).ok_or_else(|| {
                Error::config(
                    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: characters that \
                     no key has",
                )
            })?;
            Ok(Some(credentials))
        }
        (None, None) => Ok(None),
        _ => Err(Error::config("one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set alone")),
    }
}

/// Checks the parts of the credentials, since they become parts of headers.
fn check(credentials: &Credentials) -> Option<()> {
    let Credentials { access_key_id, secret_access_key, session_token } = credentials;
    metadata::token(access_key_id)?;
    metadata::token(secret_access_key)?;
    session_token.as_ref().is_none_or(|token| metadata::token(token).is_some()).then_some(())
}

const BUNDLE: &str = "AWS_CA_BUNDLE";

fn web_identity(platform: &dyn Platform) -> Result<Option<WebIdentity>, Error> {
    let Some(token) = platform.text("AWS_WEB_IDENTITY_TOKEN_FILE") else {
        return Ok(None);
    };
    let role = platform.text("AWS_ROLE_ARN").ok_or_else(|| {
        Error::config("AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not")
    })?;
    let session = platform.text("AWS_ROLE_SESSION_NAME").unwrap_or("vault-exec");
    let environment = http::about_network(platform.environment());
    Ok(Some(WebIdentity {
        endpoint: sts(platform)?,
        role: role.to_owned(),
        session: session.to_owned(),
        token: PathBuf::from(token),
        environment,
        authorities: platform.text(BUNDLE).map(|file| Sourced {
            value: file.into(),
            origin: Origin::Variable(BUNDLE.to_owned()),
        }),
    }))
}

fn sts(platform: &dyn Platform) -> Result<Url, Error> {
    let region = region(platform)?;
    match first(platform, ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]) {
        Some((name, address)) => {
            let url = metadata::server(address, name)?;
            if url.scheme() != "https" && !is_loopback(&url) {
                let what = format!("{name}: a token in clear to another machine");
                return Err(Error::config(what).hint("http:// is for this machine: use https://"));
            }
            Ok(url)
        }
        None => {
            metadata::server(&format!("https://{}/", sts_host(region.as_deref())), "AWS_REGION")
        }
    }
}

fn container(platform: &dyn Platform) -> Result<Option<Source>, Error> {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let url = match (platform.text(RELATIVE), platform.text(FULL)) {
        (Some(path), _) => {
            metadata::address(&format!("{CONTAINER}/{}", path.trim_start_matches('/')), RELATIVE)?
        }
        (None, Some(address)) => metadata::address(address, FULL)?,
        (None, None) => return Ok(None),
    };
    if url.scheme() != "https" && !is_near(&url) {
        let error = Error::config(format!("{FULL}: credentials in clear from another machine"));
        return Err(error
            .hint("http:// is for this machine and for the addresses of ECS and EKS on the link"));
    }
    let file = platform
        .text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        .map(PathBuf::from)
        .map(Authorization::File);
    let value = || {
        platform
            .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(|value| Authorization::Value(value.trimmed()))
    };
    Ok(Some(Source::Container { url, authorization: file.or_else(value) }))
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(address::is_loopback)
}

fn is_near(url: &Url) -> bool {
    is_loopback(url) || url.host_str().is_some_and(|host| ON_LINK.contains(&host))
}

fn instance(platform: &dyn Platform) -> Result<Option<Source>, Error> {
    const SET: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    if platform
        .text("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    {
        return Ok(None);
    }
    let is_ipv6 = platform
        .text("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
        .is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let usual = if is_ipv6 { INSTANCE_IPV6 } else { INSTANCE };
    Ok(Some(Source::Instance {
        server: metadata::server(platform.text(SET).unwrap_or(usual), SET)?,
    }))
}

impl Source {
    /// Returns the credentials, and hides them in all messages from then on.
    ///
    /// # Errors
    /// 77 if they are refused, 76 for an answer without them, and the errors of [`Web::ask`].
    pub(crate) async fn credentials(&self, patience: &Patience) -> Result<Credentials, Error> {
        let credentials = match self {
            Source::Keys(keys) => keys.clone(),
            Source::WebIdentity(identity) => identity.exchanged(patience).await?,
            Source::Container { url, authorization } => {
                of_container(patience, url, authorization.as_ref()).await?
            }
            Source::Instance { server } => of_instance(patience, server).await?,
        };
        patience.redactor.add(&credentials.secret_access_key);
        if let Some(token) = &credentials.session_token {
            patience.redactor.add(token);
        }
        Ok(credentials)
    }
}

async fn of_container(
    patience: &Patience,
    url: &Url,
    authorization: Option<&Authorization>,
) -> Result<Credentials, Error> {
    let token = authorization.map(|found| found.token(patience.left())).transpose()?;
    if let Some(token) = &token {
        patience.redactor.add(token);
    }
    let headers = token.map(|token| ("Authorization", token)).into_iter().collect();
    let ask = Ask {
        headers,
        what: FROM_CONTAINER,
        hint: NO_CONTAINER,
        ..Ask::new(Method::GET, url.clone())
    };
    let page = Web::to(patience, &Route::Direct, url)?.ask(&ask).await?;
    given(
        patience,
        &page,
        FROM_CONTAINER,
        "is AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE] this container's, and has it a role?",
    )
}

impl Authorization {
    /// Returns the value of the header. It may have a scheme before the token.
    fn token(&self, left: Duration) -> Result<Secret, Error> {
        let (value, at) = match self {
            Authorization::Value(value) => {
                (value.clone(), "AWS_CONTAINER_AUTHORIZATION_TOKEN".to_owned())
            }
            Authorization::File(file) => {
                content(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", left)?
            }
        };
        let is_one =
            !value.is_empty() && value.expose().iter().all(|byte| matches!(byte, b' '..=b'~'));
        if is_one { Ok(value) } else { Err(no_token(&at)) }
    }
}

/// Returns the content of a file without white space at its ends, and the name that messages use
/// for the file.
fn content(file: &Path, origin: &str, left: Duration) -> Result<(Secret, String), Error> {
    let content = file::read(file, origin, left)?;
    Ok((Secret::from(content.bytes.trim_ascii().to_vec()), content.place))
}

fn no_token(at: &str) -> Error {
    Error::config(format!("{at}: no token in it"))
}

/// Uses IMDSv2: requests a token, then the role's name, then its credentials.
async fn of_instance(patience: &Patience, server: &Url) -> Result<Credentials, Error> {
    const WHERE: &str = "latest/meta-data/iam/security-credentials/";
    const HINT: &str = "has the instance an IAM role (instance profile)?";
    let web = Web::to(patience, &Route::Direct, server)?;
    let ask = async |method, path: &str, header: (&'static str, Secret)| {
        let mut url = server.clone();
        url.set_path(path);
        let ask = Ask {
            headers: vec![header],
            what: FROM_INSTANCE,
            hint: NO_INSTANCE,
            ..Ask::new(method, url)
        };
        web.ask(&ask).await
    };
    let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", Secret::from("300"));
    let granted = |page: Page| {
        if page.is_success() {
            Ok(page)
        } else {
            Err(refused(patience, &page, "", FROM_INSTANCE, HINT))
        }
    };
    let page = granted(ask(Method::PUT, "latest/api/token", lifetime).await?)?;
    let token = metadata::token(&page.body).ok_or_else(|| nothing_in(FROM_INSTANCE, "token"))?;
    patience.redactor.add(&token);
    let header = || ("X-aws-ec2-metadata-token", token.clone());
    let page = granted(ask(Method::GET, WHERE, header()).await?)?;
    let role = page.body.expose_text().and_then(|text| text.split_whitespace().next());
    let role = role.ok_or_else(|| nothing_in(FROM_INSTANCE, "role"))?;
    let page = ask(Method::GET, &format!("{WHERE}{role}"), header()).await?;
    given(patience, &page, FROM_INSTANCE, HINT)
}

/// Returns a refusal in the platform's words.
fn refused(patience: &Patience, page: &Page, words: &str, what: &str, hint: &str) -> Error {
    page.refused(what, words, &patience.redactor).hint(hint)
}

fn nothing_in(what: &str, thing: &str) -> Error {
    Error::new(Code::Protocol, format!("{what}: no {thing} in the answer"))
}

/// Returns the credentials in a metadata server's JSON.
fn given(patience: &Patience, page: &Page, what: &str, hint: &str) -> Result<Credentials, Error> {
    let body = page.json().unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if !page.is_success() {
        // EKS Pod Identity answers in plain text.
        let code =
            text("Code").or_else(|| text("code")).map_or_else(|| page.words(), str::to_owned);
        return Err(refused(patience, page, &code, what, hint));
    }
    complete(&|name| text(name).map(Secret::from), "Token", what)
}

/// Returns credentials from an answer that has their parts under these names, and the session token
/// under the name `token`.
fn complete(
    part: &dyn Fn(&str) -> Option<Secret>,
    token: &str,
    what: &str,
) -> Result<Credentials, Error> {
    let (Some(access_key_id), Some(secret_access_key)) =
        (part("AccessKeyId"), part("SecretAccessKey"))
    else {
        return Err(nothing_in(what, "AccessKeyId and SecretAccessKey"));
    };
    let session_token = part(token).filter(|token| !token.is_empty());
    let credentials = Credentials { access_key_id, secret_access_key, session_token };
    check(&credentials).ok_or_else(|| nothing_in(what, "usable key"))?;
    Ok(credentials)
}

impl WebIdentity {
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    async fn exchanged(&self, patience: &Patience) -> Result<Credentials, Error> {
        let (token, at) = content(&self.token, "AWS_WEB_IDENTITY_TOKEN_FILE", patience.left())?;
        let token = metadata::token(&token).ok_or_else(|| no_token(&at))?;
        patience.redactor.add(&token);
        let ask = Ask {
            headers: vec![(
                "Content-Type",
                "application/x-www-form-urlencoded; charset=utf-8".into(),
            )],
            body: Some(self.form(&token)),
            // The identity provider did not answer AWS in time.
            is_later: |page| element(page, "Code").as_deref() == Some("IDPCommunicationError"),
            what: FROM_IDENTITY,
            hint: NO_STS,
            ..Ask::new(Method::POST, self.endpoint.clone())
        };
        let route = Route::Internet(&self.environment, self.authorities.as_ref());
        let page = Web::to(patience, &route, &self.endpoint)?.ask(&ask).await?;
        if !page.is_success() {
            let words =
                ["Code", "Message"].map(|name| element(&page, name).unwrap_or_default()).join(" ");
            return Err(refused(patience, &page, words.trim(), FROM_IDENTITY, NOT_TRUSTED));
        }
        complete(&|name| element(&page, name).map(Secret::from), "SessionToken", FROM_IDENTITY)
    }

    fn form(&self, token: &Secret) -> Secret {
        let encoded = |text: &[u8]| percent_encoded(text, "-._~");
        Secret::from(format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&\
             WebIdentityToken={}",
            encoded(self.role.as_bytes()),
            encoded(self.session.as_bytes()),
            encoded(token.expose()),
        ))
    }
}

/// Returns the text of the first XML element of this name, which has no attributes and no child
/// elements.
fn element(page: &Page, name: &str) -> Option<String> {
    const ESCAPED: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let (_, rest) = page.body.expose_text()?.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(
        ESCAPED
            .iter()
            .fold(text.trim().to_owned(), |text, (escaped, sign)| text.replace(escaped, sign)),
    )
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::settings::layers::Layers;
    use crate::settings::layers::Options;

    /// Returns the metadata address that an environment leads to, and the container's
    /// authorization.
    fn asked(environment: &[(&str, &str)]) -> String {
        let environment: Vec<Variable> =
            environment.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        let layers = Layers { options: &Options::default(), environment: &environment, files: &[] };
        match source(&layers).expect("what goes together") {
            Some(Source::Container { url, authorization: None }) => url.to_string(),
            Some(Source::Container { url, authorization: Some(Authorization::Value(_)) }) => {
                format!("{url} value")
            }
            Some(Source::Container { url, authorization: Some(Authorization::File(file)) }) => {
                format!("{url} {}", file.display())
            }
            Some(Source::Instance { server }) => server.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn an_instance_is_asked_at_the_usual_address_or_where_it_is_said_to_be() {
        let mode = ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
        let server = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
        assert_eq!(asked(&[]), "http://169.254.169.254/");
        assert_eq!(asked(&[mode]), "http://[fd00:ec2::254]/");
        assert_eq!(asked(&[mode, server]), "http://127.0.0.1:1/");
        assert_eq!(asked(&[("AWS_EC2_METADATA_DISABLED", "True")]), "None");
    }

    #[test]
    fn a_container_is_asked_at_its_path_or_else_at_its_address() {
        let path = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/0f?a=b");
        let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials");
        let value = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t");
        let file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t");
        assert_eq!(asked(&[value, file]), "http://169.254.169.254/");
        assert_eq!(asked(&[full, path]), "http://169.254.170.2/v2/credentials/0f?a=b");
        assert_eq!(asked(&[full, value]), "http://169.254.170.23/v1/credentials value");
        assert_eq!(asked(&[full, value, file]), "http://169.254.170.23/v1/credentials /t");
        // No path can change the host.
        for path in ["@192.0.2.1/", "//192.0.2.1/", "\\192.0.2.1", ":80@192.0.2.1"] {
            let found = asked(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path)]);
            assert!(found.starts_with("http://169.254.170.2/"), "{found}");
        }
    }

    #[test]
    fn in_clear_only_this_machine_and_the_link_are_near() {
        let near = |address: &str| is_near(&Url::parse(address).expect("a URL"));
        for address in
            ["127.0.0.1", "127.1.2.3:8080", "localhost", "LOCALHOST:1", "[::1]", "[fd00:ec2::23]"]
        {
            assert!(near(&format!("http://{address}/")), "{address}");
        }
        for address in [
            "169.254.169.254",
            "192.0.2.1",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1@192.0.2.1",
            "[fd00:ec2::254]",
            "[2001:db8::1]",
        ] {
            assert!(!near(&format!("http://{address}/")), "{address}");
        }
    }

    #[test]
    fn a_region_is_a_name_and_makes_a_host() {
        assert_eq!(checked_region("EU-Central-1", "X"), Ok("eu-central-1".to_owned()));
        for wrong in ["", "eu central-1", "a.b", "a/", "a@b", "a:1", "ü"] {
            let error = checked_region(wrong, "X").expect_err(wrong);
            assert_eq!((error.code.status(), error.message.as_str()), (78, "X: not a region"));
        }
        for (region, host) in [
            (None, "sts.amazonaws.com"),
            (Some("us-east-1"), "sts.amazonaws.com"),
            (Some("us-gov-west-1"), "sts.us-gov-west-1.amazonaws.com"),
            (Some("us-gov-east-1"), "sts.us-gov-east-1.amazonaws.com"),
            (Some("cn-north-1"), "sts.cn-north-1.amazonaws.com.cn"),
            (Some("us-iso-east-1"), "sts.us-iso-east-1.c2s.ic.gov"),
            (Some("us-isob-east-1"), "sts.us-isob-east-1.sc2s.sgov.gov"),
            (Some("us-isof-south-1"), "sts.us-isof-south-1.csp.hci.ic.gov"),
            (Some("eu-isoe-west-1"), "sts.eu-isoe-west-1.cloud.adc-e.uk"),
            (Some("eusc-de-east-1"), "sts.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(sts_host(region), host);
        }
    }

    #[test]
    fn the_text_of_an_element_is_unescaped_once() {
        let page = |xml: &str| Page { status: 200, headers: HeaderMap::new(), body: xml.into() };
        let found = |xml: &str| element(&page(xml), "A").unwrap_or_else(|| "none".to_owned());
        assert_eq!(found("<B>1</B><A> 2\n</A><A>3</A>"), "2");
        assert_eq!(found("<A>&lt;&gt;&quot;&apos;&amp;</A>"), "<>\"'&");
        assert_eq!(found("<A>&amp;lt;</A>"), "&lt;");
        for xml in ["", "<A/>", "<A>1", "<AB>1</AB>", "</A><A>"] {
            assert_eq!(found(xml), "none", "{xml}");
        }
    }
}
