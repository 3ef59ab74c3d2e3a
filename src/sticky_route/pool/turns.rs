use std::collections::HashMap;

/// The turns of smooth weighted round robin, worked out beforehand, so that taking one is a look and no lock.
#[derive(Debug)]
pub(super) enum Turns {
    /// One period, step by step as Apache's byrequests and nginx go.
    Period { weights: Vec<(usize, u32)>, turns: Box<[usize]> },
    /// Where a period is long: turn by turn a step of the golden ratio around a circle on which each has an arc as long as
    /// its weight. Two neighbouring turns of one are nearly its share apart.
    Circle { members: Box<[usize]>, ends: Box<[u64]>, sum: u64 },
}

impl Turns {
    /// Of things and their weights, in hundredths or whatever.
    pub(super) fn new(weights: Vec<(usize, u32)>) -> Self {
        const LONGEST: usize = 4096;
        let mut sum = 0_u64;
        let ends: Vec<u64> = weights
            .iter()
            .map(|(_, weight)| {
                sum = sum.saturating_add((*weight).into());
                sum
            })
            .collect();
        let divisor =
            weights.iter().fold(0, |divisor, (_, weight)| common_divisor(divisor, (*weight).into()));
        let period = sum.checked_div(divisor).and_then(|period| usize::try_from(period).ok());
        match period.filter(|period| *period <= LONGEST.max(weights.len())) {
            Some(period) => Self::Period { turns: period_of(&weights, period), weights },
            None => Self::Circle {
                members: weights.iter().map(|(one, _)| *one).collect(),
                ends: ends.into(),
                sum,
            },
        }
    }

    /// Whose turn it is.
    pub(super) fn get(&self, turn: u64) -> Option<usize> {
        match self {
            Self::Period { turns, .. } => turns.get(within(turn, turns)?).copied(),
            Self::Circle { members, ends, sum } => {
                // The golden ratio's part behind the point, in 2^-64.
                let angle = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let ticket = u64::try_from(u128::from(angle).wrapping_mul((*sum).into()) >> 64).ok()?;
                members.get(ends.partition_point(|end| *end <= ticket)).copied()
            }
        }
    }

    /// What each has gained since the period began and not paid, as Apache counts it, among those that are not passed over:
    /// none on a circle.
    pub(super) fn owed(&self, turn: u64, is_passed_over: impl Fn(usize) -> bool) -> Vec<(usize, i64)> {
        let Self::Period { weights, turns } = self else { return Vec::new() };
        let passed = turns.get(..within(turn, turns).unwrap_or(0)).unwrap_or_default();
        let mut counts = HashMap::with_capacity(weights.len());
        for (one, _) in weights.iter().filter(|(one, _)| !is_passed_over(*one)) {
            counts.insert(*one, 0_i64);
        }
        let mut length = 0_i64;
        for one in passed {
            if let Some(count) = counts.get_mut(one) {
                *count = count.saturating_add(1);
                length = length.saturating_add(1);
            }
        }
        let open =
            || weights.iter().filter_map(|(one, weight)| Some((*one, i64::from(*weight), counts.get(one)?)));
        let sum = open().fold(0_i64, |sum, (_, weight, _)| sum.saturating_add(weight));
        let owed =
            |weight: i64, count: i64| weight.saturating_mul(length).saturating_sub(count.saturating_mul(sum));
        open().map(|(one, weight, count)| (one, owed(weight, *count))).collect()
    }
}

fn within(turn: u64, turns: &[usize]) -> Option<usize> {
    usize::try_from(turn.checked_rem(u64::try_from(turns.len()).ok()?)?).ok()
}

/// Each gains its weight, the one that has gained most (the first of equals) is chosen and pays for all.
fn period_of(weights: &[(usize, u32)], period: usize) -> Box<[usize]> {
    if period == weights.len() {
        return weights.iter().map(|(one, _)| *one).collect();
    }
    let sum = weights.iter().fold(0_i64, |sum, (_, weight)| sum.saturating_add((*weight).into()));
    let mut gains = vec![0_i64; weights.len()];
    let turn = |_| {
        let mut most = (0, i64::MIN);
        for (at, (gain, (_, weight))) in gains.iter_mut().zip(weights).enumerate() {
            *gain = gain.saturating_add((*weight).into());
            if *gain > most.1 {
                most = (at, *gain);
            }
        }
        if let Some(gain) = gains.get_mut(most.0) {
            *gain = gain.saturating_sub(sum);
        }
        weights.get(most.0).map_or(0, |(one, _)| *one)
    };
    (0..period).map(turn).collect()
}

fn common_divisor(mut one: u64, mut other: u64) -> u64 {
    while let Some(rest) = one.checked_rem(other) {
        (one, other) = (other, rest);
    }
    one
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(weights: &[u32]) -> Turns {
        Turns::new(weights.iter().copied().enumerate().collect())
    }

    fn first(turns: &Turns, number: u64) -> Vec<usize> {
        (0..number).map(|turn| turns.get(turn).unwrap()).collect()
    }

    /// How far a prefix is from what the weights say, at the most.
    fn worst(weights: &[u32], turns: &[usize]) -> f64 {
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        let mut counts = vec![0.0; weights.len()];
        let mut worst = 0.0_f64;
        for (number, one) in turns.iter().enumerate() {
            counts[*one] += 1.0;
            for (count, weight) in counts.iter().zip(weights) {
                worst = worst.max((count - (number + 1) as f64 * f64::from(*weight) / sum).abs());
            }
        }
        worst
    }

    #[test]
    fn apaches_tables() {
        assert_eq!(first(&turns(&[500, 100, 100]), 14), [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(first(&turns(&[25, 25, 25, 25]), 5), [0, 1, 2, 3, 0]);
    }

    #[test]
    fn nobody_has_no_turn() {
        assert_eq!(turns(&[]).get(7), None);
        assert_eq!(turns(&[]).owed(7, |_| false), []);
    }

    #[test]
    fn a_long_period_is_a_circle() {
        assert!(matches!(turns(&[1; 4096]), Turns::Period { .. }));
        assert!(matches!(turns(&[1; 4097]), Turns::Period { .. }), "it costs no more than the members");
        let mixed: Vec<u32> = (0..4096).map(|at| if at == 0 { 2 } else { 1 }).collect();
        assert!(matches!(turns(&mixed), Turns::Circle { .. }));
        assert!(matches!(turns(&[100, 409_500]), Turns::Period { .. }));
        assert!(matches!(turns(&[1, 4096]), Turns::Circle { .. }));
        assert!(matches!(turns(&[u32::MAX, u32::MAX - 1]), Turns::Circle { .. }));
    }

    proptest! {
        #[test]
        fn periods_are_those_of_the_naive_twin(weights in prop::collection::vec(1..60_u32, 1..8)) {
            let turns = turns(&weights);
            let sum: u32 = weights.iter().sum();
            let mut gains = vec![0_i64; weights.len()];
            for turn in 0..2 * u64::from(sum) {
                let owed: Vec<i64> = turns.owed(turn, |_| false).into_iter().map(|(_, owed)| owed).collect();
                prop_assert_eq!(&owed, &gains);
                for (gain, weight) in gains.iter_mut().zip(&weights) {
                    *gain += i64::from(*weight);
                }
                let most = (0..gains.len()).rev().max_by_key(|at| gains[*at]).unwrap();
                gains[most] -= i64::from(sum);
                prop_assert_eq!(turns.get(turn), Some(most));
            }
            let period = first(&turns, sum.into());
            for (one, weight) in weights.iter().enumerate() {
                prop_assert_eq!(period.iter().filter(|turn| **turn == one).count(), *weight as usize);
            }
        }

        #[test]
        fn each_prefix_of_a_period_is_fair(weights in prop::collection::vec(1..200_u32, 1..12)) {
            let turns = turns(&weights);
            prop_assume!(matches!(turns, Turns::Period { .. }));
            let period = first(&turns, weights.iter().copied().map(u64::from).sum());
            prop_assert!(worst(&weights, &period) < 2.0);
        }

        /// Up to 20,000 turns no arc is ever further off than 5.0.
        #[test]
        fn each_prefix_on_a_circle_is_fair(weights in prop::collection::vec(1..u32::MAX, 2..12)) {
            let turns = turns(&weights);
            prop_assume!(matches!(turns, Turns::Circle { .. }));
            prop_assert!(worst(&weights, &first(&turns, 20_000)) < 5.5);
        }
    }
}
