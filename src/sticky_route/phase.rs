#[cfg(any(feature = "client", feature = "tonic"))]
use std::any::Any;
#[cfg(any(feature = "client", feature = "tonic"))]
use std::error::Error;

/// How far a request had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The member could not be reached.
    Connect,
    /// The member was reached and did not take the request (HTTP/2: `REFUSED_STREAM`, or `GOAWAY` before it).
    NotSent,
    /// The member may have got some or all of it.
    Sent,
}

#[cfg(feature = "client")]
impl Phase {
    /// The phase of an error of hyper-util's legacy client, or of a boxed error with one among its sources: a classifier
    /// for [`Builder::classify`](super::Builder::classify).
    ///
    /// - [`Connect`](Self::Connect): there was no connection.
    /// - [`NotSent`](Self::NotSent): a connection of the pool was closed before hyper took the request, and the client did
    ///   not try another one; or, with the feature `client-http2`, the server reset the stream with `REFUSED_STREAM`
    ///   (RFC 9113, section 8.7).
    /// - [`Sent`](Self::Sent): all else. `GOAWAY` too, since the error does not tell which streams it spares.
    pub fn of_hyper_util(error: &dyn Any) -> Self {
        use hyper_util::client::legacy::Error as ClientError;

        let client = match error.downcast_ref::<ClientError>() {
            Some(error) => Some(error),
            None => boxed(error).and_then(|error| sources(error).find_map(<dyn Error>::downcast_ref)),
        };
        match client {
            Some(error) if error.is_connect() => Self::Connect,
            Some(error) => Self::of_hyper(error),
            None => Self::Sent,
        }
    }
}

#[cfg(feature = "tonic")]
impl Phase {
    /// The phase of an error of tonic's `Channel`, or of a boxed error with one among its sources: a classifier for
    /// [`Builder::classify`](super::Builder::classify).
    ///
    /// - [`Connect`](Self::Connect): there was no connection.
    /// - [`NotSent`](Self::NotSent): the connection was closed before hyper took the request, or the server reset the
    ///   stream with `REFUSED_STREAM` (RFC 9113, section 8.7).
    /// - [`Sent`](Self::Sent): all else.
    pub fn of_tonic(error: &dyn Any) -> Self {
        use tonic::transport::Error as ChannelError;

        let channel = match error.downcast_ref::<ChannelError>() {
            Some(error) => Some(error),
            None => boxed(error).and_then(|error| sources(error).find_map(<dyn Error>::downcast_ref)),
        };
        match channel {
            Some(error) if sources(error).any(|error| error.is::<tonic::ConnectError>()) => Self::Connect,
            Some(error) => Self::of_hyper(error),
            None => Self::Sent,
        }
    }
}

#[cfg(any(feature = "client", feature = "tonic"))]
impl Phase {
    /// By what hyper says of one request: canceled is what it never began to write.
    fn of_hyper(error: &(dyn Error + 'static)) -> Self {
        let is_canceled = |error: &hyper::Error| error.is_canceled();
        let is_not_sent = sources(error)
            .any(|error| error.downcast_ref().is_some_and(is_canceled) || is_refused_stream(error));
        if is_not_sent { Self::NotSent } else { Self::Sent }
    }
}

#[cfg(any(feature = "client-http2", feature = "tonic"))]
fn is_refused_stream(error: &(dyn Error + 'static)) -> bool {
    let is_refused = |error: &h2::Error| {
        error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
    };
    error.downcast_ref().is_some_and(is_refused)
}

#[cfg(all(feature = "client", not(any(feature = "client-http2", feature = "tonic"))))]
fn is_refused_stream(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(any(feature = "client", feature = "tonic"))]
fn boxed(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    type Boxed = Box<dyn Error + Send + Sync>;

    error.downcast_ref::<Boxed>().map(|error| -> &(dyn Error + 'static) { &**error })
}

/// The error, and what caused it.
#[cfg(any(feature = "client", feature = "tonic"))]
fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
