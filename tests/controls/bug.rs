//! The program with a bug: it panics with a value in the message.

fn main() {
    vault_exec::door::log::report_bugs();
    panic!("a value: s3cret");
}
