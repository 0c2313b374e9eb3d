//! Makes text from outside safe for one of our lines: printable, on one line, and bounded (pure).

/// The maximum number of bytes of a text in a line.
pub(crate) const MOST: usize = 1500;

/// Returns the text on one line of at most `most` bytes, plus a sign for what is left out.
/// Characters that would end the line, control a terminal or show the text in another order are
/// escaped: all control characters (C0 and C1), line and paragraph separators, and Unicode's
/// characters for directing and hiding text.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let before = line.len();
        if is_printable(c) {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
        if line.len() > most {
            line.truncate(before);
            line.push('…');
            break;
        }
    }
    line
}

/// Returns the text on one line of at most the allowed length.
pub(crate) fn printable(text: &str) -> String {
    bounded(text, MOST)
}

/// Puts a text on one line of about 500 bytes, which is enough for a message: Go's list of several
/// errors has line breaks and tabs. The text is cut between two words, because nobody would
/// recognize a part of a credential as one.
pub(crate) fn compact(text: &str) -> String {
    const MOST: usize = 500;
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = line.len() + 1 + word.len() <= MOST;
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(if fits { word } else { "…" });
        if !fits {
            break;
        }
    }
    line
}

fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            // Soft hyphen, Arabic letter mark, zero width space.
            '\u{ad}' | '\u{61c}' | '\u{200b}'
            // Left-to-right and right-to-left marks, embeddings, overrides and isolates.
            | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Line and paragraph separators, and invisible characters.
            | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Annotations, and tags.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_forge_a_line_or_hide_is_escaped() {
        for (text, shown) in [
            ("note\nDB_PASSWORD: x", "note\\nDB_PASSWORD: x"),
            ("\r\t\x1b]0;x\x07", "\\r\\t\\u{1b}]0;x\\u{7}"),
            ("\u{85}\u{9b}2J", "\\u{85}\\u{9b}2J"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("a\u{2028}b\u{feff}", "a\\u{2028}b\\u{feff}"),
            ("größe 値 👩‍💻", "größe 値 👩‍💻"),
            ("", ""),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(bounded("ää", 4), "ää");
        assert_eq!(bounded("äää", 4), "ää…");
        assert_eq!(bounded("a\nb", 2), "a…");
    }

    #[test]
    fn a_long_text_ends_between_two_words() {
        let words = |number: usize| vec!["s3cret"; number].join("\n\t");
        assert_eq!(compact(&words(71)), vec!["s3cret"; 71].join(" "));
        assert_eq!(compact(&words(72)), vec!["s3cret"; 71].join(" ") + " …");
        assert_eq!(compact(&"s3cret".repeat(100)), "…");
        assert_eq!(compact(" \n"), "");
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_bounded_line_of_printable_characters(text in any::<String>()) {
            let line = printable(&text);
            prop_assert!(line.chars().all(is_printable));
            prop_assert!(line.len() <= MOST + '…'.len_utf8());
            prop_assert_eq!(printable(&line), line.clone());
            if text.chars().all(is_printable) && text.len() <= MOST {
                prop_assert_eq!(line, text);
            }
        }
    }
}
