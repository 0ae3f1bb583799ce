//! What is made of the definition of the command line: completions of shells, and pages of `man`.

use std::io;

use anyhow::{Context, Result};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{arguments::definition, screen};

/// Prints what completes this command in a shell.
pub(crate) fn completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), "jobchute", &mut script);
    screen::raw(&script)
}

/// Prints the page of `jobchute`, or of one of its commands.
pub(crate) fn manual(command: Option<&str>) -> Result<()> {
    let mut all = definition().disable_help_subcommand(true);
    all.build();
    let shown = match command {
        None => all,
        Some(name) => all.find_subcommand(name).with_context(|| format!("there is no command {name:?}"))?.clone(),
    };
    let mut page = Vec::new();
    Man::new(shown).manual("Jobchute").render(&mut page)?;
    Ok(screen::raw(&page)?)
}
