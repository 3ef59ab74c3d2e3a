/// Draws by weight at the cost of one look, whatever the number: Vose's alias method, in whole numbers.
#[derive(Debug)]
pub(super) struct AliasTable {
    sum: u64,
    cells: Vec<Cell>,
}

/// Of `sum` tickets those below `up_to` are of `one`, the others of `other`.
#[derive(Debug)]
struct Cell {
    one: usize,
    up_to: u64,
    other: usize,
}

impl AliasTable {
    /// Of things and their weights.
    pub(super) fn new(weights: &[(usize, u32)]) -> Self {
        let sum = weights.iter().fold(0_u64, |sum, (_, weight)| sum.saturating_add((*weight).into()));
        let number = u64::try_from(weights.len()).unwrap_or(u64::MAX);
        let shares = weights.iter().map(|(one, weight)| (*one, u64::from(*weight).saturating_mul(number)));
        let (mut small, mut large): (Vec<_>, Vec<_>) = shares.partition(|(_, share)| *share < sum);
        let mut cells = Vec::with_capacity(weights.len());
        while let Some((one, up_to)) = small.pop() {
            let Some((other, share)) = large.pop() else { break };
            cells.push(Cell { one, up_to, other });
            let rest = (other, share.saturating_sub(sum.saturating_sub(up_to)));
            if rest.1 < sum { small.push(rest) } else { large.push(rest) }
        }
        cells.extend(large.into_iter().map(|(one, _)| Cell { one, up_to: sum, other: one }));
        Self { sum, cells }
    }

    /// `random_below` gives a number below its argument.
    pub(super) fn draw(&self, random_below: impl Fn(u64) -> u64) -> Option<usize> {
        let at = random_below(u64::try_from(self.cells.len()).ok()?);
        let cell = self.cells.get(usize::try_from(at).ok()?)?;
        Some(if random_below(self.sum) < cell.up_to { cell.one } else { cell.other })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over all tickets of all cells each comes up exactly as often as its weight says.
        #[test]
        fn tickets_are_shared_by_weight(weights in prop::collection::vec(prop_oneof![0..9_u32, any::<u32>()], 0..40)) {
            let weights: Vec<(usize, u32)> = weights.into_iter().enumerate().collect();
            let table = AliasTable::new(&weights);
            let mut tickets = vec![0_u64; weights.len()];
            for cell in &table.cells {
                tickets[cell.one] += cell.up_to;
                tickets[cell.other] += table.sum - cell.up_to;
            }
            for (one, weight) in &weights {
                prop_assert_eq!(tickets[*one], u64::from(*weight) * weights.len() as u64);
            }
        }
    }

    #[test]
    fn each_ticket_is_drawn() {
        let table = AliasTable::new(&[(7, 1), (8, 3)]);
        let mut drawn = Vec::new();
        for cell in 0..2 {
            for ticket in 0..4 {
                drawn.extend(table.draw(|bound| if bound == 2 { cell } else { ticket }));
            }
        }
        assert_eq!(drawn.iter().filter(|one| **one == 7).count(), 2);
        assert_eq!(drawn.iter().filter(|one| **one == 8).count(), 6);
        assert_eq!(AliasTable::new(&[]).draw(|_| 0), None);
    }
}
