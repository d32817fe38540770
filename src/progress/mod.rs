//! Draws a run while it goes on.
