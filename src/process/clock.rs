//! The supervisor's clock: it keeps running while the machine sleeps, and nobody can set it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::libc;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};

/// Returns the time since the machine was started.
pub(crate) fn now() -> Duration {
    clock_gettime(Clock::from_raw(libc::CLOCK_BOOTTIME)).map_or(Duration::ZERO, Duration::from)
}

/// A descriptor that becomes readable at a given time.
pub(crate) struct Alarm(TimerFd);

impl Alarm {
    /// Makes an alarm that is not set.
    pub(crate) fn new() -> nix::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map(Alarm)
    }

    /// Sets the alarm to a time, or disarms it for `None`. A time in the past fires at once.
    pub(crate) fn set(&self, at: Option<Duration>) {
        let set = match at {
            // A time of zero would disarm it.
            Some(at) => self.0.set(
                Expiration::OneShot(TimeSpec::from_duration(at.max(Duration::from_nanos(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            ),
            None => self.0.unset(),
        };
        if let Err(error) = set {
            log::debug!("the timer cannot be set: {error}");
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn an_alarm_comes_at_its_time_and_not_before() {
        let alarm = Alarm::new().expect("a timer");
        let comes = |timeout: u16| {
            let mut ready = [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::from(timeout)) == Ok(1)
        };
        assert!(!comes(0));
        alarm.set(Some(Duration::ZERO));
        assert!(comes(20_000));
        let at = now() + Duration::from_millis(50);
        alarm.set(Some(at));
        assert!(comes(20_000) && now() >= at);
        alarm.set(Some(now() + Duration::from_hours(1)));
        assert!(!comes(0));
        alarm.set(None);
        assert!(!comes(0));
    }
}
