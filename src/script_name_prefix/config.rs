use std::sync::Arc;

#[cfg(feature = "axum")]
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri, header, request};

use super::mount::{self, Mode, Mount};
use super::response::PublicPaths;
use super::rules::Rules;
use super::{Bare, ScriptName, Unmatched};
use crate::forced_host::PublicUrl;
use crate::refusal::{Caller, Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit};
use crate::wire::dot_segments;
use crate::wire::path::PathPrefix;

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) mode: Mode,
    pub(super) unmatched: Unmatched,
    pub(super) bare: Bare,
    pub(super) exempt: ExemptPaths,
    pub(super) rules: Arc<Rules>,
}

impl Unit for Config {
    type Owed = PublicPaths;

    fn on_request(&self, parts: &mut request::Parts) -> Result<PublicPaths, Refusal> {
        if !parts.uri.path().starts_with('/') {
            return Ok(PublicPaths::untouched());
        }
        match self.judge(parts) {
            Ok(Some(mount)) => self.enter(mount, parts),
            Ok(None) => Ok(pass_by(parts)),
            Err(_) if self.exempt.contains(parts) => Ok(pass_by(parts)),
            Err(refusal) => Err(refusal),
        }
    }

    fn when_disabled(_: &mut request::Parts) -> PublicPaths {
        PublicPaths::untouched()
    }
}

impl Config {
    fn judge(&self, parts: &request::Parts) -> Result<Option<Mount>, Refusal> {
        let Some(mount) = self.mode.mount(parts)? else {
            return match self.unmatched {
                Unmatched::NotFound => Err(RefusalKind::OutsidePrefix.into()),
                Unmatched::PassThrough => Ok(None),
            };
        };
        if dot_segments::climbs_out(mount.below().as_bytes()) {
            return Err(RefusalKind::EscapesPrefix.into());
        }
        if mount.below().is_empty() && self.bare == Bare::Redirect308 {
            let prefix = written(parts, &mount);
            // Mapped to the root of the host, the mount point has its slash already.
            if !prefix.is_root()
                && let Ok(location) = HeaderValue::try_from(mount.with_slash(&prefix))
            {
                return Err(Refusal::from(RefusalKind::BarePrefix).with_header(header::LOCATION, location));
            }
        }
        Ok(Some(mount))
    }

    fn enter(&self, mount: Mount, parts: &mut request::Parts) -> Result<PublicPaths, Refusal> {
        let inner = mount.inner().ok_or(RefusalKind::EscapesPrefix)?;
        let written = written(parts, &mount);
        let left_alone =
            if self.rules.leave_public_paths_alone() { written.clone() } else { PathPrefix::root() };
        let script_name = ScriptName::entered(parts.extensions.get(), &mount, left_alone);
        keep_original_uri(parts, &script_name);
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.path_and_query = Some(inner);
        parts.uri = Uri::from_parts(uri).map_err(|_| RefusalKind::EscapesPrefix)?;
        let total = script_name.prefix().clone();
        parts.extensions.insert(script_name);
        if !total.is_root()
            && let Some(url) = parts.extensions.get_mut::<PublicUrl>()
        {
            *url = url.with_prefix(total.clone());
        }
        // What a gRPC call is answered with is metadata, and no address.
        if Caller::of(parts) == Caller::Grpc {
            return Ok(PublicPaths::untouched());
        }
        let url = parts.extensions.get::<PublicUrl>().cloned();
        Ok(PublicPaths::of(&self.rules, mount, written, total, url))
    }
}

/// What is put before the paths of this mount in responses: its prefix, and before it those of the layers outside
/// which leave alone what has them, since they could not tell a path with their prefix from one that begins like it.
fn written(parts: &request::Parts, mount: &Mount) -> PathPrefix {
    match parts.extensions.get::<ScriptName>() {
        Some(outer) => outer.left_alone().join(&mount.public),
        None => mount.public.clone(),
    }
}

/// The request is none of this mount's.
fn pass_by(parts: &mut request::Parts) -> PublicPaths {
    if let (None, Some(arrived)) = (parts.extensions.get::<ScriptName>(), mount::arrived(parts)) {
        parts.extensions.insert(ScriptName::passed_by(arrived));
    }
    PublicPaths::untouched()
}

/// A `Router` outside has set it to the path that arrived, which need not be the browser's.
#[cfg(feature = "axum")]
fn keep_original_uri(parts: &mut request::Parts, script_name: &ScriptName) {
    use axum::extract::OriginalUri;

    let outer = parts.extensions.get::<ScriptName>().map(ScriptName::public_path);
    let arrived = outer.as_deref().or(parts.uri.path_and_query().map(PathAndQuery::as_str));
    let known = parts.extensions.get::<OriginalUri>();
    let is_current = known.is_none_or(|known| known.path_and_query().map(PathAndQuery::as_str) == arrived);
    if !is_current || known.is_some() && arrived == Some(&*script_name.public_path()) {
        return;
    }
    // Where prefix and path are too long for a URI, there is none to tell.
    if let Some(path) = script_name.path_and_query() {
        let mut uri = parts.uri.clone().into_parts();
        uri.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(uri) {
            parts.extensions.insert(OriginalUri(uri));
        }
    }
}

#[cfg(not(feature = "axum"))]
fn keep_original_uri(_: &mut request::Parts, _: &ScriptName) {}
