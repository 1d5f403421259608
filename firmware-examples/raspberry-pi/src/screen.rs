//! What people see: lines on standard output, a camera's frames in place on a terminal, the log on standard error.

use crate::classify::Class;
use crate::latency::Latencies;
use lines::Sink;
use skipstone_runtime::Engine;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A terminal shows a frame at least this long.
const REDRAW: Duration = Duration::from_millis(100);

pub(crate) struct Screen {
    /// Of the classes.
    pub(crate) names: Vec<String>,
    threads: usize,
    terminal: bool,
    drawn: Option<Instant>,
}

impl Screen {
    /// Logs the kernels that run.
    pub(crate) fn new(engines: &[Engine<'_, '_>]) -> Self {
        let mut names = Vec::new();
        if let Some(engine) = engines.first() {
            names.extend(engine.model().class_names().map(str::to_owned));
            let mut log = Text::default();
            lines::backend(engine, &mut log);
            eprintln!("{}, {}", log.0.trim_end(), counted(engines.len(), "thread"));
        }
        Self { names, threads: engines.len(), terminal: std::io::stdout().is_terminal(), drawn: None }
    }

    /// A line of results.
    pub(crate) fn print(&self, line: &str) -> ControlFlow<String> {
        match std::io::stdout().write_all(line.as_bytes()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(format!("standard output: {error}")),
        }
    }

    /// A camera's frame: on a terminal over the one before.
    pub(crate) fn frame(&mut self, index: usize, top: &[Class], latencies: &Latencies) -> ControlFlow<String> {
        if !self.terminal {
            return self.print(&line(&format!("frame {index}"), top, &self.names));
        }
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return ControlFlow::Continue(());
        }
        let text = drawing(top, &self.names, latencies, self.drawn.is_some());
        self.drawn = Some(Instant::now());
        self.print(&text)
    }

    /// Logs what the images took.
    pub(crate) fn summary(&self, what: &str, latencies: &Latencies) {
        let (count, rate) = (latencies.count(), latencies.rate());
        let threads = counted(self.threads, "thread");
        eprintln!("{count} {what}, {rate:.1} {what}/s on {threads}; {latencies}");
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The line of an image, as `skipstone run` prints it.
pub(crate) fn line(name: &str, top: &[Class], names: &[String]) -> String {
    let class = |&(class, score): &Class| format!("{} {:.1} %", names[class], 100.0 * score);
    format!("{name}: {}\n", top.iter().map(class).collect::<Vec<_>>().join(", "))
}

/// A frame on a terminal, `over` the one before, which has as many lines.
fn drawing(top: &[Class], names: &[String], latencies: &Latencies, over: bool) -> String {
    let clear = "\x1b[K\n";
    let up = if over { format!("\x1b[{}A", top.len() + 1) } else { String::new() };
    let mut text = format!("{up}{:.1} frames/s; {latencies}{clear}", latencies.recent_rate());
    for &(class, score) in top {
        text += &format!("{:6.1} %  {}{clear}", 100.0 * score, names[class]);
    }
    text
}

/// Lines that have not been printed.
#[derive(Default)]
pub(crate) struct Text(pub(crate) String);

impl Sink for Text {
    fn write(&mut self, ascii: &[u8]) {
        self.0.extend(ascii.iter().map(|&byte| char::from(byte)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let names = ["cat", "dog"].map(String::from);
        let top = [(1, 0.875), (0, 0.125)];
        assert_eq!(line("a.png", &top, &names), "a.png: dog 87.5 %, cat 12.5 %\n");
        let first = drawing(&top, &names, &Latencies::new(), false);
        let rows = "\x1b[K\n  87.5 %  dog\x1b[K\n  12.5 %  cat\x1b[K\n";
        assert!(first.starts_with("0.0 frames/s; latency p50 0.00") && first.ends_with(rows), "{first:?}");
        assert_eq!(drawing(&top, &names, &Latencies::new(), true), format!("\x1b[3A{first}"));
    }
}
