//! Every order in which the threads of a small pool can meet, tried by loom: `cargo run`. It panics where one is wrong.
//!
//! It reads the very source of the members' state, over atomics that loom knows.

fn main() {
    sticky_route::pool::models::run();
}

/// The same places as in the crate, so that the paths in the source hold.
#[path = "../../../src/sticky_route"]
mod sticky_route {
    #[path = "pool"]
    pub(crate) mod pool {
        #[path = "../../../tests/models/src/models.rs"]
        pub(crate) mod models;

        #[expect(dead_code, reason = "what only the crate uses")]
        mod state;

        #[expect(dead_code, reason = "what only the crate uses")]
        mod attempt;
        mod ejection;
        mod window;
        mod word;

        mod sync {
            /// The longest jitter, always.
            pub(super) fn random() -> u64 {
                u64::MAX
            }

            pub(super) use loom::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

            /// What tokio's does, as far as the state needs it: who is enabled before a notification gets it.
            #[derive(Debug)]
            pub(super) struct Notify(AtomicU64);

            impl Notify {
                pub(super) fn new() -> Self {
                    Self(AtomicU64::new(0))
                }

                pub(super) fn notify_waiters(&self) {
                    self.0.fetch_add(1, Ordering::AcqRel);
                }

                pub(super) fn notified(&self) -> Notified<'_> {
                    Notified { notify: self, seen: self.0.load(Ordering::Acquire) }
                }
            }

            pub(super) struct Notified<'a> {
                notify: &'a Notify,
                seen: u64,
            }

            impl Notified<'_> {
                pub(super) fn enable(self: std::pin::Pin<&mut Self>) {}
            }

            impl Future for Notified<'_> {
                type Output = ();

                fn poll(
                    self: std::pin::Pin<&mut Self>,
                    _: &mut std::task::Context<'_>,
                ) -> std::task::Poll<()> {
                    // Never told: loom finds that nobody can go on.
                    while self.notify.0.load(Ordering::Acquire) == self.seen {
                        loom::thread::yield_now();
                    }
                    std::task::Poll::Ready(())
                }
            }
        }
    }
}
