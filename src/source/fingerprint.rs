//! The marks by which a later run knows that a source is still the same.

use serde::{Deserialize, Serialize};

use super::Stamp;

/// The marks by which a later run knows that a source is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Fingerprint {
    /// The storage's stamp of the source; of one that can be read once, the size alone.
    pub stamp: Stamp,
    /// SHA-256 of the stored bytes, in hexadecimal digits.
    pub sha256: String,
}

/// A fingerprint as it stands in a plan. (Flattened by serde, numbers of 128 bits would be lost.)
#[derive(Serialize, Deserialize)]
struct Written {
    size: u64,
    modified: i128,
    inode: u64,
    sha256: String,
}

impl From<Written> for Fingerprint {
    fn from(written: Written) -> Self {
        let Written {
            size,
            modified,
            inode,
            sha256,
        } = written;
        Self {
            stamp: Stamp {
                size,
                modified,
                inode,
            },
            sha256,
        }
    }
}

impl From<Fingerprint> for Written {
    fn from(Fingerprint { stamp, sha256 }: Fingerprint) -> Self {
        Self {
            size: stamp.size,
            modified: stamp.modified,
            inode: stamp.inode,
            sha256,
        }
    }
}
