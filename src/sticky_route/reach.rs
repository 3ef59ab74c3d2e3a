use tower_layer::Layer;

/// How a pool comes from a member to the service that it calls. Sealed: [`Direct`], or [`Through`] one client.
#[diagnostic::on_unimplemented(
    message = "`{M}` cannot be a member of this pool, which reaches its members by `{Self}`",
    note = "after `build()` members are services and `Clone`, since a clone of one is called; one that is not goes into a `tower::buffer::Buffer`",
    note = "after `into_layer()` members are layers, and the one client below them is `Clone`"
)]
pub trait Reach<M>: Clone + sealed::Sealed {
    /// What is called.
    type Service;

    #[doc(hidden)]
    fn service(&self, member: &M) -> Self::Service;
}

mod sealed {
    pub trait Sealed {}
}

/// Members are services: a clone of one is called.
#[derive(Clone, Copy, Debug)]
pub struct Direct(pub(super) ());

impl sealed::Sealed for Direct {}

#[diagnostic::do_not_recommend]
impl<S: Clone> Reach<S> for Direct {
    type Service = S;

    fn service(&self, member: &S) -> S {
        member.clone()
    }
}

/// Members are layers, such as [`UpstreamLayer`](crate::front::UpstreamLayer): a clone of the one client is called, with
/// the member's layer around it.
#[derive(Clone, Copy, Debug)]
pub struct Through<C>(pub(super) C);

impl<C> sealed::Sealed for Through<C> {}

#[diagnostic::do_not_recommend]
impl<C: Clone, L: Layer<C>> Reach<L> for Through<C> {
    type Service = L::Service;

    fn service(&self, member: &L) -> L::Service {
        member.layer(self.0.clone())
    }
}
