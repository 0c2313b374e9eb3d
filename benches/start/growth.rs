//! Time, requests and memory, with more and more references to more and more paths.

use std::fs;
use std::time::Duration;

use test_vault::{Fault, Target, TestVault};

use crate::job::Job;
use crate::table::{ms, table};
use crate::timing::{Rival, medians};

const REFERENCES: [usize; 4] = [1, 10, 100, 1000];
const PATHS: [usize; 3] = [1, 10, 100];
const RUNS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run() -> String {
    let target = Target::from(TestVault::builder().https().start());
    let mut rows = Vec::new();
    for paths in PATHS {
        let job = Job::new(&target, paths, 1000 / paths);
        for references in REFERENCES.into_iter().filter(|references| *references >= paths) {
            let time = medians(&[job.start(references, paths, "data/", "false")], RUNS)[0];
            let (requests, memory) =
                watched(target.own().expect("own"), &job.start(references, paths, "data/", "true"));
            rows.push(vec![
                references.to_string(),
                paths.to_string(),
                ms(time),
                requests.to_string(),
                format!("{memory:.1} MB"),
            ]);
        }
    }
    let columns = ["references", "paths", "time", "requests, with the revocation", "peak memory"];
    table("Growth: references to paths, over https on one machine", &columns, &rows)
}

/// The requests of a start, and the most memory that it has had when it is about to become the
/// application, in MB: read from the kernel while the revocation of the token, which comes last,
/// gets no answer. What `getrusage` tells counts the parent's memory too.
fn watched(vault: &TestVault, start: &Rival) -> (usize, f64) {
    vault.clear();
    vault.fault("POST /v1/auth/token/revoke-self", Fault::Hang);
    let mut child = start.command().spawn().expect("it starts");
    let is_last = |path: &str| path.ends_with("/revoke-self");
    assert!(
        vault.wait_for(|requests| requests.iter().any(|request| is_last(&request.path)), PATIENCE)
    );
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it waits");
    child.kill().and_then(|()| child.wait()).expect("it ends");
    vault.clear_faults();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    (vault.requests().len(), kilobytes / 1000.0)
}
