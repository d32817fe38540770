//! Standard input: read once, from its beginning, by nobody else.

use std::io::{self, Read};

use super::{Listing, Origin, Stamp, Storage, elsewhere};
use crate::manifest::FilePattern;

/// Standard input.
#[derive(Debug, Clone, Copy)]
pub struct Stdin;

impl Storage for Stdin {
    fn list(&self, patterns: &[FilePattern]) -> Listing {
        let mut named = patterns.iter().enumerate();
        let named = named.find(|(_, pattern)| pattern.pattern == "-");
        Listing {
            found: named
                .map(|(number, _)| (number, Origin::Stdin))
                .into_iter()
                .collect(),
            ..Listing::default()
        }
    }

    fn open(&self, origin: &Origin) -> io::Result<Box<dyn Read>> {
        match origin {
            Origin::Stdin => Ok(Box::new(io::stdin().lock())),
            Origin::File(_) => Err(elsewhere()),
        }
    }

    fn stamp(&self, _: &Origin) -> io::Result<Option<Stamp>> {
        Ok(None)
    }

    fn is_seekable(&self) -> bool {
        false
    }
}
