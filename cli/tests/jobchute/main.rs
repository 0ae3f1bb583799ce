//! The command `jobchute`, as a user and as a miner, against the local stack.

mod claims;
mod commands;
mod download;
mod outputs;
mod processes;
mod proxy;
mod run;
mod stopping;
mod user;
