//! The response body of layers that may refuse.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The inner body, or the one sentence of a [`Refusal`](crate::Refusal).
    ///
    /// Nothing is asked of the inner body but that its chunks can be made of static bytes
    /// (`Bytes` and `&'static [u8]` can): it need be neither `Default`, `Clone` nor `Sync`.
    #[derive(Debug)]
    pub struct ResponseBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<R> {
        Inner { #[pin] body: R },
        Text { text: &'static str },
    }
}

impl<R> ResponseBody<R> {
    pub(crate) fn inner(body: R) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(crate) fn text(text: &'static str) -> Self {
        Self { kind: Kind::Text { text } }
    }
}

impl<R> Body for ResponseBody<R>
where
    R: Body,
    R::Data: From<&'static [u8]>,
{
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Text { text } => Poll::Ready(match std::mem::take(text) {
                "" => None,
                text => Some(Ok(Frame::data(text.as_bytes().into()))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Text { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Text { text } => SizeHint::with_exact(text.len().try_into().unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn text_is_one_exact_frame() {
        let body = ResponseBody::<Full<Bytes>>::text("no");
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "no");
        assert!(ResponseBody::<Full<Bytes>>::text("").is_end_stream());
    }

    #[tokio::test]
    async fn inner_is_handed_through() {
        let body = ResponseBody::inner(Full::<Bytes>::from("page"));
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "page");
    }
}
