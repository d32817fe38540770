//! What tests of several layers share.

pub(crate) mod data;
pub(crate) mod instances;
pub(crate) mod journal;
