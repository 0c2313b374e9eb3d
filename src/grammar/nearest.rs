//! Suggests the name that was probably meant by an unknown one (pure).

/// Returns the candidate that is nearest to `name`, if one is near enough to be meant: by the
/// number of letters that are added, dropped, replaced or swapped, or because one name begins or
/// ends with the other, ignoring doubled letters.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = candidates.filter_map(|candidate| {
        let distance = distance(name.as_bytes(), candidate.as_bytes());
        let is_near = distance <= 1 + candidate.len() / 5 && distance * 2 < candidate.len();
        let (long, short) = (simplified(name), simplified(candidate));
        let is_part = has_part(&long, &short) || has_part(&short, &long);
        (is_near || is_part).then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

fn has_part(long: &[u8], short: &[u8]) -> bool {
    short.len() > 2 && (long.starts_with(short) || long.ends_with(short))
}

/// Returns the name with each doubled letter written once.
fn simplified(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.dedup();
    bytes
}

/// Returns the optimal string alignment distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(x != y);
            let mut best = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if is_swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("", "ab", 2),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let nearest = |name| nearest(name, ["addr", "timeout", "log-level"].into_iter());
        for (name, meant) in [
            ("adr", Some("addr")),
            ("address", Some("addr")),
            ("adress", Some("addr")),
            ("tiemout", Some("timeout")),
            ("loglevel", Some("log-level")),
            ("level", Some("log-level")),
            ("x", None),
            ("password", None),
        ] {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }
}
