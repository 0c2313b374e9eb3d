//! A start over a network with 20 ms for the way there and back: how many round trips it takes,
//! what it costs beyond, and what of that the server works.

use std::time::{Duration, Instant};

use test_vault::{DelayedNetwork, RealVault, Side, Target, TestVault};

use crate::job::Job;
use crate::table::{ms, table};
use crate::timing::{Rival, median};
use crate::tools::is_there;

const ROUND_TRIP: Duration = Duration::from_millis(20);
const RUNS: usize = 20;
const SECRETS: usize = 50;

pub(crate) fn run() -> String {
    let network = match DelayedNetwork::new(ROUND_TRIP) {
        Ok(network) => network,
        Err(error) => return format!("not run: no network of its own: {error}\n"),
    };
    network.calibrate(ROUND_TRIP);
    let network = Network { round_trip: network.round_trip().as_secs_f64() * 1000.0, network };
    let mut rows = network.rows("test server", &own(&network.network), None);
    match real(&network.network) {
        Some((real, job)) => {
            let name = format!("real server {}", real.version());
            rows.extend(network.rows(&name, &job, Some(real)));
        }
        None => rows.push(vec!["not run: no bao or vault on the PATH".to_owned()]),
    }
    let title = format!(
        "A start over a network with a round-trip time of {}, TLS 1.3 and HTTP/2",
        ms(network.round_trip)
    );
    let columns = [
        "server",
        "",
        "round trips",
        "time",
        "beyond the round trips",
        "the server's processor time",
    ];
    table(&title, &columns, &rows)
}

fn own(network: &DelayedNetwork) -> Job {
    let vault = network.on(Side::Far, || {
        TestVault::builder().https().ip(DelayedNetwork::address(Side::Far)).start()
    });
    // It lives as long as the bench.
    Job::new(Box::leak(Box::new(Target::from(vault))), SECRETS, 1)
}

/// A real server on the other host. Its certificate is for `localhost`.
fn real(network: &DelayedNetwork) -> Option<(&'static RealVault, Job)> {
    network.on(Side::Far, || {
        let real: &'static RealVault = Box::leak(Box::new(RealVault::on_every_address()?));
        let mut job = Job::new(&Target::from(real), SECRETS, 1);
        job.addr =
            real.addr().replace("127.0.0.1", &DelayedNetwork::address(Side::Far).to_string());
        job.server_name = Some("localhost".to_owned());
        Some((real, job))
    })
}

struct Network {
    network: DelayedNetwork,
    /// In milliseconds, as a client sees it.
    round_trip: f64,
}

impl Network {
    fn rows(&self, server: &str, job: &Job, real: Option<&RealVault>) -> Vec<Vec<String>> {
        [
            ("1 secret", 1, "data/", "false"),
            ("50 secrets", SECRETS, "data/", "false"),
            ("1 secret, version to be found out", 1, "", "false"),
            ("1 secret, token revoked", 1, "data/", "true"),
            ("50 secrets, version to be found out, token revoked", SECRETS, "", "true"),
        ]
        .into_iter()
        .map(|(what, secrets, data, revoke)| (what, job.start(secrets, secrets, data, revoke)))
        .chain(real.map(|_| {
            ("50 secrets, no default policy", job.lean().start(SECRETS, SECRETS, "data/", "false"))
        }))
        .chain(
            is_there("h2load")
                .then(|| ("50 reads by h2load, without a login", job.h2load(SECRETS))),
        )
        .map(|(what, start)| {
            let (found, work) =
                (self.row(&start), real.map_or_else(String::new, |real| self.work(real, &start)));
            [vec![server.to_owned(), what.to_owned()], found, vec![work]].concat()
        })
        .collect()
    }

    fn row(&self, start: &Rival) -> Vec<String> {
        let runs: Vec<(u32, f64)> = (0..RUNS).map(|_| self.once(start)).collect();
        let trips = median(runs.iter().map(|(trips, _)| f64::from(*trips)).collect());
        let time = median(runs.iter().map(|(_, time)| *time).collect());
        vec![format!("{trips:.0}"), ms(time), ms(time - trips * self.round_trip)]
    }

    /// The round trips of a start, and its time in milliseconds.
    fn once(&self, start: &Rival) -> (u32, f64) {
        self.network.reset();
        let took = self.network.on(Side::Near, || start.time());
        let began = Instant::now();
        let trips = loop {
            match self.network.round_trips() {
                Some(trips) => break trips,
                None => {
                    assert!(began.elapsed() < Duration::from_secs(5), "no connection was closed");
                }
            }
            std::thread::yield_now();
        };
        (trips, took.as_secs_f64() * 1000.0)
    }

    /// The processor time that a server takes for a start. It goes on for a moment when the start
    /// is over.
    fn work(&self, real: &RealVault, start: &Rival) -> String {
        let before = real.processor_time();
        self.network.on(Side::Near, || {
            for _ in 0..RUNS {
                start.time();
            }
        });
        let runs = u32::try_from(RUNS).expect("few");
        ms((real.processor_time().saturating_sub(before) / runs).as_secs_f64() * 1000.0)
    }
}
