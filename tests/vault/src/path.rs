//! Paths that Go's HTTP server and Vault do not let through to the API.

use hyper::{Method, Response, Uri};
use percent_encoding::percent_decode_str;

use crate::service::{Body, made_up};

/// A redirect to a path without empty and dotted segments, or a 400 without a word for one that cannot be printed.
pub(crate) fn refuse(method: &Method, uri: &Uri) -> Option<Response<Body>> {
    let clean = cleaned(uri.path());
    if clean != uri.path() {
        return Some(redirect(method, &with_query(clean, uri.query())));
    }
    let decoded = percent_decode_str(uri.path()).decode_utf8_lossy();
    decoded.chars().any(char::is_control).then(|| made_up(400, Vec::new(), Vec::new()))
}

fn redirect(method: &Method, location: &str) -> Response<Body> {
    let headers = [("location", location), ("content-type", "text/html; charset=utf-8")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let link = format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", location.replace('&', "&amp;"));
    made_up(307, headers, if method == Method::GET { link.into_bytes() } else { Vec::new() })
}

fn with_query(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
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
