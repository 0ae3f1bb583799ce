//! The command `jobchute`, as a user and as a miner, against the local stack.

mod cancel;
mod claims;
mod command_line;
mod commands;
mod creating;
mod download;
mod folders;
mod inputs;
mod logs;
mod outputs;
mod pace;
mod processes;
mod proxy;
mod run;
mod scripts;
mod sizes;
mod stopping;
mod surroundings;
mod user;
mod waiting;
mod watching;
