//! What holds of any bytes that are read as a secrets file. `fuzz/` goes by it as well.

use vault_exec::door::error::Code;
use vault_exec::door::grammar::import::{Import, Keys};
use vault_exec::door::grammar::secrets_file::{Line, parse};

/// Panics unless the bytes are a secrets file that can be spelled and read again, or errors that
/// name their lines.
pub(crate) fn settles(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match parse(bytes) {
        Ok(found) => {
            assert!(found.iter().all(|line| (1..=lines).contains(&line.number)));
            let named: Vec<&Line> = found.iter().filter(|line| is_name(name(line))).collect();
            let again = parse(spelled(&named).as_bytes()).expect("a secrets file");
            assert!(again.iter().map(content).eq(named.into_iter().map(content)), "{found:?}");
        }
        Err(errors) => {
            let is_placed = |message: &str| message.starts_with("line ");
            assert!(
                errors
                    .0
                    .iter()
                    .all(|error| error.code == Code::Config && is_placed(&error.message))
            );
        }
    }
}

fn content(line: &Line) -> (&Import, usize) {
    (&line.import, line.mount)
}

fn name(line: &Line) -> &str {
    let Keys::Named { name, .. } = &line.import.keys else { panic!("a line names its variable") };
    name
}

/// Whether a name can be written; one that is made of a path can be another.
fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The file of version 2 that has these lines, each below its own mount and with its name.
fn spelled(lines: &[&Line]) -> String {
    let line = |line: &&Line| {
        let (mount, path) = line.import.path.as_str().split_at(line.mount);
        let Keys::Named { key, name } = &line.import.keys else {
            panic!("a line names its variable")
        };
        format!("MOUNT {mount}\n{name}={}#{key}\n", &path[1..])
    };
    "VERSION 2\n".to_owned() + &lines.iter().map(line).collect::<String>()
}
