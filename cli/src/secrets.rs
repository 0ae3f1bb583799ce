//! Keeps the caller's keys from the programs that this one starts.
//!
//! Linux shows the environment that a process began with in `/proc/<pid>/environ`, to every process of the same user. So `work`
//! starts itself anew without the variables, and reads them from a pipe.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::Command,
};

use anyhow::{Context, Error, Result, ensure};

use crate::{
    process::this_program,
    settings::{SECRETS, Settings},
};

/// Says that the variables are on standard input.
pub(crate) const HANDED_OVER: &str = "JOBCHUTE_SECRETS_ON_STDIN";
/// Bytes that a pipe takes while nobody reads it, on every system.
const PIPE: usize = 16 << 10;

/// The settings, after this process has none of the secrets in its environment any more. Does not return when it has to start
/// itself anew.
pub(crate) fn out_of_the_environment() -> Result<Settings> {
    if env::var_os(HANDED_OVER).is_some() {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("the keys were not handed over")?;
        forbid_reading()?;
        return Settings::read(serde_json::from_str(&text).context("the keys were not handed over")?);
    }
    let settings = Settings::read(BTreeMap::new())?;
    if settings.secrets().is_empty() {
        return Ok(settings);
    }
    let text = serde_json::to_vec(&settings.secrets())?;
    ensure!(text.len() <= PIPE, "the keys are longer than {PIPE} bytes");
    let (reader, mut writer) = io::pipe().context("no pipe for the keys")?;
    writer.write_all(&text).context("no pipe for the keys")?;
    drop(writer);
    let mut anew = Command::new(this_program()?);
    anew.args(env::args_os().skip(1)).env(HANDED_OVER, "1").stdin(reader);
    if let Some(name) = env::args_os().next() {
        anew.arg0(name);
    }
    for name in SECRETS {
        anew.env_remove(name);
    }
    Err(Error::new(anew.exec()).context("can't start anew without the keys in the environment"))
}

/// Nobody but root reads this process's memory and environment. (`PR_SET_DUMPABLE` in prctl(2))
fn forbid_reading() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("can't keep others from reading this process")?;
    Ok(())
}
