//! A project of firmware around a model: files from templates, and the crates that it needs.

use super::sources;
use crate::cli::failure::Failure;
use crate::files::FileError;
use crate::target::{Board, Memory, Need};
use std::path::Path;

/// Where the project's crates lie in it.
const VENDOR: &str = "vendor";
/// What a project's package must not be called: what it depends on, and what cargo refuses.
const TAKEN: [&str; 10] = [
    "board",
    "board-model",
    "board-qemu",
    "board-rtt",
    "lines",
    "cortex-m-rt",
    "skipstone-runtime",
    "test",
    "core",
    "build",
];

/// A project.
pub(in crate::cli) struct Project<'a> {
    /// The name of its package.
    pub(in crate::cli) package: String,
    /// The board.
    pub(in crate::cli) board: &'static Board,
    /// Whether a debug probe flashes it; otherwise it is emulated.
    by_probe: bool,
    /// Where the model lies in its flash.
    pub(in crate::cli) region: Memory,
    /// The packed model.
    pub(in crate::cli) stone: &'a [u8],
}

impl<'a> Project<'a> {
    /// A project for `board` around the packed model `stone`, which takes `need`. A board that the emulator has is
    /// emulated, unless `probe` says that a probe shall flash it.
    ///
    /// # Errors
    /// Where the board is an emulator's alone, and `probe` is set.
    pub(in crate::cli) fn new(
        name: &str,
        board: &'static Board,
        probe: bool,
        need: Need,
        stone: &'a [u8],
    ) -> Result<Self, Failure> {
        if probe && board.chip.is_none() {
            return Err(Failure::Usage(format!("{} is a board of QEMU alone: leave out --probe", board.name)));
        }
        let bytes = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let region = board.model_region(bytes(need.program_bytes), bytes(need.model_bytes));
        Ok(Self { package: package(name), board, by_probe: probe || board.machine.is_none(), region, stone })
    }

    /// Writes the project into `folder`, which errors call `shown`. Files that are there with the same contents are
    /// left alone, so that cargo does not compile them again.
    pub(in crate::cli) fn write(&self, folder: &Path, shown: &Path) -> Result<(), Failure> {
        let write = |name: &str, bytes: &[u8]| -> Result<(), Failure> {
            let path = folder.join(name);
            if std::fs::read(&path).is_ok_and(|old| old == bytes) {
                return Ok(());
            }
            // The folder as a whole is new or the command's own.
            let written =
                std::fs::create_dir_all(path.parent().unwrap_or(folder)).and_then(|()| std::fs::write(&path, bytes));
            Ok(written.map_err(|e| FileError::new("write", &shown.join(name), e))?)
        };
        let triple = self.board.core.triple().unwrap_or_default();
        let support = sources::SUPPORTS[usize::from(self.by_probe)];
        let version = env!("CARGO_PKG_VERSION");
        let feature = self.board.core.feature().map_or(String::new(), |feature| format!("{feature:?}"));
        let values = [
            ("package", self.package.as_str()),
            ("board", self.board.name),
            ("title", self.board.title),
            ("target", triple),
            ("version", version),
            ("feature", &feature),
            ("support", support),
            ("counted", if self.by_probe { "cycles" } else { "instructions" }),
            ("runner", &runner(self.board, self.by_probe)),
            ("run", if self.by_probe { "flashes it by probe-rs" } else { "starts it under QEMU" }),
        ];
        for (name, template) in [
            ("Cargo.toml", include_str!("../../../templates/manifest.toml")),
            (".cargo/config.toml", include_str!("../../../templates/config.toml")),
            ("build.rs", include_str!("../../../templates/build.rs")),
            ("src/main.rs", include_str!("../../../templates/main.rs")),
            ("README.md", include_str!("../../../templates/README.md")),
        ] {
            write(name, filled(template, &values).as_bytes())?;
        }
        write("memory.x", self.board.memory_map_around(self.region).as_bytes())?;
        write("model.stone", self.stone)?;
        write(".gitignore", b"/target\n")?;
        for (name, text) in sources::files(support) {
            write(&format!("{VENDOR}/{name}"), text.as_bytes())?;
        }
        // From then on it is cargo's.
        if !folder.join("Cargo.lock").exists() {
            write("Cargo.lock", sources::lock().as_bytes())?;
        }
        Ok(())
    }
}

/// How `cargo run` starts a program.
fn runner(board: &Board, by_probe: bool) -> String {
    match board.emulator_arguments() {
        Some(arguments) if !by_probe => format!("qemu-system-arm {} -kernel", arguments.join(" ")),
        _ => format!("probe-rs run --chip {}", board.chip.unwrap_or_default()),
    }
}

/// A template with values in place of their names.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(&format!("{{{{{name}}}}}"), value);
    values.iter().fold(template.to_owned(), fill)
}

/// A package's name made of a folder's.
fn package(folder: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let name: String = folder.chars().map(plain).collect();
    let name = name.trim_matches('-');
    let usual = name.starts_with(|c: char| c.is_ascii_lowercase()) && !TAKEN.contains(&name);
    if usual { name.to_owned() } else { format!("firmware-{name}").trim_matches('-').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { model_bytes: 1000, arena_bytes: 1000, program_bytes: 48 * 1024 };

    #[test]
    fn a_folders_name_becomes_a_packages() {
        let names = ["digits", "My Camera", "2nd", "board", "größe", ".."].map(package);
        assert_eq!(names, ["digits", "my-camera", "firmware-2nd", "firmware-board", "gr--e", "firmware"]);
    }

    #[test]
    fn a_board_is_emulated_where_it_can_be() {
        let project = |name| Project::new("x", Board::named(name).unwrap(), false, NEED, &[]).unwrap();
        let runner = |name| super::runner(project(name).board, project(name).by_probe);
        assert!(runner("microbit").starts_with("qemu-system-arm -machine microbit "), "{}", runner("microbit"));
        let probe = |name| Project::new("x", Board::named(name).unwrap(), true, NEED, &[]);
        assert!(probe("microbit").unwrap().by_probe && probe("mps2-an386").is_err());
        assert_eq!(runner("nucleo-f446re"), "probe-rs run --chip STM32F446RETx");
        assert_eq!(filled("{{a}}-{{b}}-{{a}}", &[("a", "x"), ("b", "y")]), "x-y-x");
    }
}
