//! The local stack as a server that stays: what it was asked to keep is there after a kill, a power cut and a full disk, and in a backup.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod backup;
mod files_url;
mod full_disk;
mod kills;
mod life;
mod server;
mod temporary;
