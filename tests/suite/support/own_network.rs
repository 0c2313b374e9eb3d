//! Separate networks for tests, in which a test can have any address and any name server.

use std::fs;
use std::process::Command;

use crate::support::directory;
use crate::support::launch::{as_root, not_run, works};

/// Is set in the environment of a test that is already in its own network.
const THERE: &str = "TEST_IS_IN_A_NETWORK_OF_ITS_OWN";

/// Runs a test where the loopback interface is the only one, after these commands of ip(8), and
/// with these files in place of the machine's: the test `name`, and nothing else, is run again in
/// there.
pub(crate) fn alone(name: &str, commands: &[&str], files: &[(&str, &str)], test: impl FnOnce()) {
    if std::env::var_os(THERE).is_some() {
        return test();
    }
    as_root(name, || {
        if !works(Command::new("ip").arg("-V"))
            || !works(Command::new("unshare").args(["-n", "-m", "true"]))
        {
            return not_run(name, "no ip (iproute2), or no network of its own");
        }
        let directory = directory();
        let mut script = vec!["ip link set lo up".to_owned()];
        script.extend(commands.iter().map(|command| (*command).to_owned()));
        for (number, (path, content)) in files.iter().enumerate() {
            let file = directory.path().join(number.to_string());
            fs::write(&file, content).expect("a file");
            script.push(format!("mount --bind {} {path}", file.display()));
        }
        script.push(format!("exec \"$0\" --exact {name}"));
        let mut command = Command::new("unshare");
        command
            .env(THERE, "1")
            .args(["-n", "-m", "sh", "-c", &script.join(" && ")])
            .arg(std::env::current_exe().expect("the tests"));
        let output = command.output().expect("unshare runs");
        let shown = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && shown.contains("1 passed"), "{shown}{stderr}");
    });
}
