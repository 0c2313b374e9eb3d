//! Patterns in which `*` matches anything.

/// Returns whether a text matches a pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// Returns whether it matches one of them.
pub(crate) fn matches_any<'a>(patterns: impl IntoIterator<Item = &'a String>, text: &str) -> bool {
    patterns.into_iter().any(|pattern| matches(pattern, text))
}
