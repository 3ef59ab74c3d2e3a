use std::sync::atomic::{AtomicI64, Ordering};

/// How many requests may be sent a second time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) percent: u32,
    pub(super) per_second: u32,
}

/// What of an [`Allowance`] is left, for all clones of a pool.
///
/// Credit flows in with time and with requests, and what was never used above the most that is kept is lost. The one word
/// holds what was spent or lost since the pool was built, less what requests brought in. All is counted in
/// [shares](ONE) of a retry.
#[derive(Debug)]
pub(super) struct RetryBudget {
    allowance: Allowance,
    spent: AtomicI64,
}

/// A retry: so that each millisecond brings a whole number of shares.
const ONE: i64 = 100_000;

impl RetryBudget {
    pub(super) fn new(allowance: Allowance) -> Self {
        let budget = Self { allowance, spent: AtomicI64::new(0) };
        let spent = budget.most().saturating_neg();
        Self { spent: AtomicI64::new(spent), ..budget }
    }

    /// A request came.
    pub(super) fn deposit(&self, now: u64) {
        let brought = i64::from(self.allowance.percent).saturating_mul(ONE / 100);
        self.update(now, |spent| Some(spent.saturating_sub(brought)));
    }

    /// Whether a request may be sent a second time. Then it is paid.
    pub(super) fn withdraw(&self, now: u64) -> bool {
        let earned = self.earned(now);
        self.update(now, |spent| {
            let spent = spent.saturating_add(ONE);
            (spent <= earned).then_some(spent)
        })
    }

    /// It was not sent after all.
    pub(super) fn refund(&self, now: u64) {
        self.update(now, |spent| Some(spent.saturating_sub(ONE)));
    }

    fn update(&self, now: u64, change: impl Fn(i64) -> Option<i64>) -> bool {
        let least = self.earned(now).saturating_sub(self.most());
        let change = |spent: i64| change(spent.max(least)).map(|spent| spent.max(least));
        self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }

    /// By time alone.
    fn earned(&self, now: u64) -> i64 {
        let per_millisecond = i64::from(self.allowance.per_second).saturating_mul(ONE / 1000);
        i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(per_millisecond)
    }

    fn most(&self) -> i64 {
        i64::from(self.allowance.per_second).max(1).saturating_mul(10).saturating_mul(ONE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retries(budget: &RetryBudget, now: u64) -> usize {
        (0..1000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_share_of_the_requests_and_some_each_second() {
        let budget = RetryBudget::new(Allowance { percent: 20, per_second: 3 });
        assert_eq!(retries(&budget, 0), 30, "what ten seconds bring is there at once");
        assert_eq!(retries(&budget, 333), 0);
        assert_eq!(retries(&budget, 334), 1);
        assert_eq!(retries(&budget, 2000), 5);
        (0..14).for_each(|_| budget.deposit(2000));
        assert_eq!(retries(&budget, 2000), 2);
        budget.deposit(2000);
        assert_eq!(retries(&budget, 2000), 1, "what was left of the fourteen counts");
        assert_eq!(retries(&budget, 1_000_000), 30, "no more is kept");
        (0..1000).for_each(|_| budget.deposit(1_000_000));
        assert_eq!(retries(&budget, 1_000_000), 30);
        assert!(!budget.withdraw(1_000_000));
        budget.refund(1_000_000);
        assert_eq!(retries(&budget, 1_000_000), 1);
    }

    #[test]
    fn none_but_the_first_ten_where_nothing_is_allowed() {
        let budget = RetryBudget::new(Allowance { percent: 0, per_second: 0 });
        (0..1000).for_each(|_| budget.deposit(0));
        assert_eq!(retries(&budget, u64::MAX), 10);
        assert_eq!(retries(&budget, u64::MAX), 0);
    }

    proptest! {
        /// Beside an account that is kept as one would keep it by hand.
        #[test]
        fn as_an_account_in_a_book(
            percent in 0..150_u32,
            per_second in 0..20_u32,
            steps in prop::collection::vec((0..3_u8, 0..3000_u64), 0..300),
        ) {
            let budget = RetryBudget::new(Allowance { percent, per_second });
            let most = f64::from(per_second.max(1)) * 10.0;
            let (mut now, mut account) = (0, most);
            for (step, passed) in steps {
                now += passed;
                account = (account + passed as f64 * f64::from(per_second) / 1000.0).min(most);
                if step == 0 {
                    budget.deposit(now);
                    account = (account + f64::from(percent) / 100.0).min(most);
                } else if (account - 1.0).abs() > 1e-6 {
                    let is_paid = budget.withdraw(now);
                    prop_assert_eq!(is_paid, account > 1.0);
                    account -= if is_paid { 1.0 } else { 0.0 };
                }
            }
        }
    }
}
