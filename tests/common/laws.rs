//! Properties that hold for 1,024 inputs each time, and for 100,000 with `--ignored`.

macro_rules! laws {
    ($($(#[$doc:meta])* fn $law:ident($($value:ident in $strategy:expr),+ $(,)?) $body:block)+) => {$(
        $(#[$doc])*
        mod $law {
            use super::*;

            #[test]
            fn holds() {
                hold(1_024);
            }

            #[test]
            #[ignore = "takes minutes without optimisation"]
            fn holds_a_hundred_thousand_times() {
                hold(100_000);
            }

            fn hold(cases: u32) {
                let config = ProptestConfig {
                    cases,
                    failure_persistence: None,
                    max_global_rejects: cases * 8,
                    ..ProptestConfig::default()
                };
                proptest!(config, |($($value in $strategy),+)| $body);
            }
        }
    )+};
}
