//! The binary as a user runs it: real files, the embedded store, real sockets.

mod bed;
mod conditions;
mod cycles;
mod ends;
mod entries;
mod examples;
mod gone;
mod graph;
mod history;
mod leaks;
mod load;
mod local;
mod logs;
mod messages;
mod online;
mod planned;
mod quickstart;
mod references;
mod refusals;
mod responder;
mod runs;
mod selected;
mod sources;
mod troubleshooting;
mod versions;
mod whys;
