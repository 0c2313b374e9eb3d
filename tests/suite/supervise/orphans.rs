//! Collecting what ends below the application: no zombie stays, whoever has left it.

use nix::sys::signal::Signal;

use crate::supervise::inits::{self, Init, Place, Running, children, places, state};
use crate::support::launch::eventually;

/// A hundred processes whose parents are gone, which end together.
const ORPHANS: &str = "
    for i in 1 2 3 4 5 6 7 8 9 10; do
        (for j in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.3; exit 1) & done) &
    done
    wait
    trap 'exit 6' TERM
    echo ready
    while :; do sleep 60 & wait $!; done";

// tini: reaping; catatonit: coalesced CHLD; pid1-rs: multiple zombies, orphaned grandchildren
#[test]
fn orphans_come_to_us_and_none_stays_a_zombie() {
    for place in places("supervise::orphans::orphans_come_to_us_and_none_stays_a_zombie") {
        for init in inits::all() {
            let mut running = Running::script(init, place, ORPHANS);
            let application = running.application();
            // dumb-init and catatonit adopt none unless they are PID 1.
            let adopts = place == Place::First || !matches!(init, Init::Dumb | Init::Catatonit);
            if adopts {
                eventually("all orphans are collected", || {
                    (children(running.init) == [application]).then_some(())
                });
            }
            running.signal(Signal::SIGTERM);
            assert_eq!(running.ends().code(), Some(6), "{init:?} {place:?}");
        }
    }
}

#[test]
fn a_zombie_of_the_applications_own_is_left_to_it() {
    // exec: the child of the shell belongs to a program that never asks for it.
    let mut running = Running::start(
        Place::Beside,
        Init::Ours.command(["sh", "-c", "sleep 0.3 & echo $!; exec sleep 60"]),
    );
    let below = nix::unistd::Pid::from_raw(running.line().parse().expect("a pid"));
    eventually("a zombie", || (state(below) == Some('Z')).then_some(()));
    let application = running.application();
    nix::sys::signal::kill(application, Signal::SIGKILL).expect("it is there");
    assert!(running.ends().code().is_none());
    assert_eq!(state(below), None);
}
