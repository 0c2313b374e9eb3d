//! A start beside `curl`, which makes the same requests over one connection.

use test_vault::{Target, TestVault};

use crate::job::Job;
use crate::table::{ms, table};
use crate::timing::medians;
use crate::version;

const SECRETS: [usize; 4] = [1, 10, 50, 100];
const RUNS: usize = 100;

/// How long something took with a number of secrets.
pub(crate) struct Point {
    pub(crate) line: String,
    pub(crate) secrets: usize,
    pub(crate) time: f64,
}

/// The table, and its points for the plot.
pub(crate) fn run() -> (String, Vec<Point>) {
    let Some(curl) = version("curl") else {
        return ("not run: no curl on the PATH\n".to_owned(), Vec::new());
    };
    let mut points = Vec::new();
    let mut rows = Vec::new();
    for vault in [TestVault::start(), TestVault::builder().https().start()] {
        let target = Target::from(vault);
        let job = Job::new(&target, 100, 1);
        for secrets in SECRETS {
            let times =
                medians(&[job.start(secrets, secrets, "data/", "false"), job.curl(secrets)], RUNS);
            let (ours, curls) = (times[0], times[1]);
            for (program, time) in [("vault-exec", ours), ("curl", curls)] {
                points.push(Point {
                    line: format!("{program}, {}", target.scheme()),
                    secrets,
                    time,
                });
            }
            let shown = [
                target.scheme().to_owned(),
                secrets.to_string(),
                ms(ours),
                ms(curls),
                format!("{:.2}", ours / curls),
            ];
            rows.push(shown.to_vec());
        }
    }
    let title =
        format!("A start on one machine, beside {curl} with the same requests over one connection");
    (table(&title, &["", "secrets", "vault-exec", "curl", "ratio"], &rows), points)
}
