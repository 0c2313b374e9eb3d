//! What holds of any bytes that are read as an env file. `fuzz/` goes by it as well.

use std::collections::BTreeSet;

use vault_exec::door::error::{Code, Error};
use vault_exec::door::grammar::env_file::parse;
use vault_exec::door::secret::Variable;

/// Panics unless the bytes are an env file that can be spelled and read again, or an error of the
/// first line that is wrong.
pub(crate) fn settles(bytes: &[u8]) {
    match parse(bytes) {
        Ok(variables) => is_one(bytes, &variables),
        Err(error) => is_wrong(bytes, &error),
    }
}

/// The file that has these variables, every value in double quotes.
pub(crate) fn spelled(variables: &[Variable]) -> Vec<u8> {
    let line = |variable: &Variable| {
        let escaped = variable.value.expose().iter().flat_map(|byte| match byte {
            b'\n' => b"\\n".to_vec(),
            b'"' | b'\\' | b'$' => vec![b'\\', *byte],
            _ => vec![*byte],
        });
        [variable.name.as_encoded_bytes(), b"=\"", &escaped.collect::<Vec<u8>>(), b"\"\n"].concat()
    };
    variables.iter().flat_map(line).collect()
}

fn is_one(bytes: &[u8], variables: &[Variable]) {
    let names: BTreeSet<_> = variables.iter().map(|variable| &variable.name).collect();
    assert_eq!(names.len(), variables.len(), "a name came twice");
    assert!(variables.iter().all(|variable| !variable.value.expose().contains(&0)), "NUL");
    assert_eq!(parse(&spelled(variables)).as_deref(), Ok(variables));
    let again = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    assert_eq!(
        parse(&[bytes, b"\n", again].concat()).as_deref(),
        Ok(variables),
        "the same file once more"
    );
}

/// The message names the first wrong line: all before it is an env file.
fn is_wrong(bytes: &[u8], error: &Error) {
    assert_eq!(error.code, Code::Config);
    let number = error
        .message
        .strip_prefix("line ")
        .and_then(|rest| rest.split(':').next())
        .expect("a line");
    let number: usize = number.parse().expect("a number");
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert!((1..=lines.len()).contains(&number), "{error}");
    assert!(parse(&lines[..number - 1].concat()).is_ok(), "{error}");
}
