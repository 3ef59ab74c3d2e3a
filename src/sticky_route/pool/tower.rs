//! What joins the pool to the crate `tower`.

use std::fmt;
use std::pin::pin;

use tower::discover::{Change, Discover};
use tower::load::Load;

use super::{BuildError, Membership};
use crate::sticky_route::StickyRoute;

impl<S> Membership<S> {
    /// Adds and removes members as `discover` says, until it ends: spawn it. The text of a key is the route.
    ///
    /// A key that comes again replaces the service; state, weight and all else of the member stay. Members that were not
    /// discovered are left alone, but for those of a discovered key. When it ends or fails, the members stay.
    ///
    /// # Errors
    ///
    /// The discovery failed, or a key is no route that the cookie can carry.
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::discover::Change;
    /// use tower::service_fn;
    /// use tower_proxied::sticky_route::{RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn hello(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
    ///     Ok(Response::new("hello".to_owned()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let members = StickyRoute::builder("shop").cookie(RouteCookie::plain()).build()?.membership();
    /// let changes = ["http-1", "http-2"].map(|key| Ok(Change::Insert(key, service_fn(hello))));
    /// let discover = changes.into_iter().chain([Ok::<_, std::io::Error>(Change::Remove("http-1"))]);
    /// members.drive(tokio_stream::iter(discover)).await?;
    /// assert_eq!(members.status().len(), 1);
    /// assert_eq!(members.status()[0].route().as_str(), "http-2");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drive<D>(&self, discover: D) -> Result<(), DriveError<D::Error>>
    where
        D: Discover<Service = S>,
        D::Key: fmt::Display,
    {
        let mut discover = pin!(discover);
        while let Some(change) = std::future::poll_fn(|cx| discover.as_mut().poll_discover(cx)).await {
            match change.map_err(DriveError::Discover)? {
                Change::Insert(key, service) => {
                    self.replace_service(&key.to_string(), service).map_err(DriveError::Route)?;
                }
                Change::Remove(key) => {
                    // Whoever removed it before did the same.
                    self.remove_member(&key.to_string());
                }
            }
        }
        Ok(())
    }
}

/// Why [`Membership::drive`] ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriveError<E> {
    /// The discovery failed.
    Discover(E),
    /// A key is no route that the cookie can carry.
    Route(BuildError),
}

impl<E: fmt::Display> fmt::Display for DriveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discover(error) => write!(f, "the discovery of members failed: {error}"),
            Self::Route(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for DriveError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Discover(error) => Some(error),
            Self::Route(error) => Some(error),
        }
    }
}

/// The requests that all members have now, so that pools can stand under tower's `Balance`. One look at each member.
impl<M, R> Load for StickyRoute<M, R> {
    type Metric = usize;

    fn load(&self) -> usize {
        self.membership().in_flight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sticky_route::{RouteCookie, State};

    type Next = Result<Change<String, u8>, &'static str>;

    async fn drive(members: &Membership<u8>, changes: Vec<Next>) -> Result<(), DriveError<&'static str>> {
        members.drive(tokio_stream::iter(changes)).await
    }

    #[tokio::test]
    async fn a_key_that_comes_again_replaces_the_service_alone() {
        let sticky = StickyRoute::builder("pool").cookie(RouteCookie::plain()).build().unwrap();
        let members = sticky.membership();
        let insert = |key: &str, service| Ok(Change::Insert(key.to_owned(), service));
        let remove = |key: &str| Ok(Change::Remove(key.to_owned()));
        drive(&members, vec![insert("127.0.0.1:80", 1), insert("[::1]:80", 1)]).await.unwrap();
        members.set_state("[::1]:80", State::Drain).unwrap();
        members.set_weight("[::1]:80", 7).unwrap();
        let changes = vec![insert("[::1]:80", 2), remove("127.0.0.1:80"), remove("127.0.0.1:80")];
        drive(&members, changes).await.unwrap();
        let status = members.status();
        assert_eq!(status.len(), 1);
        assert_eq!((status[0].state(), status[0].weight_in_hundredths()), (State::Drain, 700));
        assert_eq!(members.shared.snapshot.load().entries()[0].service, Some(2));

        let failed = drive(&members, vec![insert("c", 3), Err("gone"), insert("d", 4)]).await.unwrap_err();
        assert_eq!(failed.to_string(), "the discovery of members failed: gone");
        let failed = drive(&members, vec![insert("a b", 3), insert("d", 4)]).await.unwrap_err();
        assert!(matches!(&failed, DriveError::Route(error) if error.item() == "a b"), "{failed:?}");
        assert_eq!(members.status().len(), 2, "the members stay, and none came after the failures");
    }

    #[tokio::test]
    async fn a_successor_outlives_a_removal_that_is_discovered_later() {
        let sticky = StickyRoute::builder("pool")
            .member(crate::sticky_route::Member::new("a", 1_u8).successor("b"))
            .member(crate::sticky_route::Member::new("b", 2))
            .cookie(RouteCookie::plain())
            .build()
            .unwrap();
        let members = sticky.membership();
        members.remove("a").unwrap();
        drive(&members, vec![Ok(Change::Remove("a".to_owned()))]).await.unwrap();
        assert!(members.remove("a").is_ok(), "what leads to b is there still");
    }

    #[test]
    fn the_load_of_a_pool_is_that_of_its_members() {
        let sticky = StickyRoute::builder("pool")
            .member(crate::sticky_route::Member::new("a", 1_u8))
            .cookie(RouteCookie::plain())
            .build()
            .unwrap();
        assert_eq!(sticky.load(), 0);
        let members = sticky.membership();
        let snapshot = members.shared.snapshot.load();
        let attempts = [0, 1].map(|_| snapshot.entries()[0].enter_anyway().unwrap());
        assert_eq!(sticky.load(), 2);
        drop(attempts);
        assert_eq!(sticky.load(), 0);
    }
}
