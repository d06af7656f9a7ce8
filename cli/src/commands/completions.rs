//! `moorline completions`.

use clap::{CommandFactory as _, ValueEnum};

use crate::output::Output;

/// Print the completion script of a shell
///
/// bash: moorline completions bash > ~/.local/share/bash-completion/completions/moorline
/// zsh: moorline completions zsh > a folder of $fpath, as _moorline
/// fish: moorline completions fish > ~/.config/fish/completions/moorline.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub(crate) fn run(output: Output, arguments: &Arguments) -> anyhow::Result<()> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(shell, &mut command, "moorline", &mut script);
    output.raw(&String::from_utf8_lossy(&script))?;
    Ok(())
}
