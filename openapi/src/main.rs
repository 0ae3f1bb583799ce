//! `cargo run -p openapi`: writes the API's description where the function `docs` takes it from.

use std::{fs, io};

fn main() -> io::Result<()> {
    let document = format!("{:#}\n", openapi::document());
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/docs/openapi.json"), document)
}
