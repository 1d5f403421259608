//! How commands fail: one line and an exit code.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command was wrong: exit code 2.
    Usage(String),
    /// The work failed or a check did not hold: exit code 1.
    Work(String),
    /// Another process of the same work says why, and has the exit code: a launcher that saw this one fail first would
    /// end the other before it has spoken.
    Elsewhere,
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.to_string())
    }
}

impl Failure {
    /// Work that failed for a reason that does not name the file.
    pub(super) fn at(path: &Path, reason: impl Display) -> Self {
        Self::Work(format!("{}: {reason}", path.display()))
    }

    /// The same, of the work on a file that the reason does not name.
    pub(super) fn of(self, path: &Path) -> Self {
        match self {
            Self::Work(reason) => Self::at(path, reason),
            Self::Usage(_) | Self::Elsewhere => self,
        }
    }

    /// What clap has to say, without the usage that it prints below.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let text = error.to_string();
        let head: Vec<&str> =
            text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
        let line = one_line(&head.join("\n"));
        if line.starts_with("error: ") {
            return Self::Usage(format!("{}; see --help", line.trim_start_matches("error: ")));
        }
        Self::Usage("which command? See --help".into())
    }

    /// Prints the line and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Usage(message) => (message, 2),
            Self::Work(message) => (message, 1),
            Self::Elsewhere => return ExitCode::SUCCESS,
        };
        // Where standard error is closed the exit code has to do.
        let _ = writeln!(std::io::stderr(), "error: {}", one_line(&message));
        ExitCode::from(code)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
