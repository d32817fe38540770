//! The binary as a user runs it: real files, the embedded store, real sockets.

mod bed;
mod cycles;
mod ends;
mod examples;
mod gone;
mod graph;
mod history;
mod leaks;
mod load;
mod messages;
mod online;
mod planned;
mod quickstart;
mod references;
mod refusals;
mod responder;
mod selected;
