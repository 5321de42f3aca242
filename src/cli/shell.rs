//! `switchboard completions SHELL` and `switchboard man`: for the shell and the manual, from the commands
//! themselves.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{FAILED, FINE};

#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell that is to complete commands and flags
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArguments {
    /// Write a page for each command into this folder, and print none
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

pub fn completions(arguments: &CompletionsArguments, mut command: Command) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "switchboard", &mut script);
    print(&script)
}

/// One page goes to standard output. All pages go to a folder, such as `/usr/local/share/man/man1`.
pub fn man(arguments: &ManArguments, command: Command) -> u8 {
    let Some(folder) = &arguments.dir else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut page) {
            Ok(()) => print(&page),
            Err(error) => failed(&error),
        };
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.map_or_else(|error| failed(&error), |()| FINE)
}

/// Prints a line on standard output.
pub fn print_line(line: impl std::fmt::Display) {
    print(format!("{line}\n").as_bytes());
}

/// Prints on standard output; the exit status.
pub fn print(bytes: &[u8]) -> u8 {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => failed(&error),
        _ => FINE,
    }
}

fn failed(error: &std::io::Error) -> u8 {
    eprintln!("switchboard: {error}");
    FAILED
}
