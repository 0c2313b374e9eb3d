//! Where programs on AWS find their keys: EC2 metadata, and the endpoint for containers of ECS and
//! EKS.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::leaks;
use crate::harness::record::Recorded;
use crate::platforms::aws_keys::AwsKeys;
use crate::platforms::local::{LocalAnswer, LocalServer};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";

/// Starts the metadata service of an EC2 instance, version 2 only: every request needs a token,
/// which is requested first. Source: "Use IMDS",
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>.
pub fn ec2_metadata(role: Option<&str>, keys: &AwsKeys, region: &str) -> LocalServer {
    let token = Uuid::new_v4().to_string();
    leaks::mark("the instance's token", &token);
    let (role, region, keys) = (role.map(str::to_owned), region.to_owned(), keys.json());
    LocalServer::start(move |request| {
        if request.method == Method::PUT && request.path == "/latest/api/token" {
            return session(request, &token);
        }
        if request.header("x-aws-ec2-metadata-token") != Some(&token) {
            return page(401, "Unauthorized");
        }
        match (request.path.as_str(), &role) {
            ("/latest/meta-data/placement/region", _) => text(&region),
            (path, Some(role))
                if path.strip_suffix('/').unwrap_or(path) == CREDENTIALS.trim_end_matches('/') =>
            {
                text(role)
            }
            (path, Some(role)) if path.strip_prefix(CREDENTIALS) == Some(role) => {
                instance_credentials(&keys)
            }
            _ => page(404, "Not Found"),
        }
    })
}

/// Returns a token that lasts for as many seconds as the request says, up to six hours. A request
/// forwarded by a proxy gets none.
fn session(request: &Recorded, token: &str) -> LocalAnswer {
    let seconds = request.header(TTL).and_then(|seconds| seconds.parse::<u32>().ok());
    match seconds {
        _ if request.header("x-forwarded-for").is_some() => page(403, "Forbidden"),
        Some(seconds @ 1..=21600) => {
            let (status, mut headers, body) = text(token);
            headers.push((TTL.to_owned(), seconds.to_string()));
            (status, headers, body)
        }
        _ => page(400, "Bad Request"),
    }
}

/// Returns JSON whose content type is text.
fn instance_credentials(keys: &Value) -> LocalAnswer {
    let mut answer =
        json!({ "Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC" });
    if let (Value::Object(answer), Value::Object(keys)) = (&mut answer, keys) {
        answer.extend(keys.clone());
    }
    text(&answer.to_string())
}

fn text(body: &str) -> LocalAnswer {
    (200, typed("text/plain"), body.into())
}

fn page(status: u16, title: &str) -> LocalAnswer {
    let html = format!(
        "<html><head><title>{status} - {title}</title></head><body><h1>{title}</h1></body></html>"
    );
    (status, typed("text/html"), html.into())
}

fn typed(content_type: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), content_type.to_owned())]
}

/// Starts the service that containers ask for their keys, at one path. EKS Pod Identity and AWS's
/// SDKs send an authorization with it. Source: "Container credential provider",
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
pub fn container_credentials(
    path: &str,
    authorization: Option<&str>,
    keys: &AwsKeys,
) -> LocalServer {
    let (path, authorization) = (path.to_owned(), authorization.map(str::to_owned));
    let mut answer = keys.json();
    answer["RoleArn"] = "arn:aws:iam::123456789012:role/app".into();
    LocalServer::start(move |request| match request.header("authorization") {
        _ if request.path != path => refusal(404, "InvalidIdInRequest", "ID not found"),
        None if authorization.is_some() => {
            refusal(401, "MissingAuthentication", "an authorization token is required")
        }
        given if authorization.is_some() && given != authorization.as_deref() => refusal(
            403,
            "AccessDeniedException",
            "Unauthorized Exception! EKS does not have permissions",
        ),
        _ => (200, Vec::new(), answer.to_string().into()),
    })
}

fn refusal(status: u16, code: &str, message: &str) -> LocalAnswer {
    (status, Vec::new(), json!({ "code": code, "message": message }).to_string().into())
}
