//! Sends any request to a target, at the speed the target can take.
//!
//! Layers, outermost first: retry → slots → build → auth → rate → transport → verdict. The slot is given
//! back before a wait; the rate token is taken last, right before the wire (design §4).

pub mod http;
pub mod transport;
