//! The grammars of values, files and settings: anything there is, spelled and read again.

mod files;
mod settings;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::{Map, Number, Value as Json};
use vault_exec::door::grammar::import::Keys;
use vault_exec::door::grammar::path::Path;
use vault_exec::door::grammar::reference::{
    Ask, Body, Form, Piece, Reference, Value, has_reference, is_reference, parse,
};
use vault_exec::door::grammar::selector::Selector;
use vault_exec::door::grammar::template::Template;
use vault_exec::door::secret::Secret;

use crate::references::fuzzed::reference::{self, Place, balanced};
use crate::references::fuzzed::spelling::{spelled, spelled_reference};

const MARK: &str = "S3CR3T";

/// What the grammar could take for its own, and what it has no use for.
const TOKENS: [&str; 40] = [
    "a", "B", "7", "0", "_", " ", "\t", "%", "%2e", ":", "-", ":-", ":-", "$", "{", "}", "{}",
    "${", "${HOME}", "#", "/", "//", ".", "..", "\\", "\"", "'", "?", "|", ">>", "vault", "bao",
    "vault:", "vault://", "data", "ä", "漢", "🦀", "\n", "\0",
];

const LINES: [&str; 4] = ["\n", "VERSION 2\n", "MOUNT a\n", "a#b\n"];

/// The same cases on every run, and no file beside the sources: what explores is `fuzz/`.
pub(crate) fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x7661_756c_742d_6578),
        ..ProptestConfig::default()
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![6 => select(&TOKENS[..]).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    vec(token, 0..10).prop_map(|tokens| tokens.concat())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let odd = [
        &b"\xff"[..],
        b"\xc3",
        b"${vault:",
        b"${bao?:",
        b"${>>vault:",
        b"a/b#k",
        b"a#${.k}",
        b">>bao:",
        b"#{",
    ];
    let token = prop_oneof![
        6 => select(&TOKENS[..]).prop_map(|token| token.as_bytes().to_vec()),
        3 => select(odd.map(<[u8]>::to_vec).to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// Something that begins as a reference, and goes on as one might.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        "vault:a",
        "bao?:a/b",
        ">>vault:a",
        "x${vault:a",
        "${bao?:a/b",
        "${>>bao:a",
        "vault:v",
    ]);
    let parts = [
        "#k",
        "#k:-",
        "#/k/0",
        "k",
        ":-",
        "#",
        "#2",
        "#0",
        "#{}",
        "#{\"a\":\"}\"} ",
        "#${.k}",
        "#a ${.k | trim} b",
        "${index . \"}\"}",
        "${vault:a#b}",
        ":-${vault:a#b}",
        "${",
        "}",
        ":QQ==",
    ];
    let part = prop_oneof![4 => select(parts.to_vec()).prop_map(str::to_owned), 1 => any_text()];
    (start, vec(part, 1..6))
        .prop_map(|(start, parts)| (start.to_owned() + &parts.concat()).into_bytes())
}

/// `text` without `all`, and without what taking them out makes.
fn without(mut text: String, all: &[&str]) -> String {
    while let Some(one) = all.iter().find(|one| text.contains(**one)) {
        text = text.replace(one, "");
    }
    text
}

fn path(place: Place) -> impl Strategy<Value = Path> {
    let segment = any_text().prop_map(move |text| {
        let mut text = without(
            text,
            if place == Place::Inline { &["#", "/", "\\", "}"] } else { &["#", "/", "\\"] },
        );
        text.retain(|c| !c.is_control());
        if matches!(text.as_str(), "" | "." | "..") { "s".to_owned() } else { text }
    });
    vec(segment, 1..5).prop_map(|segments| Path::parse(&segments.join("/")).expect("a path"))
}

fn key(place: Place) -> impl Strategy<Value = String> {
    let ends: &[&str] =
        if place == Place::Inline { &["#", ":-", "${", "}"] } else { &["#", ":-", "${"] };
    let name = any_text().prop_map(|text| if text.is_empty() { "k".to_owned() } else { text });
    let pointer = vec(any_text(), 1..4).prop_map(|names| {
        let escaped =
            names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
        escaped.collect()
    });
    let kept = prop_oneof![name, pointer].prop_map(|key: String| without(key, ends));
    kept.prop_map(|key| if key.is_empty() { "k".to_owned() } else { key })
}

/// An action of a template, as text.
fn action() -> impl Strategy<Value = String> {
    let field =
        "[_a-zäß漢][_a-z0-9ß漢]{0,4}(\\.[_a-z]{1,4}){0,2}".prop_map(|name| format!(".{name}"));
    let constant = any_text().prop_map(|text| Json::from(text.replace('\u{7f}', "")).to_string());
    let constant = constant.prop_filter("an escape that Go has not", |text| {
        !text.contains("\\b") && !text.contains("\\f") && !text.contains("\\u0")
    });
    let leaf = prop_oneof![
        4 => field,
        1 => constant,
        1 => "-?[1-9][0-9]{0,3}",
        1 => select(vec!["true", "`a\"}#:-`", "(toJson .)", "index . \"a.b\" | trim"]).prop_map(|text| {
            if text.starts_with('i') { format!("({text})") } else { text.to_owned() }
        }),
    ];
    let one = || select(vec!["b64enc", "b64dec", "toJson", "title", "trim", "quote", "urlquery"]);
    let two = || select(vec!["default", "trimSuffix", "trimAll", "print", "index"]);
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            (one(), inner.clone()).prop_map(|(name, of)| format!("({name} {of})")),
            (inner.clone(), one()).prop_map(|(of, name)| format!("({of} | {name})")),
            (two(), inner.clone(), inner.clone())
                .prop_map(|(name, first, second)| format!("({name} {first}\t{second})")),
            (inner.clone(), two(), inner)
                .prop_map(|(piped, name, first)| format!("({piped}|{name} {first})")),
        ]
    })
}

fn template(place: Place) -> impl Strategy<Value = Template> {
    let action = (action(), select(vec!["", " ", "\n"]), select(vec!["", "- ", " "]))
        .prop_map(|(action, end, start)| format!("${{{start}{action}{end}}}"));
    (vec((key(place), action), 1..3), proptest::option::of(key(place))).prop_map(|(pieces, end)| {
        let pieces = pieces.into_iter().map(|(text, action)| {
            // A dollar would make another thing of the braces behind it.
            text.trim_end_matches('$').to_owned() + &action
        });
        let text = pieces.collect::<String>() + &end.unwrap_or_default();
        Template::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    })
}

fn json() -> impl Strategy<Value = Json> {
    const NUMBERS: [&str; 8] =
        ["0", "-0", "1.0", "1.50", "1e5", "1E-7", "-1.5e+300", "123456789012345678901234567890"];
    let number = select(&NUMBERS[..])
        .prop_map(|text| Json::Number(text.parse::<Number>().expect("a number")));
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number,
        any::<i64>().prop_map(Json::from),
        any_text().prop_map(Json::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            vec((any_text(), inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Json>> {
    vec((any_text(), json()), 0..4).prop_map(|members| members.into_iter().collect())
}

/// A text without references; inline one that closes every brace that it opens, and no other.
fn default(place: Place) -> impl Strategy<Value = String> {
    let text = any_text()
        .prop_map(move |text| if place == Place::Inline { balanced(&text) } else { text });
    text.prop_filter("a reference in a default", |text| !has_reference(text.as_bytes()))
}

fn reference(place: Place) -> impl Strategy<Value = Reference> {
    let selector = prop_oneof![2 => key(place).prop_map(Selector::Key), 1 => template(place).prop_map(Selector::Template)];
    let ask = prop_oneof![
        Just(Ask::Read(None)),
        (1..=u64::MAX).prop_map(|version| Ask::Read(Some(version))),
        object().prop_map(|object| Ask::Write(Body::new(object))),
    ];
    let default = proptest::option::of(default(place).prop_map(Secret::from));
    let form = prop_oneof![3 => Just(Form::Value), 1 => Just(Form::File)];
    (path(place), ask, selector, form, any::<bool>(), default).prop_map(
        |(path, ask, selector, form, optional, default)| Reference {
            path,
            ask,
            selector,
            form,
            optional,
            default,
        },
    )
}

/// Bytes in which no reference begins, wherever they stand but at the beginning of a value.
fn between() -> impl Strategy<Value = Vec<u8>> {
    any_bytes().prop_filter("a reference", |text| !has_reference(&[b"x", &**text].concat()))
}

fn text() -> impl Strategy<Value = Value> {
    let piece = prop_oneof![
        4 => reference(Place::Inline).prop_map(Piece::Reference),
        1 => ciphertext().prop_filter_map("a ciphertext", |value| match value {
            Value::Ciphertext(text) => Some(Piece::Ciphertext(text)),
            _ => None,
        }),
    ];
    let pieces = (vec((between(), piece), 1..4), between());
    let texts = pieces.prop_map(|(pieces, end)| {
        let (mut all, text) = (Vec::new(), |text| Piece::Text(Secret::from(text)));
        for (before, piece) in pieces {
            all.extend([text(before), piece]);
        }
        all.push(text(end));
        all.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        all
    });
    // What begins as a whole reference is one, or an error, whatever follows.
    let is_whole =
        |pieces: &[Piece]| matches!(pieces, [Piece::Text(text), ..] if is_reference(text.expose()));
    texts.prop_filter("a whole reference", move |pieces| !is_whole(pieces)).prop_map(Value::Text)
}

fn ciphertext() -> impl Strategy<Value = Value> {
    ("[1-9][0-9]{0,9}", "[A-Za-z0-9+/]{1,40}={0,2}")
        .prop_map(|(version, data)| Value::Ciphertext(format!("vault:v{version}:{data}").into()))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![2 => reference(Place::Whole).prop_map(Value::Reference), 2 => text(), 1 => ciphertext()]
}

/// One byte put in, taken out, or replaced.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u8),
    Delete,
    Replace(u8),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let byte = prop_oneof![4 => select(b"#:-{}$|>?/\"\\. 0vb".to_vec()), 1 => any::<u8>()].boxed();
    let change = prop_oneof![
        byte.clone().prop_map(Change::Insert),
        Just(Change::Delete),
        byte.prop_map(Change::Replace)
    ];
    (any::<Index>(), change)
}

fn changed(mut bytes: Vec<u8>, (at, change): (Index, Change)) -> Vec<u8> {
    let at = at.index(bytes.len());
    match change {
        Change::Insert(byte) => bytes.insert(at, byte),
        Change::Delete => drop(bytes.remove(at)),
        Change::Replace(byte) => bytes[at] = byte,
    }
    bytes
}

/// A value in each of whose defaults, bodies and texts the mark stands.
fn marked(value: Value) -> Value {
    let mark =
        |text: &Secret| Secret::from([MARK.as_bytes(), text.expose(), MARK.as_bytes()].concat());
    let reference = |reference: Reference| {
        let default = reference.default.as_ref().map(mark);
        let ask = match reference.ask {
            Ask::Write(body) => {
                let mut object: Map<String, Json> =
                    serde_json::from_slice(body.json().expose()).expect("an object");
                object.insert(MARK.to_owned(), Json::from(format!("| {MARK} }}{MARK}")));
                Ask::Write(Body::new(object))
            }
            read @ Ask::Read(_) => read,
        };
        Reference { ask, default, ..reference }
    };
    match value {
        Value::Reference(found) => Value::Reference(reference(found)),
        Value::Text(pieces) => {
            let pieces = pieces.into_iter().map(|piece| match piece {
                Piece::Text(text) => Piece::Text(mark(&text)),
                Piece::Reference(found) => Piece::Reference(reference(found)),
                ciphertext @ Piece::Ciphertext(_) => ciphertext,
            });
            Value::Text(pieces.collect())
        }
        other => other,
    }
}

/// A line of a secrets file, and the variable, the path below the mount and the key that it names.
fn line() -> impl Strategy<Value = (String, String, String, String)> {
    let blank = || select(vec!["", " ", "\t "]);
    let blanks = (blank(), blank(), blank(), blank());
    let path = "[a-z0-9._@%:{}$-]{1,6}(/[a-z0-9_-]{1,6}){0,3}"
        .prop_filter("dots", |path| !path.split('/').any(|segment| matches!(segment, "." | "..")));
    let name = proptest::option::of("[A-Za-z_][A-Za-z0-9_]{0,9}");
    (name, path, "[a-z0-9._/-]{1,8}", blanks).prop_map(
        |(name, path, key, (first, second, third, last))| {
            let (assigned, variable) = match name {
                Some(name) => (format!("{name}={second}"), name),
                None => {
                    (String::new(), format!("{path}_{key}").to_uppercase().replace(['/', '-'], "_"))
                }
            };
            (format!("{first}{assigned}{path}#{third}{key}{last}"), variable, path, key)
        },
    )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_whole_reference_reads_as_it_is_spelled(
        reference in reference(Place::Whole),
        prefix in select(vec!["vault", "bao"]),
    ) {
        let spelling = spelled_reference(prefix, &reference);
        prop_assert!(is_reference(&spelling));
        prop_assert_eq!(parse(&spelling), Ok(Value::Reference(reference)), "{}", String::from_utf8_lossy(&spelling));
    }

    #[test]
    fn an_inline_reference_reads_as_it_is_spelled_and_what_is_around_it_stays_to_the_byte(
        (before, reference, after) in (between(), reference(Place::Inline), between()),
        prefix in select(vec!["vault", "bao"]),
    ) {
        prop_assume!(!is_reference(&before));
        let spelling = [&*before, b"${", &*spelled_reference(prefix, &reference), b"}", &*after].concat();
        let Ok(Value::Text(pieces)) = parse(&spelling) else { return Err(TestCaseError::fail("no text")) };
        let text = |text: &[u8]| (!text.is_empty()).then(|| Piece::Text(text.to_vec().into()));
        let expected = [text(&before), Some(Piece::Reference(reference)), text(&after)].into_iter().flatten();
        prop_assert_eq!(pieces, expected.collect::<Vec<_>>(), "{}", String::from_utf8_lossy(&spelling));
    }

    #[test]
    fn what_a_template_encodes_it_decodes_again(text in any_text(), key in any_text()) {
        let secret: Map<String, Json> =
            [("k".to_owned(), Json::from(text.as_str())), (key.clone(), Json::from("by index"))].into_iter().collect();
        let made = |template: &str| {
            let made = Template::parse(template).expect(template).apply(&secret).expect(template);
            String::from_utf8(made.expect(template).expose().to_vec()).expect("UTF-8")
        };
        prop_assume!(key != "k");
        prop_assert_eq!(made("${.k | b64enc | b64dec}"), text.as_str());
        prop_assert_eq!(made("${.k | toJson | fromJson}"), text.as_str());
        prop_assert_eq!(made("${.k}${print .k}${printf \"%s\" .k}"), text.repeat(3));
        prop_assert_eq!(serde_json::from_str::<Json>(&made("${. | toJson}")).expect("JSON"), Json::Object(secret.clone()));
        if key.chars().all(|c| !matches!(c, '`' | '\r')) {
            prop_assert_eq!(made(&format!("${{index . `{key}`}}")), "by index");
        }
    }

    #[test]
    fn a_text_reads_as_it_is_spelled(value in text()) {
        let spelling = spelled(&value).expect("no literal");
        prop_assert!(has_reference(&spelling) && !is_reference(&spelling));
        prop_assert_eq!(parse(&spelling), Ok(value), "{}", String::from_utf8_lossy(&spelling));
    }

    #[test]
    fn a_ciphertext_reads_as_it_is_spelled(value in ciphertext()) {
        let spelling = spelled(&value).expect("no literal");
        prop_assert_eq!(parse(&spelling), Ok(value));
    }

    #[test]
    fn any_bytes_read_as_something_or_as_an_error(
        bytes in prop_oneof![2 => almost(), 1 => any_bytes(), 1 => vec(any::<u8>(), 0..64)],
    ) {
        reference::settles(&bytes);
    }

    #[test]
    fn a_spelling_with_another_byte_reads_as_something_or_as_an_error((value, change) in (value(), change())) {
        reference::settles(&changed(spelled(&value).expect("no literal"), change));
    }

    #[test]
    fn no_error_has_a_default_a_body_or_a_text_in_it((value, change) in (value(), change())) {
        let wrong = changed(spelled(&marked(value)).expect("no literal"), change);
        if let Err(error) = parse(&wrong) {
            prop_assert_eq!(error.code.status(), 78);
            prop_assert!(!format!("{error:?}").contains(MARK), "{}: {error:?}", String::from_utf8_lossy(&wrong));
        }
    }

    #[test]
    fn lines_of_a_secrets_file_give_their_names(
        lines in vec(line(), 0..6),
        mount in proptest::option::of("[a-z]{1,5}(/[a-z]{1,5})?"),
    ) {
        let head = mount.as_ref().map_or(String::new(), |mount| format!("VERSION 2\nMOUNT {mount}\n"));
        let texts: Vec<&str> = lines.iter().map(|(line, ..)| line.as_str()).collect();
        let found = vault_exec::door::grammar::secrets_file::parse((head + &texts.join("\n")).as_bytes()).expect("parses");
        prop_assert_eq!(found.len(), lines.len());
        for (found, (line, variable, path, key)) in found.iter().zip(&lines) {
            let default = mount.as_ref().filter(|_| !line.contains('='));
            let variable = default.map_or(variable.clone(), |mount| {
                format!("{}_{variable}", mount.to_uppercase().replace('/', "_"))
            });
            let mount = mount.as_deref().unwrap_or("secret");
            prop_assert_eq!(found.import.path.as_str(), format!("{mount}/{path}"));
            prop_assert_eq!(found.mount, mount.len());
            prop_assert_eq!(&found.import.keys, &Keys::Named { key: key.clone(), name: variable });
        }
    }
}
