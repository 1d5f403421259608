//! Programs started by the rows: shown before they run, their output passed through, a deadline where they may hang.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Why a row did not pass, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Failure`] with this reason.
pub(crate) fn fail<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(reason.into()))
}

/// A program to start.
pub(crate) struct Run {
    command: Command,
    shown: String,
    limit: Option<Duration>,
}

impl Run {
    /// `program` with no arguments yet, in folder `dir`, with no standard input.
    pub(crate) fn new(program: &str, dir: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null());
        Self { command, shown: program.to_string(), limit: None }
    }

    /// A program and its arguments, separated by white space.
    pub(crate) fn line(line: &str, dir: &Path) -> Self {
        let mut words = line.split_whitespace();
        Self::new(words.next().unwrap_or_default(), dir).args(words)
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            let arg = arg.as_ref();
            self.shown = format!("{} {}", self.shown, arg.to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.shown =
            format!("{name}={} {}", if value.contains(' ') { format!("'{value}'") } else { value.into() }, self.shown);
        self.command.env(name, value);
        self
    }

    /// Removes variables of the environment.
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
        for name in names {
            self.command.env_remove(name);
        }
        self
    }

    /// Ends the program after this time and counts that as a failure.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs to the end with the output passed through.
    ///
    /// # Errors
    /// If the program cannot be started, fails, or runs past its limit.
    pub(crate) fn pass(mut self) -> Result<(), Failure> {
        println!("$ {}", self.shown);
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => return fail(format!("cannot start `{}`: {error}", self.shown)),
        };
        let start = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return fail(format!("`{}` ended with {status}", self.shown)),
                Ok(None) => {}
                Err(error) => return fail(format!("cannot wait for `{}`: {error}", self.shown)),
            }
            if let Some(limit) = self.limit.filter(|limit| start.elapsed() > *limit) {
                let _ = child.kill();
                let _ = child.wait();
                return fail(format!("`{}` ran past its limit of {} s", self.shown, limit.as_secs()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs to the end and gives what it wrote to standard output; nothing is shown.
    ///
    /// # Errors
    /// If the program cannot be started or fails; with the last line that it wrote to standard error.
    pub(crate) fn read(mut self) -> Result<String, Failure> {
        let output = match self.command.output() {
            Ok(output) => output,
            Err(error) => return fail(format!("cannot start `{}`: {error}", self.shown)),
        };
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().unwrap_or_default();
            return fail(format!("`{}` ended with {}: {last}", self.shown, output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs to the end; the command is shown, its output is not.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn quiet(self) -> Result<(), Failure> {
        println!("$ {}", self.shown);
        self.read().map(drop)
    }

    /// Whether it can be started and succeeds; nothing is shown.
    pub(crate) fn succeeds(self) -> bool {
        self.read().is_ok()
    }
}

/// Whether a program of this name stands in a folder of `PATH`.
pub(crate) fn found(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new(".")
    }

    #[test]
    fn failures_name_the_command_and_its_status() {
        let failure = Run::line("sh -c false", here()).pass().unwrap_err().to_string();
        assert!(failure.contains("`sh -c false` ended with exit status: 1"), "{failure}");
        let failure = Run::new("no-such-program", here()).pass().unwrap_err().to_string();
        assert!(failure.starts_with("cannot start `no-such-program`"), "{failure}");
    }

    #[test]
    fn a_program_past_its_limit_is_ended() {
        let start = Instant::now();
        let failure = Run::line("sleep 20", here()).limit(Duration::from_millis(50)).pass().unwrap_err();
        assert!(failure.to_string().contains("ran past its limit"), "{failure}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn reading_gives_standard_output() {
        let run = Run::new("sh", here()).args(["-c", "echo $WORD"]).env("WORD", "stone");
        assert_eq!(run.read().unwrap(), "stone\n");
    }
}
