//! When each webhook is to be sent: evenly spaced, faster during a burst.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::cli::Load;

/// Stretches of constant rate, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Beginning, end, rate per second.
    stretches: Vec<(Duration, Duration, f64)>,
}

impl Schedule {
    /// The schedule of a command.
    pub(super) fn new(load: &Load) -> Result<Self> {
        if !load.burst.is_finite() || load.burst <= 0.0 {
            bail!("--burst {} is no factor above 0", load.burst);
        }
        let end = load.duration;
        let rate = f64::from(load.rate);
        let from = load.burst_after.min(end);
        let to = load.burst_after.saturating_add(load.burst_for).min(end);
        let stretches =
            vec![(Duration::ZERO, from, rate), (from, to, rate * load.burst), (to, end, rate)];
        Ok(Self { stretches })
    }

    /// Times since the beginning, rising. Each is computed from the beginning of its stretch, so
    /// that errors do not add up.
    pub(super) fn times(&self) -> impl Iterator<Item = Duration> + use<> {
        self.stretches.clone().into_iter().flat_map(|stretch| {
            let (begin, _, rate) = stretch;
            (0..count(stretch)).map(move |n| begin + Duration::from_secs_f64(n as f64 / rate))
        })
    }

    /// How many times there are.
    pub(super) fn len(&self) -> u64 {
        self.stretches.iter().copied().map(count).sum()
    }

    /// The greatest rate per second.
    pub(super) fn peak(&self) -> f64 {
        let busy = self.stretches.iter().filter(|(begin, end, _)| begin < end);
        busy.map(|(_, _, rate)| *rate).fold(0.0, f64::max)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and the cast saturates"
)]
fn count((begin, end, rate): (Duration, Duration, f64)) -> u64 {
    (end.saturating_sub(begin).as_secs_f64() * rate).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(stretches: &[(u64, u64, f64)]) -> Schedule {
        let seconds = Duration::from_secs;
        let of = |&(begin, end, rate): &(u64, u64, f64)| (seconds(begin), seconds(end), rate);
        Schedule { stretches: stretches.iter().map(of).collect() }
    }

    #[test]
    fn times_are_evenly_spaced_and_denser_in_a_burst() {
        let stretches = [(0, 5, 10.0), (5, 7, 30.0), (7, 10, 10.0)];
        let times: Vec<_> = schedule(&stretches).times().collect();
        let within = |from, to| {
            let range = Duration::from_secs(from)..Duration::from_secs(to);
            times.iter().filter(|at| range.contains(at)).count()
        };
        assert_eq!((within(0, 5), within(5, 7), within(7, 10)), (50, 60, 30));
        assert_eq!((times.len(), schedule(&stretches).len()), (140, 140));
        assert!(times.is_sorted());
        assert_eq!(times.get(..3), Some(&[0, 100, 200].map(Duration::from_millis)[..]));
    }

    #[test]
    fn spacing_does_not_drift() {
        let times: Vec<_> = schedule(&[(0, 100, 7.0)]).times().collect();
        assert_eq!(times.len(), 700);
        let last = times.last().unwrap().as_secs_f64();
        assert!((last - 699.0 / 7.0).abs() < 1e-6, "{last}");
    }
}
