use std::fmt;

/// Why a [`BehindProxyConfig`](super::BehindProxyConfig) is refused: the key, and what is wrong with it.
///
/// It holds no value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BehindProxyError {
    key: Box<str>,
    problem: Box<str>,
}

impl BehindProxyError {
    pub(super) fn of(key: &str, problem: impl fmt::Display) -> Self {
        Self { key: key.into(), problem: problem.to_string().into() }
    }

    /// The same, under the name that whoever wrote it knows.
    pub(super) fn called(self, key: &str) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The key: as it was written, or the one that is missing.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for BehindProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.problem)
    }
}

impl std::error::Error for BehindProxyError {}
