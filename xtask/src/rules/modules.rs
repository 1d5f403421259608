//! The builder's modules stand in data-flow order: each uses only those declared above it in `builder/src/lib.rs`.

use super::source::{code_only, without_tests, words};
use crate::shell::{Failure, fail};
use std::path::{Path, PathBuf};

const SOURCES: &str = "builder/src";

/// What breaks the order, one line each. Unit tests may use any module.
///
/// # Errors
/// If `builder/src/lib.rs` declares no modules.
pub(super) fn check(texts: &[(PathBuf, String)]) -> Result<Vec<String>, Failure> {
    let lib = texts.iter().find(|(path, _)| path == &Path::new(SOURCES).join("lib.rs"));
    let order = lib.map(|(_, text)| declared(&code_only(text))).unwrap_or_default();
    if order.is_empty() {
        return fail(format!("{SOURCES}/lib.rs declares no modules"));
    }
    let tests: Vec<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, &code_only(text))).collect();
    let mut broken = Vec::new();
    for (path, text) in texts {
        let Some((module, position)) = module_of(path, &order) else { continue };
        if tests.iter().any(|test| path.starts_with(test) || path.with_extension("") == *test) {
            continue;
        }
        let code = code_only(text);
        for used in used(without_tests(&code)) {
            if order.iter().position(|name| name == used).is_some_and(|other| other > position) {
                let shown = path.display();
                broken.push(format!(
                    "{shown}: module `{module}` uses `{used}`, which stands below it in {SOURCES}/lib.rs"
                ));
            }
        }
    }
    broken.dedup();
    Ok(broken)
}

/// Names after `mod`, in order.
fn declared(code: &str) -> Vec<String> {
    let names = code.lines().filter_map(|line| line.trim_start().trim_start_matches("pub ").strip_prefix("mod "));
    names.map(|rest| rest.trim_end().trim_end_matches(';').to_string()).collect()
}

/// Paths without extension of the modules that a file declares for tests alone.
fn test_modules(path: &Path, code: &str) -> Vec<PathBuf> {
    let folder = if path.ends_with("mod.rs") || path.ends_with("lib.rs") {
        path.parent().unwrap_or(Path::new("")).to_path_buf()
    } else {
        path.with_extension("")
    };
    let declared = code.split("#[cfg(").skip(1).filter_map(|after| {
        let (condition, item) = after.split_once(")]")?;
        if !words(condition).any(|word| word == "test") || words(condition).any(|word| word == "not") {
            return None;
        }
        let mut start = item.split_whitespace().take(3).skip_while(|word| *word != "mod");
        start.nth(1)?.strip_suffix(';').map(|name| folder.join(name))
    });
    declared.collect()
}

/// The top module that a source file belongs to, and its position.
fn module_of<'a>(path: &Path, order: &'a [String]) -> Option<(&'a str, usize)> {
    let inside = path.strip_prefix(SOURCES).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    let position = order.iter().position(|module| module == name)?;
    Some((&order[position], position))
}

/// First segments of paths that begin with `crate::`, groups in braces included.
fn used(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let joined = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let path = &code[at + start.len()..];
        match path.strip_prefix('{') {
            _ if joined => {}
            Some(group) => names.extend(group_members(group)),
            None => names.push(first_word(path)),
        }
    }
    names
}

/// First segments of a group's members; `group` begins after its brace.
fn group_members(group: &str) -> Vec<&str> {
    let (mut depth, mut member, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_word(group[member..at].trim_start()));
                member = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_modules_are_found_in_paths_and_groups() {
        let code =
            "use crate::{files::{self, read}, tensor::Tensor,\n zoo};\nlet x = crate::train::run(); super_crate::no();";
        assert_eq!(used(code), ["files", "tensor", "zoo", "train"]);
    }

    #[test]
    fn a_use_of_a_later_module_is_named_and_tests_are_free() {
        let text = |path: &str, text: &str| (PathBuf::from(path), text.to_string());
        let files = [
            text("builder/src/lib.rs", "/// A.\npub mod data;\npub mod tensor;\nmod zoo;\n"),
            text("builder/src/data/mod.rs", "use crate::tensor::Tensor;"),
            text("builder/src/tensor.rs", "use crate::data;\n#[cfg(test)]\nmod tests { use crate::zoo; }"),
            text("builder/src/tensor/rows.rs", "use crate::data;\n#[cfg(all(test, unix))]\npub(crate) mod proofs;"),
            text("builder/src/tensor/rows/proofs.rs", "use crate::zoo;"),
            text("builder/src/zoo/mod.rs", "use crate::tensor;\n#[cfg(test)]\nmod tests;\n"),
            text("builder/src/zoo/tests.rs", "use crate::tensor;"),
        ];
        let broken = check(&files).unwrap();
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].starts_with("builder/src/data/mod.rs: module `data` uses `tensor`"), "{broken:?}");
    }

    #[test]
    fn an_order_that_cannot_be_read_is_an_error() {
        assert!(check(&[]).is_err());
    }
}
