//! Compresses the files that the function serves, and computes their ETags.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=openapi.json");
    prepare(Path::new("openapi.json"))?;
    for folder in ["assets", "assets/swagger-ui"] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                prepare(&path)?;
            }
        }
    }
    Ok(())
}

fn prepare(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(format!("{out}/{name}.etag"), format!("\"{}\"", &hex::encode(Sha256::digest(&bytes))[..32]))?;
    let mut compressed = GzEncoder::new(fs::File::create(format!("{out}/{name}.gz"))?, Compression::best());
    compressed.write_all(&bytes)?;
    compressed.finish().map(drop)
}
