//! What the kernel reports about the application: field by field, it is the same as for one that
//! was started directly, with something fetched and without, as PID 1 and not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::exec::Terminal;
use crate::process::signals::{as_pid_1, has_namespaces};
use crate::support::launch::{add, before_exec, on_both_starts};
use crate::support::{Ended, Run, directory};

/// Files that show what a process has inherited from the one before it.
const FILES: [&str; 12] = [
    "/proc/self/status",
    "/proc/self/stat",
    "/proc/self/limits",
    "/proc/self/fdinfo/0",
    "/proc/self/fdinfo/1",
    "/proc/self/fdinfo/2",
    "/proc/self/oom_score_adj",
    "/proc/self/coredump_filter",
    "/proc/self/personality",
    "/proc/self/timers",
    "/proc/self/timerslack_ns",
    "/proc/self/cgroup",
];

/// Fields of `status` that differ in every process, or that tell how it went and not what it is.
const OF_EACH: [&str; 12] = [
    "Pid",
    "Tgid",
    "PPid",
    "NStgid",
    "NSpid",
    "FDSize",
    "SigQ",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
    "Ngid",
    "State",
    "ino",
];

/// The fields of `stat` (`proc_pid_stat(5)`) that are the same in similar processes, by number:
/// process group, session, terminal and its foreground group, priority and niceness, threads,
/// memory limit, exit signal, real-time priority and policy.
const OF_ALL: [usize; 11] = [5, 6, 7, 8, 18, 19, 20, 25, 38, 40, 41];

/// Returns what a process reports about itself that must not depend on how it was started.
#[track_caller]
fn fields(mut command: Command) -> BTreeMap<String, String> {
    // The standard library starts some commands in a different way, but not those with a hook to
    // run first.
    before_exec(&mut command, || Ok(()));
    let ended = Ended::of(command.stdin(Stdio::null()).output().expect("it runs"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = ended.text();
    let mut fields = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if let Some((_, stat)) = line.split_once(" (cat) ") {
            // The third field comes after the name.
            let words: Vec<&str> = stat.split(' ').collect();
            fields.extend(
                OF_ALL.iter().map(|field| (format!("stat {field}"), words[field - 3].to_owned())),
            );
            continue;
        }
        let name = line.split(':').next().unwrap_or_default();
        if !name.starts_with("Vm") && !name.starts_with("Rss") && !OF_EACH.contains(&name) {
            fields.insert(format!("line {number}"), line.to_owned());
        }
    }
    assert!(fields.len() > 50 && fields.contains_key("stat 41"), "{text}");
    fields
}

#[track_caller]
fn assert_same(through: Command, direct: Command) {
    let (through, direct) = (fields(through), fields(direct));
    let differ = |(name, _): &(&String, &String)| direct.get(*name) != through.get(*name);
    let differing: Vec<_> =
        through.iter().filter(differ).map(|(name, value)| (value, direct.get(name))).collect();
    assert!(differing.is_empty() && through.len() == direct.len(), "{differing:#?}");
}

/// Returns the same command without `vault-exec`.
fn direct(run: &Run, command: &[&str]) -> Command {
    let mut direct = Command::new(command[0]);
    direct.args(&command[1..]).env_clear().envs(run.variables());
    direct
}

/// Returns a command that shows all of the files that this kernel has.
fn showing() -> Vec<&'static str> {
    ["cat"].into_iter().chain(FILES.into_iter().filter(|file| Path::new(file).exists())).collect()
}

#[test]
fn the_application_is_what_it_would_be_if_started_directly() {
    on_both_starts(|run| {
        assert_same(run.clone().command(showing()).build(), direct(run, &showing()));
    });
}

#[test]
fn an_application_that_is_pid_1_is_what_it_would_be_if_started_directly() {
    if !has_namespaces(
        "process::same_as_direct::an_application_that_is_pid_1_is_what_it_would_be_if_started_directly",
    ) {
        return;
    }
    on_both_starts(|run| {
        assert_same(
            as_pid_1(&run.clone().command(showing()).build()),
            as_pid_1(&direct(run, &showing())),
        );
    });
}

#[test]
fn under_a_terminal_its_settings_and_its_foreground_group_are_the_same() {
    let command = ["sh", "-c", "stty -g; cut -d ' ' -f 5-8 /proc/$$/stat; echo $$ end"];
    on_both_starts(|run| {
        let shown = |command: Command| {
            let mut terminal = Terminal::of(command);
            let shown = terminal.shows(" end").replace(&terminal.pid().to_string(), "PID");
            assert_eq!(terminal.ends().code(), Some(0), "{shown}");
            shown
        };
        let through = shown(run.clone().option("--log-level=warn").command(command).build());
        let direct = shown(direct(run, &command));
        // The terminal itself is a different one.
        let without_terminal = |text: &str| text.replace(char::is_numeric, "");
        assert_eq!(through.lines().next(), direct.lines().next());
        assert_eq!(without_terminal(&through), without_terminal(&direct));
        assert!(through.contains("PID PID ") && through.contains("PID end"), "{through}");
    });
}

#[test]
fn descriptors_keep_their_places_their_modes_and_their_offsets() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "one\ntwo\n").expect("a file");
    // One is open for reading, from the second line on, and one for appending.
    let script = "exec 7<\"$0\" 9>>\"$0\"; read -r line <&7; exec \"$@\"";
    let command = ["cat", "/proc/self/fdinfo/7", "/proc/self/fdinfo/9"];
    on_both_starts(|run| {
        let text = |built: Command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).arg(&file);
            add(&mut shell, &built);
            Ended::of(shell.output().expect("it runs")).text()
        };
        let through = text(run.clone().command(command).build());
        assert_eq!(through, text(direct(run, &command)));
        assert!(through.starts_with("pos:\t4\n"), "{through}");
    });
}
