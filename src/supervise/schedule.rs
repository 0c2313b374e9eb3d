//! When to renew, try again, and replace (pure).
//!
//! All times are on one clock that never jumps; randomness comes from outside.

use std::time::Duration;

/// A source of randomness: numbers from 0 up to, but not including, 1.
pub(crate) trait Dice {
    /// Returns the next number.
    fn next(&mut self) -> f64;

    /// Returns a random part of `whole`, between the fractions `least` and `most`.
    fn part(&mut self, whole: Duration, least: f64, most: f64) -> Duration {
        whole.mul_f64(least + (most - least) * self.next())
    }
}

const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How long a replacement takes, not counting the time to stop the application.
const START: Duration = Duration::from_secs(10);

/// Returns when to renew something obtained at `got`: after half to three quarters of its life, but
/// never at once.
pub(crate) fn renewal(got: Duration, ttl: Duration, dice: &mut impl Dice) -> Duration {
    got + dice.part(ttl, 0.50, 0.75).max(SHORTEST)
}

/// Returns when to try again after `tries` failures, for something that ends at `end`.
pub(crate) fn again(
    now: Duration,
    end: Duration,
    ttl: Duration,
    tries: u32,
    dice: &mut impl Dice,
) -> Duration {
    let doubled = Duration::from_secs(2).saturating_mul(1 << tries.min(16));
    let most = match end.saturating_sub(now) {
        Duration::ZERO => LONGEST_PAUSE,
        left => {
            let least = Duration::from_mins(1).min(ttl / 10);
            (left / 4).max(least).min(LONGEST_PAUSE)
        }
    };
    now + dice.part(doubled.min(most), 0.5, 1.0)
}

/// Returns when to log in again after a refusal: what was refused once is likely to be refused
/// again.
pub(crate) fn after_refusal(now: Duration, tries: u32, dice: &mut impl Dice) -> Duration {
    let pause = LONGEST_PAUSE.saturating_mul(1 << tries.min(4)).min(Duration::from_hours(1));
    now + dice.part(pause, 0.75, 1.0)
}

/// Returns when to replace something that an answer has just shown to end for good: in the first
/// half of the time that is left.
pub(crate) fn replacement_of_capped(
    now: Duration,
    end: Duration,
    dice: &mut impl Dice,
) -> Duration {
    now + dice.part(end.saturating_sub(now) / 2, 0.0, 1.0)
}

/// How long before an end that cannot be moved a replacement happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// `--replace-before`.
    pub(crate) asked: Duration,
    /// The time to stop, and the splay.
    pub(crate) stop: Duration,
}

/// Returns when to replace something obtained at `got` that ends for good after `life`.
pub(crate) fn replacement_of_fixed(
    got: Duration,
    life: Duration,
    ahead: Ahead,
    dice: &mut impl Dice,
) -> Duration {
    let before = dice.part(life, 0.10, 0.20).max(ahead.asked).max(ahead.stop + START);
    got + life.saturating_sub(before).max(life / 2)
}

/// Returns when to ask again for a static role that has `ttl` left until it rotates; 0 means that a
/// rotation is under way.
pub(crate) fn rotation(now: Duration, ttl: Duration, dice: &mut impl Dice) -> Duration {
    if ttl.is_zero() {
        return now + Duration::from_secs(2);
    }
    now + ttl + dice.part(Duration::from_secs(5), 0.2, 1.0)
}

/// Returns when to look at KV next.
pub(crate) fn look(now: Duration, interval: Duration, dice: &mut impl Dice) -> Duration {
    now + dice.part(interval, 0.75, 1.25)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers that look random, the same ones every time.
    pub(in crate::supervise) struct Loaded(pub(in crate::supervise) u64);

    impl Dice for Loaded {
        fn next(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(self.0 >> 33).expect("31 bits")) / f64::from(1_u32 << 31)
        }
    }

    const S: Duration = Duration::from_secs(1);

    fn all(what: impl Fn(&mut Loaded) -> Duration) -> (Duration, Duration) {
        let mut dice = Loaded(1);
        let times: Vec<Duration> = (0..1000).map(|_| what(&mut dice)).collect();
        (*times.iter().min().expect("some"), *times.iter().max().expect("some"))
    }

    fn is_within((least, most): (Duration, Duration), low: f64, high: f64) {
        assert!(least >= S.mul_f64(low) && most <= S.mul_f64(high), "{least:?} {most:?}");
        let width = (high - low) / 20.0;
        assert!(
            least <= S.mul_f64(low + width) && most >= S.mul_f64(high - width),
            "{least:?} {most:?}"
        );
    }

    #[test]
    fn renewals_come_between_half_and_three_quarters_of_the_life() {
        is_within(all(|dice| renewal(100 * S, 1000 * S, dice)), 600.0, 850.0);
        assert_eq!(all(|dice| renewal(100 * S, S, dice)), (101 * S, 101 * S));
    }

    #[test]
    fn pauses_grow_and_are_bounded_by_what_is_left() {
        let pause = |left: u32, ttl: u32, tries| {
            let end = (1000 + left) * S;
            all(move |dice| again(1000 * S, end, ttl * S, tries, dice).saturating_sub(1000 * S))
        };
        is_within(pause(3600, 3600, 0), 1.0, 2.0);
        is_within(pause(3600, 3600, 3), 8.0, 16.0);
        // A quarter of what is left, at most five minutes, at least a minute or a tenth of the TTL.
        is_within(pause(3600, 3600, 30), 150.0, 300.0);
        is_within(pause(400, 3600, 30), 50.0, 100.0);
        is_within(pause(10, 3600, 30), 30.0, 60.0);
        is_within(pause(10, 60, 30), 3.0, 6.0);
        is_within(pause(0, 60, 30), 150.0, 300.0);
        is_within(all(|dice| after_refusal(Duration::ZERO, 0, dice)), 225.0, 300.0);
        is_within(all(|dice| after_refusal(Duration::ZERO, 9, dice)), 2700.0, 3600.0);
    }

    #[test]
    fn what_cannot_be_moved_is_replaced_before_its_end_and_not_in_the_first_half_of_its_life() {
        let at = |ahead: Ahead| {
            all(move |dice| replacement_of_fixed(Duration::ZERO, 1000 * S, ahead, dice))
        };
        is_within(at(Ahead::default()), 800.0, 900.0);
        let asked = Ahead { asked: 300 * S, ..Ahead::default() };
        assert_eq!(at(asked), (700 * S, 700 * S));
        let slow = Ahead { stop: 240 * S, ..Ahead::default() };
        assert_eq!(at(slow), (750 * S, 750 * S));
        let absurd = Ahead { asked: 5000 * S, ..Ahead::default() };
        assert_eq!(at(absurd), (500 * S, 500 * S));
        is_within(all(|dice| replacement_of_capped(100 * S, 300 * S, dice)), 100.0, 200.0);
    }

    #[test]
    fn rotations_and_looks() {
        is_within(all(|dice| rotation(Duration::ZERO, 100 * S, dice)), 101.0, 105.0);
        assert_eq!(all(|dice| rotation(7 * S, Duration::ZERO, dice)), (9 * S, 9 * S));
        is_within(all(|dice| look(Duration::ZERO, 100 * S, dice)), 75.0, 125.0);
    }
}
