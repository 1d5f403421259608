//! The house rules that no compiler checks.

mod arrows;
mod links;
mod modules;
mod source;

use crate::shell::{Failure, Run, fail};
use std::path::{Path, PathBuf};

/// Files with more lines than this are listed: ask what the second thing in there is.
const LONG_FILE: usize = 500;
/// Only below this folder may an instruction set's folder say `unsafe`.
const KERNELS: &str = "runtime/src/kernels";
/// As [`KERNELS`]: kernels of training on the host.
const HOST_KERNELS: &str = "builder/src/kernels";
/// The instruction sets' folders.
const INSTRUCTION_SETS: [&str; 5] = ["cortex_m", "neon", "mve", "thumb", "x86"];
/// Where the boards' crates stand, which may say it too: the linker's symbols, exception handlers.
const PROGRAMS: &str = "firmware-examples";
/// Where the C interface is, which may too: pointers that C gives.
const C_INTERFACE: &str = "c/src";
/// What the boards' crates begin with.
const BOARD_PREFIX: &str = "board-";

/// Checks every rule, prints what breaks one, and lists long files.
///
/// # Errors
/// If a rule is broken, or the workspace cannot be read.
pub(crate) fn check(root: &Path) -> Result<String, Failure> {
    let files = files(root)?;
    let read = |path: &PathBuf| {
        let text =
            std::fs::read(root.join(path)).map_err(|e| Failure(format!("cannot read {}: {e}", path.display())))?;
        Ok((path.clone(), String::from_utf8(text).ok()))
    };
    let texts: Vec<(PathBuf, Option<String>)> = files.iter().map(read).collect::<Result<_, Failure>>()?;
    let texts: Vec<(PathBuf, String)> = texts.into_iter().filter_map(|(path, text)| Some((path, text?))).collect();

    let mut broken = arrows::check(root)?;
    broken.extend(modules::check(&texts)?);
    broken.extend(links::check(&texts, root));
    let mut long = 0;
    for (path, text) in &texts {
        let shown = path.display();
        for line in machine_paths(text, root) {
            broken.push(format!("{shown}:{line}: a path of one machine"));
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        if !may_be_unsafe(path) {
            broken.extend(unsafe_lines(text).map(|line| {
                format!("{shown}:{line}: unsafe outside the instruction sets, boards and the C interface")
            }));
        }
        let lines = text.lines().count();
        if lines > LONG_FILE {
            long += 1;
            println!("{shown}: {lines} lines (to be thought about, not an error)");
        }
    }
    for line in &broken {
        println!("{line}");
    }
    match broken.len() {
        0 => Ok(format!("{} files, {long} over {LONG_FILE} lines", texts.len())),
        count => fail(format!("house rules broken: {count} (see above; CONTRIBUTING.md explains them)")),
    }
}

/// The project's files relative to `root`: what git tracks or would track, or everything but build outputs where this
/// is no git checkout.
fn files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    if let Ok(list) = Run::line("git ls-files --cached --others --exclude-standard", root).read() {
        return Ok(list.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect());
    }
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let unreadable = |e| Failure(format!("cannot read the folder {}: {e}", root.join(&folder).display()));
        for entry in std::fs::read_dir(root.join(&folder)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_file() {
                files.push(path);
            } else if kind.is_dir() && !["target", "runs", ".git"].iter().any(|name| entry.file_name() == *name) {
                folders.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn may_be_unsafe(path: &Path) -> bool {
    let below = |folder: &str, one_of: &dyn Fn(&str) -> bool| {
        let rest = path.strip_prefix(folder).ok();
        rest.and_then(|rest| rest.iter().next()?.to_str()).is_some_and(one_of)
    };
    below(KERNELS, &|folder| INSTRUCTION_SETS.contains(&folder))
        || below(HOST_KERNELS, &|folder| folder == "x86")
        || below(PROGRAMS, &|folder| folder.starts_with(BOARD_PREFIX))
        || path.starts_with(C_INTERFACE)
}

/// Lines, from 1, on which the keyword `unsafe` stands.
fn unsafe_lines(text: &str) -> impl Iterator<Item = usize> {
    let code = source::code_only(text);
    let lines: Vec<usize> = code
        .lines()
        .enumerate()
        .filter(|(_, line)| source::words(line).any(|word| word == "unsafe"))
        .map(|(index, _)| index + 1)
        .collect();
    lines.into_iter()
}

/// Lines, from 1, that name a folder of somebody's machine: a home, or this very checkout.
fn machine_paths(text: &str, root: &Path) -> Vec<usize> {
    let mut needles: Vec<String> = ["home", "root", "Users", "work"].iter().map(|name| format!("/{name}/")).collect();
    if root.components().count() > 2 {
        needles.push(root.display().to_string());
    }
    let starts = |line: &str, needle: &str| {
        line.match_indices(needle).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && !"._-~}/".contains(c))
        })
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| needles.iter().any(|needle| starts(line, needle)))
        .map(|(index, _)| index + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_in_code_and_not_in_words_comments_or_strings() {
        let text = "#![deny(unsafe_op_in_unsafe_fn)]\n// unsafe\nlet s = \"unsafe\";\nlet x = unsafe { f() };\n";
        assert_eq!(unsafe_lines(text).collect::<Vec<_>>(), [4]);
        assert!(may_be_unsafe(Path::new("runtime/src/kernels/neon/conv.rs")));
        assert!(!may_be_unsafe(Path::new("runtime/src/kernels/portable/conv.rs")));
        assert!(may_be_unsafe(Path::new("firmware-examples/board-qemu/src/stack.rs")));
        assert!(!may_be_unsafe(Path::new("firmware-examples/programs/src/lib.rs")));
        assert!(!may_be_unsafe(Path::new("builder/src/neon/conv.rs")));
        assert!(may_be_unsafe(Path::new("c/src/pointers.rs")) && !may_be_unsafe(Path::new("c/build.rs")));
        assert!(may_be_unsafe(Path::new("builder/src/kernels/x86/bf16.rs")));
        assert!(!may_be_unsafe(Path::new("builder/src/kernels/tiles.rs")));
    }

    #[test]
    fn machine_paths_are_found_and_relative_ones_are_not() {
        let home = format!("see /{}/me/x", "home");
        let text = format!("a\n{home}\ndocs/work/x\nhttps://example.org/home/x\n/srv/checkout/skipstone/x\n");
        assert_eq!(machine_paths(&text, Path::new("/srv/checkout/skipstone")), [2, 5]);
    }
}
