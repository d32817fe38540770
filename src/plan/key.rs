//! By what records are known, and what references ask for: both as hashes, so that a million of them fit into memory.
//!
//! Pure. The hash is keyed anew in every process, so that nobody can make records whose hashes collide; by chance two of a
//! million collide once in some 10^7 plans. Nothing hashed leaves the process: a saved plan holds step numbers. The texts
//! that make a name are the business of the format.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// Makes keys. Keys of different targets never meet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    state: RandomState,
}

impl Keys {
    /// Of a name at a target, in its parts.
    pub(crate) fn of(&self, target: u16, parts: &[&str]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u16(target);
        for part in parts {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// Of the content of a record, in pieces.
    pub(crate) fn content(&self, pieces: &[&[u8]]) -> u64 {
        let mut hasher = self.state.build_hasher();
        for piece in pieces {
            hasher.write(piece);
        }
        hasher.finish()
    }
}
