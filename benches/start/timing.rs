//! How long commands take.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command with its environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rival {
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Rival {
    pub(crate) fn command(&self) -> Command {
        let (program, arguments) = self.words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs it, which must end well.
    pub(crate) fn time(&self) -> Duration {
        let mut command = self.command();
        let began = Instant::now();
        let status = command.status().expect("it starts");
        let took = began.elapsed();
        assert!(status.success(), "{} ended with {status}", self.words[0]);
        took
    }
}

/// The medians of `runs` runs of each, in milliseconds. They take turns, so that what else the
/// machine does hits all of them alike.
pub(crate) fn medians(rivals: &[Rival], runs: usize) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(runs); rivals.len()];
    for rival in rivals {
        rival.time();
    }
    for _ in 0..runs {
        for (rival, times) in rivals.iter().zip(&mut times) {
            times.push(rival.time().as_secs_f64() * 1000.0);
        }
    }
    times.into_iter().map(median).collect()
}

pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
