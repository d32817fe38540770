//! The binary as a user runs it: real files, the embedded store, real sockets.

mod bed;
mod ends;
mod examples;
mod graph;
mod leaks;
mod load;
mod messages;
mod online;
mod quickstart;
mod references;
mod refusals;
mod responder;
