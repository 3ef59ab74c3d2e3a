use std::ffi::OsString;
use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;

/// A secret that the proxy and the application share: at least 16 visible ASCII characters, made by chance
/// (`openssl rand -base64 24`). It is never printed.
///
/// # Example
///
/// ```
/// use tower_proxied::Secret;
///
/// let secret = Secret::parse("correct-horse-battery-staple")?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::parse("hunter2").is_err());
/// # Ok::<(), tower_proxied::proxy_remote_user::SecretError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The fewest characters of a secret.
    pub const MIN_LEN: usize = 16;

    /// Takes a text as it will stand in the header.
    ///
    /// # Errors
    ///
    /// It is shorter than [`MIN_LEN`](Self::MIN_LEN), or holds a blank, a control character (such as the line
    /// end of a file) or something else that is no visible ASCII. The error does not hold the secret.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, SecretError> {
        let bytes = text.as_ref().as_bytes();
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(SecretError::NotVisibleAscii);
        }
        if bytes.len() < Self::MIN_LEN {
            return Err(SecretError::TooShort { len: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// Takes the secret from a variable of the process's environment, as [`parse`](Self::parse) does: for the start of
    /// an application.
    ///
    /// # Errors
    ///
    /// There is no such variable, it is not Unicode, or `parse` refuses it. The error names the variable and does not
    /// hold its value.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::Secret;
    ///
    /// let error = Secret::from_env("PROXY_SECRET_THAT_NOBODY_SET").unwrap_err();
    /// assert_eq!(error.variable(), "PROXY_SECRET_THAT_NOBODY_SET");
    /// assert_eq!(error.to_string(), "environment variable PROXY_SECRET_THAT_NOBODY_SET: it is not set");
    /// ```
    pub fn from_env(variable: &str) -> Result<Self, SecretEnvError> {
        Self::from_value(std::env::var_os(variable))
            .map_err(|problem| SecretEnvError { variable: variable.into(), problem })
    }

    fn from_value(value: Option<OsString>) -> Result<Self, EnvProblem> {
        let value = value.ok_or(EnvProblem::NotSet)?;
        let text = value.to_str().ok_or(EnvProblem::NotUnicode)?;
        Self::parse(text).map_err(EnvProblem::Refused)
    }

    /// As a header value that HTTP/2 does not index and that Debug does not show.
    #[cfg(feature = "front")]
    pub(crate) fn to_header(&self) -> Option<http::HeaderValue> {
        super::write::sensitive(&self.0)
    }

    /// Runs over all of `sent`, whatever differs where.
    pub(super) fn equals(&self, sent: &[u8]) -> bool {
        let mut difference = u8::from(sent.len() != self.0.len());
        for (sent, own) in sent.iter().zip(self.0.iter().cycle()) {
            difference |= sent ^ own;
        }
        black_box(difference) == 0
    }
}

/// As [`Secret::parse`]; the error does not hold the secret.
impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a [`Secret`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// It can be guessed.
    TooShort {
        /// The number of its characters.
        len: usize,
    },
    /// It would not survive as a header value.
    NotVisibleAscii,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => {
                let least = Secret::MIN_LEN;
                write!(
                    f,
                    "a secret of {len} characters is refused: at least {least} are needed, as openssl rand -base64 24 makes them"
                )
            }
            Self::NotVisibleAscii => {
                f.write_str("a secret is refused: it holds a blank, a line end or another character that is no visible ASCII")
            }
        }
    }
}

impl std::error::Error for SecretError {}

/// Why a variable of the environment holds no [`Secret`]. It names the variable, and never shows its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEnvError {
    variable: Box<str>,
    problem: EnvProblem,
}

impl SecretEnvError {
    /// The name of the variable.
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnvProblem {
    NotSet,
    NotUnicode,
    Refused(SecretError),
}

impl fmt::Display for SecretEnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable {}: ", self.variable)?;
        match self.problem {
            EnvProblem::NotSet => f.write_str("it is not set"),
            EnvProblem::NotUnicode => f.write_str("its value is not Unicode"),
            EnvProblem::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SecretEnvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            EnvProblem::Refused(error) => Some(error),
            EnvProblem::NotSet | EnvProblem::NotUnicode => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn secrets_compare_as_bytes_do(own in "[!-~]{16,40}", sent in "[!-~]{0,40}", cut in 0..40_usize) {
            let cut = own.get(..cut).unwrap_or(&own);
            for sent in [&*sent, &own, cut, &format!("{own}{cut}")] {
                prop_assert_eq!(secret(&own).equals(sent.as_bytes()), sent == own);
            }
        }
    }

    #[test]
    fn a_secret_is_read_as_parse_does_and_its_error_is_silent() {
        let read: Secret = "correct-horse-battery-staple".parse().unwrap();
        assert!(read.equals(b"correct-horse-battery-staple"));
        for (text, told) in [
            ("hunter2", "7 characters"),
            ("", "openssl rand"),
            ("correct-horse-battery-staple\n", "line end"),
            ("correct horse battery staple", "blank"),
            ("correct-horse-batt\u{e9}ry", "visible ASCII"),
        ] {
            let error = text.parse::<Secret>().unwrap_err();
            assert_eq!(Secret::parse(text).unwrap_err(), error);
            assert!(error.to_string().contains(told), "{error}");
            for shown in [format!("{error}"), format!("{error:?}")] {
                assert!(!shown.contains("hunter") && !shown.contains("horse"), "{shown}");
            }
        }
    }

    #[test]
    fn a_secret_equals_itself_alone() {
        let own = secret("correct-horse-battery-staple");
        assert!(own.equals(b"correct-horse-battery-staple"));
        for other in [
            "",
            "correct-horse-battery-stapl",
            "correct-horse-battery-staple1",
            "Correct-horse-battery-staple",
            "correct-horse-battery-staplecorrect-horse-battery-staple",
        ] {
            assert!(!own.equals(other.as_bytes()), "{other}");
        }
    }

    /// Cargo sets this one for a test.
    #[test]
    fn an_error_names_the_variable_and_not_its_value() {
        let error = Secret::from_env("CARGO_PKG_NAME").unwrap_err();
        assert_eq!(error.variable(), "CARGO_PKG_NAME");
        let text = error.to_string();
        assert!(text.contains("CARGO_PKG_NAME") && text.contains("13 characters"), "{text}");
        for shown in [text, format!("{error:?}")] {
            assert!(!shown.contains("tower-proxied"), "{shown}");
        }
        for no_name in ["", "A=B", "A\0B"] {
            assert!(Secret::from_env(no_name).unwrap_err().to_string().ends_with("it is not set"));
        }
    }

    #[test]
    fn the_environment_is_read_as_parse_does() {
        for (name, value) in std::env::vars_os() {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            match (Secret::from_env(name), Secret::parse(value)) {
                (Ok(secret), Ok(_)) => assert!(secret.equals(value.as_bytes()), "{name}"),
                (read, parsed) => {
                    let problem = read.unwrap_err().problem;
                    assert_eq!(problem, EnvProblem::Refused(parsed.unwrap_err()), "{name}");
                }
            }
        }
        let own = Secret::from_value(Some("correct-horse-battery".into())).unwrap();
        assert!(own.equals(b"correct-horse-battery"));
    }

    #[test]
    fn a_value_of_the_environment_is_refused_without_being_shown() {
        let of = |text: &str| Secret::from_value(Some(text.into())).unwrap_err();
        assert_eq!(Secret::from_value(None).unwrap_err(), EnvProblem::NotSet);
        assert_eq!(of(""), EnvProblem::Refused(SecretError::TooShort { len: 0 }));
        assert_eq!(of("correct-horse-battery\n"), EnvProblem::Refused(SecretError::NotVisibleAscii));
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_unicode() {
        use std::os::unix::ffi::OsStringExt as _;

        let value = OsString::from_vec(b"correct-horse-\xff-battery".to_vec());
        assert_eq!(Secret::from_value(Some(value)).unwrap_err(), EnvProblem::NotUnicode);
    }
}
