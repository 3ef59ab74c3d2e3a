//! What the benches share.

use std::time::Instant;

const ROUNDS: usize = 31;

/// Nanoseconds per call: the median of many rounds, in each of which all are timed in turn.
pub(crate) fn interleaved<const N: usize>(contenders: [&dyn Fn(); N]) -> [f64; N] {
    let calls = contenders.map(|contender| {
        let start = Instant::now();
        (0..16).for_each(|_| contender());
        let one = start.elapsed().as_nanos() / 16;
        // About half a millisecond in each round.
        usize::try_from(500_000 / one.max(1)).unwrap().clamp(2, 20_000)
    });
    let mut contenders = contenders.iter().zip(calls);
    medians([(); N].map(|()| {
        let (contender, calls) = contenders.next().unwrap();
        move || {
            let start = Instant::now();
            (0..calls).for_each(|_| contender());
            start.elapsed().as_nanos() as f64 / calls as f64
        }
    }))
}

/// The medians of what contenders time themselves, in many rounds, in each of which all have their turn.
pub(crate) fn medians<const N: usize>(contenders: [impl Fn() -> f64; N]) -> [f64; N] {
    let mut times = [(); N].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (contender, times) in contenders.iter().zip(&mut times) {
            times.push(contender());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

/// `cargo test` builds and starts benches, too.
pub(crate) fn is_wanted() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
