//! Paths that Go's HTTP server and Vault do not let through to the API.

use hyper::{Method, Response};
use percent_encoding::percent_decode_str;

use crate::harness::record::Recorded;
use crate::wire::service::made_up;

/// Returns a redirect to the path without empty and dotted segments, or a 400 with an empty body
/// for a path with unprintable characters.
pub(crate) fn refuse(request: &Recorded) -> Option<Response<Vec<u8>>> {
    let clean = cleaned(&request.path);
    if clean != request.path {
        return Some(redirect(&request.method, &with_query(clean, &request.query)));
    }
    let decoded = percent_decode_str(&request.path).decode_utf8_lossy();
    decoded.chars().any(char::is_control).then(|| made_up(400, Vec::new(), Vec::new()))
}

fn redirect(method: &Method, location: &str) -> Response<Vec<u8>> {
    let headers = [("location", location), ("content-type", "text/html; charset=utf-8")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let link =
        format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", location.replace('&', "&amp;"));
    made_up(307, headers, if method == Method::GET { link.into_bytes() } else { Vec::new() })
}

fn with_query(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

fn cleaned(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment);
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}
