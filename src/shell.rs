//! The Tower shell: what all layers of this crate share around their pure functions.

use std::sync::Arc;

use http::{Request, request};
use tower_service::Service;

use crate::future::ResponseFuture;
use crate::refusal::{Caller, Refusal};

/// The pure part of a layer.
pub(crate) trait Unit {
    type Owed;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Self::Owed, Refusal>;

    /// What is done even where the layer is disabled.
    fn when_disabled(parts: &mut request::Parts) -> Self::Owed;
}

/// A layer without its service: what it makes of a request.
pub(crate) trait Judge {
    type Owed;

    fn judge(&self, parts: &mut request::Parts) -> Result<Self::Owed, Refusal>;

    /// What a disabled one makes of it.
    #[cfg(feature = "force-https-body")]
    fn when_disabled(parts: &mut request::Parts) -> Self::Owed;
}

impl<U: Unit> Judge for Option<Arc<U>> {
    type Owed = U::Owed;

    fn judge(&self, parts: &mut request::Parts) -> Result<U::Owed, Refusal> {
        match self {
            Some(unit) => unit.on_request(parts),
            None => Ok(U::when_disabled(parts)),
        }
    }

    #[cfg(feature = "force-https-body")]
    fn when_disabled(parts: &mut request::Parts) -> U::Owed {
        U::when_disabled(parts)
    }
}

pub(crate) fn call<J, S, B>(
    judge: &J,
    inner: &mut S,
    request: Request<B>,
) -> ResponseFuture<S::Future, J::Owed>
where
    J: Judge,
    S: Service<Request<B>>,
{
    let (mut parts, body) = request.into_parts();
    match judge.judge(&mut parts) {
        Ok(owed) => ResponseFuture::inner(inner.call(Request::from_parts(parts, body)), owed),
        Err(refusal) => ResponseFuture::refused(refusal, Caller::of(&parts)),
    }
}

/// Changes the configuration of a layer; a disabled one has none.
pub(crate) fn edit<C: Clone>(config: &mut Option<Arc<C>>, edit: impl FnOnce(&mut C)) {
    if let Some(config) = config {
        edit(Arc::make_mut(config));
    }
}

/// Tells the operator, once per process, that the service is wired without peer information.
#[cfg(feature = "tracing")]
pub(crate) fn report_no_peer() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::error!("{}", crate::refusal::RefusalKind::NoPeer));
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn report_no_peer() {}

/// Paths that a refusing layer lets through, such as the one of a health probe.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExemptPaths(Vec<Box<str>>);

impl ExemptPaths {
    /// Every path starts with a slash.
    pub(crate) fn add(&mut self, path: &str) {
        let path = format!("/{}", path.strip_prefix('/').unwrap_or(path)).into();
        if !self.0.contains(&path) {
            self.0.push(path);
        }
    }

    /// No path of a request holds a query or a fragment.
    pub(crate) fn never_matching(&self) -> Option<&str> {
        self.0.iter().map(|path| &**path).find(|path| path.contains(['?', '#']))
    }

    pub(crate) fn contains(&self, parts: &request::Parts) -> bool {
        self.0.iter().any(|path| **path == *parts.uri.path())
    }
}

/// Writes what a service `$Service<S>` tells of its `inner` one.
macro_rules! accessors {
    ($Service:ident) => {
        impl<S> $Service<S> {
            /// The service within.
            pub fn get_ref(&self) -> &S {
                &self.inner
            }

            /// The service within.
            pub fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// The service within, without this layer.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }
    };
}

/// Writes a layer `$Layer` and its service `$Service<S>` around the [`Unit`] `$config`.
macro_rules! shell {
    (
        $(#[$layer_doc:meta])* layer $Layer:ident;
        $(#[$service_doc:meta])* service $Service:ident;
        unit $config:ty, owes $owed:ty;
    ) => {
        $(#[$layer_doc])*
        #[derive(Clone, Debug)]
        #[must_use]
        pub struct $Layer {
            config: Option<std::sync::Arc<$config>>,
        }

        impl $Layer {
            /// A layer of the same type that is switched off: for configuration at run time, since the services of
            /// `tower::util::option_layer` answer with two types of bodies.
            pub fn disabled() -> Self {
                Self { config: None }
            }
        }

        impl From<$config> for $Layer {
            fn from(config: $config) -> Self {
                Self { config: Some(std::sync::Arc::new(config)) }
            }
        }

        impl crate::shell::Judge for $Layer {
            type Owed = $owed;

            fn judge(&self, parts: &mut http::request::Parts) -> Result<$owed, crate::refusal::Refusal> {
                self.config.judge(parts)
            }

            #[cfg(feature = "force-https-body")]
            fn when_disabled(parts: &mut http::request::Parts) -> $owed {
                <$config as crate::shell::Unit>::when_disabled(parts)
            }
        }

        impl<S> tower_layer::Layer<S> for $Layer {
            type Service = $Service<S>;

            fn layer(&self, inner: S) -> Self::Service {
                $Service { inner, layer: self.clone() }
            }
        }

        $(#[$service_doc])*
        #[derive(Clone, Debug)]
        #[must_use]
        pub struct $Service<S> {
            inner: S,
            layer: $Layer,
        }

        crate::shell::accessors! { $Service }

        impl<S, B, R> tower_service::Service<http::Request<B>> for $Service<S>
        where
            S: tower_service::Service<http::Request<B>, Response = http::Response<R>>,
            $owed: crate::future::Owed<R>,
        {
            type Response =
                http::Response<crate::body::ResponseBody<<$owed as crate::future::Owed<R>>::Body>>;
            type Error = S::Error;
            type Future = crate::future::ResponseFuture<S::Future, $owed>;

            fn poll_ready(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                self.inner.poll_ready(cx)
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                crate::shell::call(&self.layer, &mut self.inner, request)
            }
        }
    };
}

pub(crate) use {accessors, shell};
