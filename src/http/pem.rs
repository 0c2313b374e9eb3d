//! PEM (RFC 7468) as people put it together (pure): without a line break between two sections, with
//! a byte-order mark before one, with any line endings, and with any text around them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// What is between two marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// `CERTIFICATE`, `PRIVATE KEY`.
    pub label: &'a str,
    /// The lines between the marks, or `None` if the end mark is missing.
    pub body: Option<&'a str>,
}

/// Returns the sections of a text.
pub fn sections(text: &str) -> impl Iterator<Item = Section<'_>> {
    text.split(BEGIN).skip(1).filter_map(|section| {
        let (label, rest) = section.split_once(DASHES)?;
        let body = rest.split_once(END).map(|(body, _)| body);
        Some(Section { label, body })
    })
}

impl<'a> Section<'a> {
    /// Returns whether it holds a certificate.
    pub fn is_certificate(&self) -> bool {
        matches!(self.label, "CERTIFICATE" | "X509 CERTIFICATE")
    }

    /// Returns whether it is encrypted with a password: PKCS #8 has a label for that, the older
    /// formats a header (RFC 1421).
    pub fn is_encrypted(&self) -> bool {
        self.label.starts_with("ENCRYPTED ")
            || self.headers().any(|line| line.contains("ENCRYPTED"))
    }

    /// Returns the decoded bytes, or `None` if they are not base64.
    pub fn decoded(&self) -> Option<Zeroizing<Vec<u8>>> {
        let body = self.body?;
        let is_header = |line: &&str| line.contains(':');
        let mut text = Zeroizing::new(String::with_capacity(body.len()));
        for line in body.lines().filter(|line| !is_header(line)) {
            // Line breaks may have been escaped on the way into a variable and never turned back.
            text.extend(line.split("\\n").flat_map(str::chars).filter(|c| !c.is_whitespace()));
        }
        BASE64_STANDARD.decode(text.as_bytes()).ok().map(Zeroizing::new)
    }

    fn headers(&self) -> impl Iterator<Item = &'a str> {
        self.body.unwrap_or_default().lines().filter(|line| line.contains(':'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----";
    const TWO: &str = "-----BEGIN CERTIFICATE-----\ndH\ndv\n-----END CERTIFICATE-----";

    fn certificates(text: &str) -> Vec<Option<String>> {
        let decoded = |section: Section<'_>| {
            section.decoded().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        sections(text).filter(Section::is_certificate).map(decoded).collect()
    }

    #[test]
    fn certificates_are_found_however_they_were_put_together() {
        let both = [Some("one".to_owned()), Some("two".to_owned())];
        for text in [
            format!("{ONE}\n{TWO}\n"),
            format!("{ONE}{TWO}"),
            format!("\u{feff}{ONE}\n\u{feff}{TWO}"),
            format!("# first\n{ONE}\n\n # second: \n {TWO}\nend"),
            format!("{ONE}\n{TWO}").replace('\n', "\r\n"),
            format!("{ONE}\n{TWO}").replace('\n', "\r"),
            format!("{ONE}\n{TWO}").replace('\n', " "),
            format!("{ONE}\n{TWO}").replace('\n', "\\n"),
            format!("{ONE}\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n{TWO}"),
            format!("{ONE}\n{TWO}").replace(" CERT", " X509 CERT"),
            format!("Bag Attributes\n  friendlyName: a\n{ONE}\nsubject=/CN=b\n{TWO}"),
        ] {
            assert_eq!(certificates(&text), both, "{text:?}");
        }
    }

    #[test]
    fn what_is_broken_is_there_and_has_no_bytes() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nb25l\n",
            "-----BEGIN CERTIFICATE-----\nb25\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----",
        ] {
            assert_eq!(certificates(text), [None], "{text:?}");
            assert_eq!(certificates(&format!("{text}{TWO}")), [None, Some("two".to_owned())]);
        }
        for text in ["", "-----BEGIN", "-----BEGIN CERTIFICATE", "CERTIFICATE-----", "\u{0}"] {
            assert_eq!(certificates(text), [], "{text:?}");
        }
    }

    #[test]
    fn an_encrypted_key_is_known_by_its_label_or_header() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,\
                   00\n\nb25l\n-----END RSA PRIVATE KEY-----";
        for (text, is_encrypted) in [
            (old, true),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nb25l\n-----END ", true),
            ("-----BEGIN PRIVATE KEY-----\nb25l\n-----END PRIVATE KEY-----", false),
        ] {
            let found: Vec<_> = sections(text).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].is_encrypted(), is_encrypted, "{text}");
            assert_eq!(found[0].decoded().as_deref().map(Vec::as_slice), Some(&b"one"[..]));
        }
    }

    fn cases() -> ProptestConfig {
        ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn any_text_is_read(text in "(-----BEGIN |-----|-----END |CERTIFICATE|[A-Za-z0-9+/=:\\n ]|\\PC){0,40}") {
            for section in sections(&text) {
                let _ = (section.decoded(), section.is_encrypted());
            }
        }

        #[test]
        fn what_is_between_sections_changes_nothing(
            bytes: Vec<Vec<u8>>,
            between in "[a-zA-Z0-9 #:,\\n\\r\\u{feff}]{0,20}",
            width in 1_usize..80,
        ) {
            let section = |bytes: &Vec<u8>| {
                let text = BASE64_STANDARD.encode(bytes);
                let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                format!("-----BEGIN X-----\n{}\n-----END X-----", lines.join("\n"))
            };
            let texts: Vec<String> = bytes.iter().map(section).collect();
            let text = format!("{between}{}{between}", texts.join(&between));
            let found: Vec<_> = sections(&text).filter_map(|section| section.decoded()).collect();
            let found: Vec<Vec<u8>> = found.iter().map(|bytes| bytes.to_vec()).collect();
            prop_assert_eq!(found, bytes);
        }
    }
}
