//! A shared cache by the book (RFC 9111, sections 3.4, 4.1 and 4.3) between clients and the application.

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use tower_proxied::Scheme;

use super::origin::{Answer, Origin, is_strong, weakly_equal};

#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// The youngest last.
    stored: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    /// The scheme that was asked with: what `Vary` may name.
    scheme: Scheme,
    headers: HeaderMap,
    /// What is there of the page, from the first byte on.
    body: Vec<u8>,
    is_whole: bool,
    is_fresh: bool,
}

impl Stored {
    fn answers(&self, scheme: Scheme) -> bool {
        let varies = self.headers.get_all(header::VARY).iter().any(|line| line == "x-forwarded-proto");
        !varies || self.scheme == scheme
    }

    fn field(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The part that was asked for, if it is the same page as in `If-Range`.
    fn serve(&self, request: &Request<()>) -> Answer {
        let asked = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap());
        let tag = self.field(header::ETAG);
        let is_same = match asked(header::IF_RANGE) {
            None => true,
            Some(held) if held.ends_with('"') => is_strong(held) && tag == Some(held),
            Some(date) => self.field(header::LAST_MODIFIED) == Some(date),
        };
        let start = asked(header::RANGE)
            .filter(|_| is_same)
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
            .filter(|start| *start < self.body.len());
        let (mut headers, len) = (self.headers.clone(), self.body.len());
        let Some(start) = start else {
            let body = self.body.clone().into();
            return Answer { status: StatusCode::OK, headers, body };
        };
        headers.insert(header::CONTENT_RANGE, format!("bytes {start}-{}/{len}", len - 1).parse().unwrap());
        let body = self.body[start..].to_vec().into();
        Answer { status: StatusCode::PARTIAL_CONTENT, headers, body }
    }
}

impl Cache {
    pub(crate) fn expire(&mut self) {
        self.stored.iter_mut().for_each(|stored| stored.is_fresh = false);
    }

    /// Answers from what is stored, or asks the origin.
    pub(crate) fn ask(&mut self, origin: &Origin, scheme: Scheme, request: Request<()>) -> Answer {
        let is_usable = |stored: &Stored| stored.is_whole && stored.answers(scheme);
        if request.method() == Method::HEAD {
            let answer = origin.ask(scheme, request);
            self.compare(scheme, &answer);
            return answer;
        }
        let chosen = self.stored.iter().rev().find(|stored| is_usable(stored)).cloned();
        match chosen {
            None => {
                let answer = origin.ask(scheme, request);
                self.store(scheme, &answer);
                answer
            }
            Some(stored) if stored.is_fresh => stored.serve(&request),
            Some(stored) => self.validate(origin, scheme, &stored, &request),
        }
    }

    fn validate(
        &mut self,
        origin: &Origin,
        scheme: Scheme,
        stored: &Stored,
        request: &Request<()>,
    ) -> Answer {
        let mut asking = Request::new(());
        if let Some(tag) = stored.headers.get(header::ETAG) {
            asking.headers_mut().insert(header::IF_NONE_MATCH, tag.clone());
        }
        if let Some(date) = stored.headers.get(header::LAST_MODIFIED) {
            asking.headers_mut().insert(header::IF_MODIFIED_SINCE, date.clone());
        }
        let answer = origin.ask(scheme, asking);
        if answer.status != StatusCode::NOT_MODIFIED {
            self.store(scheme, &answer);
            return match self.stored.iter().rev().find(|stored| stored.is_whole && stored.answers(scheme)) {
                Some(stored) => stored.serve(request),
                None => answer,
            };
        }
        // Which one is meant: by the strong tag, or else by the weak one, or it is the one that was asked about.
        let is_meant = |stored: &Stored| match (answer.field(header::ETAG), stored.field(header::ETAG)) {
            (Some(tag), Some(held)) if is_strong(tag) => tag == held,
            (Some(tag), Some(held)) => weakly_equal(tag, held),
            (None, _) => true,
            (Some(_), None) => false,
        };
        let mut found =
            self.stored.iter_mut().rev().filter(|stored| stored.is_whole && stored.answers(scheme));
        let Some(stored) = found.find(|stored| is_meant(stored)) else {
            // Nothing may be served by this news: the page is asked for as a whole.
            self.stored.retain(|stored| !stored.answers(scheme));
            return self.ask(origin, scheme, Request::new(()));
        };
        stored.is_fresh = true;
        for (name, value) in &answer.headers {
            if name != header::CONTENT_LENGTH {
                stored.headers.insert(name, value.clone());
            }
        }
        stored.serve(request)
    }

    fn store(&mut self, scheme: Scheme, answer: &Answer) {
        if answer.headers.get_all(header::CACHE_CONTROL).iter().any(|line| line == "no-store") {
            return;
        }
        let is_of_key = |stored: &Stored| stored.scheme == scheme;
        match (answer.status, answer.range()) {
            (StatusCode::OK, _) => {
                self.stored.retain(|stored| !is_of_key(stored));
                self.stored.push(Stored {
                    scheme,
                    headers: answer.headers.clone(),
                    body: answer.body.to_vec(),
                    is_whole: true,
                    is_fresh: true,
                });
            }
            (StatusCode::PARTIAL_CONTENT, Some((start, whole))) => {
                let tag = answer.field(header::ETAG).filter(|tag| is_strong(tag)).map(str::to_owned);
                let is_same = |stored: &&mut Stored| {
                    stored.answers(scheme) && tag.is_some() && stored.field(header::ETAG) == tag.as_deref()
                };
                match self.stored.iter_mut().find(is_same) {
                    Some(stored) if stored.body.len() >= start => {
                        stored.body.truncate(start);
                        stored.body.extend_from_slice(&answer.body);
                        (stored.is_whole, stored.is_fresh) = (stored.body.len() == whole, true);
                    }
                    None if start == 0 => self.stored.push(Stored {
                        scheme,
                        headers: answer.headers.clone(),
                        body: answer.body.to_vec(),
                        is_whole: answer.body.len() == whole,
                        is_fresh: true,
                    }),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// What a HEAD says of a page that is not the stored one makes that stale.
    fn compare(&mut self, scheme: Scheme, answer: &Answer) {
        for stored in self.stored.iter_mut().filter(|stored| stored.answers(scheme)) {
            stored.is_fresh &= answer.field(header::ETAG) == stored.field(header::ETAG);
        }
    }

    /// A transfer broke off: this is all of it that came.
    pub(crate) fn break_off(&mut self) {
        for stored in &mut self.stored {
            stored.body.truncate(stored.body.len() / 2);
            (stored.is_whole, stored.is_fresh) = (false, false);
        }
    }
}
