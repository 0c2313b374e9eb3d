//! Namespaces as paths (pure). `None` is the root namespace.

/// Returns the name of a namespace that a user wrote, without slashes at its ends. Vault also calls
/// the root namespace `root`.
pub(crate) fn named(text: &str) -> Option<String> {
    let name = text.trim_matches('/');
    (!matches!(name, "" | "root")).then(|| name.to_owned())
}

/// Returns the rest of a namespace that is `home` or below it, and `None` for any other. A token of
/// `home` is valid only in the former.
pub(crate) fn below<'a>(home: Option<&str>, namespace: Option<&'a str>) -> Option<&'a str> {
    let namespace = namespace.unwrap_or_default();
    let Some(home) = home else { return Some(namespace) };
    let rest = namespace.strip_prefix(home)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Returns a path in a namespace as seen from the root namespace.
pub(crate) fn whole(namespace: Option<&str>, path: &str) -> String {
    namespace.map_or_else(|| path.to_owned(), |namespace| format!("{namespace}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_namespace_has_three_names() {
        for root in ["", "/", "root", "/root/"] {
            assert_eq!(named(root), None, "{root}");
        }
        for text in ["team/web", "/team/web", "team/web/"] {
            assert_eq!(named(text).as_deref(), Some("team/web"), "{text}");
        }
        assert_eq!(named("roots").as_deref(), Some("roots"));
    }

    #[test]
    fn below_is_by_whole_segments() {
        for (home, namespace, expected) in [
            (None, None, Some("")),
            (None, Some("team"), Some("team")),
            (Some("team"), Some("team"), Some("")),
            (Some("team"), Some("team/web/a"), Some("web/a")),
            (Some("team"), Some("teams"), None),
            (Some("team"), Some("other"), None),
            (Some("team/web"), Some("team"), None),
            (Some("team"), None, None),
        ] {
            assert_eq!(below(home, namespace), expected, "{home:?} {namespace:?}");
        }
    }
}
