//! `moorline-agent`; see the library.

fn main() -> std::process::ExitCode {
    moorline_agent::cli::main().into()
}
