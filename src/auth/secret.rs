//! Text that is never shown: not by `Debug`, not in an error, not in a log.

use std::fmt;

use http::HeaderValue;

/// A password, a token or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Hands the text out. A text that is made of it must not be shown either.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns `SCHEME SECRET` as a header value that is marked sensitive; none where the secret holds
    /// characters that no header may carry.
    pub fn header(&self, scheme: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{scheme} {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_makes_no_header_of_control_characters() {
        let secret = Secret::new("sesame");
        assert_eq!(format!("{secret:?}"), "***");
        let header = secret.header("Bearer").unwrap();
        assert_eq!(header, "Bearer sesame");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(Secret::new("a\r\nHost: b").header("Bearer").is_none());
    }
}
