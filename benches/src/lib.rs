//! Measuring two ways of doing one thing in turn, A B A B …, so that a machine that changes its
//! speed changes both. The ratio is what to quote; the times are of this machine and hour.

use std::time::{Duration, Instant};

/// How many pairs are measured.
const PAIRS: usize = 9;

/// Runs `ours` and `floor` in turn and prints the medians per item and the median of the ratios.
/// Each run does `items` items.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
pub fn compare(name: &str, items: u32, mut floor: impl FnMut(), mut ours: impl FnMut()) {
    floor();
    ours();
    let (mut floors, mut all, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (a, b) = (time(&mut floor), time(&mut ours));
        ratios.push(b.as_secs_f64() / a.as_secs_f64().max(f64::MIN_POSITIVE));
        floors.push(a.as_secs_f64());
        all.push(b.as_secs_f64());
    }
    let micros = |times: &mut Vec<f64>| median(times) * 1e6 / f64::from(items);
    let (floor_us, ours_us) = (micros(&mut floors), micros(&mut all));
    let ratio = median(&mut ratios);
    println!("{name:44} floor {floor_us:10.2} µs  ours {ours_us:10.2} µs  ratio {ratio:6.2}");
}

fn time(run: &mut impl FnMut()) -> Duration {
    let begin = Instant::now();
    run();
    begin.elapsed()
}

/// The value in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(super::median(&mut [3.0, 1.0, 2.0]), 2.0);
    }
}
