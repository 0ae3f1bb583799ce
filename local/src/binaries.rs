//! The functions' binaries: built by cargo when they are missing or old, or by `sam build` before.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{process::Command, sync::OnceCell};

use crate::template::Function;

/// Where the binaries are.
#[derive(Clone, Debug)]
pub(crate) enum Binaries {
    /// A folder of cargo's, named after packages.
    Cargo(PathBuf),
    /// What `sam build` has made, in folders named after the template's functions.
    Sam(PathBuf),
}

impl Binaries {
    /// What a folder has, by whomever it was made.
    pub(crate) fn found(folder: PathBuf, functions: &[Function]) -> Self {
        let is_cargos = functions.iter().any(|function| folder.join(&function.package).is_file());
        if is_cargos { Self::Cargo(folder) } else { Self::Sam(folder) }
    }

    /// The binary of one function.
    pub(crate) fn of(&self, function: &Function) -> PathBuf {
        match self {
            Self::Cargo(folder) => folder.join(&function.package),
            Self::Sam(folder) => folder.join(&function.id).join("bootstrap"),
        }
    }

    /// Copies of them in `folder`, unless they are there already.
    pub(crate) fn copied(&self, functions: &[Function], folder: &Path) -> Result<Self> {
        for function in functions {
            let copy = folder.join(&function.package);
            if !copy.exists() {
                let binary = self.of(function);
                std::fs::copy(&binary, copy).with_context(|| format!("can't copy {}", binary.display()))?;
            }
        }
        Ok(Self::Cargo(folder.to_owned()))
    }

    /// An error that names the function whose binary is missing.
    pub(crate) fn check(&self, function: &Function) -> Result<()> {
        let binary = self.of(function);
        match self {
            _ if binary.exists() => Ok(()),
            Self::Cargo(_) => {
                bail!("the template names the package {:?}, which the workspace does not have", function.package)
            }
            Self::Sam(_) => bail!("there is no {}: run `sam build`", binary.display()),
        }
    }
}

/// The repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the binaries, after a build that is done once per process; cargo decides what is old.
pub(crate) async fn build(release: bool) -> Result<Binaries> {
    static DEBUG: OnceCell<PathBuf> = OnceCell::const_new();
    static RELEASE: OnceCell<PathBuf> = OnceCell::const_new();
    let built = if release { &RELEASE } else { &DEBUG };
    built.get_or_try_init(|| run_cargo(release)).await.cloned().map(Binaries::Cargo)
}

async fn run_cargo(release: bool) -> Result<PathBuf> {
    // All binaries of the workspace at once: so features are unified as in `cargo test --workspace`, and what that has
    // compiled is not compiled again.
    let mut build = cargo();
    build.args(["build", "--workspace", "--bins"]).args(release.then_some("--release"));
    let status = build.stdin(Stdio::null()).status().await.context("can't run cargo, which builds the functions")?;
    ensure!(status.success(), "the functions do not build");

    let metadata =
        cargo().args(["metadata", "--no-deps", "--format-version=1"]).output().await.context("cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout).context("cargo metadata is not JSON")?;
    let Some(target) = metadata["target_directory"].as_str() else { bail!("cargo metadata tells no target directory") };
    Ok(Path::new(target).join(if release { "release" } else { "debug" }))
}

/// Cargo as the user would run it: what an outer cargo sets about the package under way makes build scripts that look at
/// it run again.
fn cargo() -> Command {
    let about_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).kill_on_drop(true);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| about_a_package.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    cargo
}
