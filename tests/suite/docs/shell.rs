//! A shell that stays, so that what one example leaves behind is there for the next.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the shell prints when it is done with what was typed.
const END: &str = "<the end of what was typed>";

pub(crate) struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    pub(crate) fn open(mut command: Command) -> Shell {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut shell = Shell { child, input, output };
        shell.type_in("exec 2>&1");
        shell
    }

    /// Returns what the shell, and what it starts, prints for these lines.
    pub(crate) fn type_in(&mut self, lines: &str) -> String {
        let input = self.input.as_mut().expect("an open shell");
        // What a command reads is not what is typed next.
        writeln!(input, "{{\n{lines}\n}} < /dev/null\necho '{END}'").expect("it reads");
        let mut printed = String::new();
        while !printed.ends_with(&format!("{END}\n")) {
            let read = self.output.read_line(&mut printed).expect("UTF-8");
            assert_ne!(read, 0, "the shell has ended at {lines}: {printed}");
        }
        printed.truncate(printed.len() - END.len() - 1);
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
