//! The digest that names a message: SHA-256 of its bytes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a message's bytes. Equal messages have equal ones, and Google's stores name their messages by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes it.
    pub fn of(message: &[u8]) -> Self {
        Self(Sha256::digest(message).into())
    }

    /// Returns it in hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns the id by which a Healthcare API store knows the message: the digest in base64url, with padding.
    pub fn message_id(&self) -> String {
        URL_SAFE.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Google's published sample of `messages.ingest` and the id that its store answered.
    #[test]
    fn the_id_is_the_published_one() {
        let message = b"MSH|^~\\&|A|SEND_FACILITY|A|A|20180101000000||TYPE^A|20180101000000|T|0.0|||AA||00|ASCII\rEVN|A00|20180101040000\rPID||14\x01111^^^^MRN|11111111^^^^MRN~1111111111^^^^ORGNMBR";
        let digest = Digest::of(message);
        assert_eq!(
            digest.message_id(),
            "2yqbdhYHlk_ucSmWkcKOVm_N0p0OpBXgIlVG18rB-cw="
        );
        assert_eq!(digest.hex().len(), 64);
        assert!(digest.hex().starts_with("db2a9b7616"));
    }
}
