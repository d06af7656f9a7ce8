//! `moorline completions`.

use clap::{CommandFactory as _, ValueEnum};

use crate::output::Output;

mod names;

pub(crate) use names::{NAMES, NamesArguments, names};

/// Print the completion script of a shell; names of devices, hosts and users come from the server
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Adds names to what the script for words offers. Names are never expanded: they come from elsewhere.
const BASH_NAMES: &str = r#"
_moorline_with_names() {
    _moorline "$@"
    local name
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <(moorline complete-names -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _moorline_with_names -o bashdefault -o default moorline
"#;

/// In place of the files that zsh would offer.
const ZSH_NAMES: &str = r#"
_moorline_names() {
    local -a line names
    line=(${(Q)${(z)LBUFFER}})
    [[ $LBUFFER == *' ' ]] && line+=('')
    names=(${(f)"$(moorline complete-names -- "${(@)line[2,-1]}" 2>/dev/null)"})
    if (( $#names )); then compadd -a names; else _default; fi
}
"#;

const FISH_NAMES: &str = r#"
complete -c moorline -a '(moorline complete-names -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"#;

/// Prints the script.
pub(crate) fn run(output: Output, arguments: &Arguments) -> anyhow::Result<()> {
    output.raw(&script(arguments.shell))?;
    Ok(())
}

fn script(shell: Shell) -> String {
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(generator, &mut command, "moorline", &mut script);
    let words = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => format!("{words}{BASH_NAMES}"),
        Shell::Fish => format!("{words}{FISH_NAMES}"),
        Shell::Zsh => {
            let words = words.replace(":_default'", ":_moorline_names'");
            // The first line names the command; the last ones run the function.
            match words.split_once('\n') {
                Some((first, rest)) => format!("{first}\n{ZSH_NAMES}{rest}"),
                None => words,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_asks_for_names() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            let asks = script.matches(&format!("moorline {NAMES} --")).count();
            assert_eq!(asks, 1, "{shell:?}");
        }
        let zsh = script(Shell::Zsh);
        assert!(zsh.starts_with("#compdef moorline\n"));
        assert!(zsh.matches(":_moorline_names'").count() > 20);
    }
}
