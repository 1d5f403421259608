//! Modules use each other in one direction. Those of a crate stand in data-flow order: each uses only those declared
//! above it. Modules of modules may stand in any order, as long as there is no circle between them.

use super::source::{code_only, without_tests, words};
use crate::shell::{Failure, fail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The crates without circles between modules.
const CRATES: [&str; 9] = [
    "builder/src",
    "c/src",
    "onnx/src",
    "runtime/src",
    "serial/src",
    "targets/src",
    "tests/src",
    "xtask/generate/src",
    "xtask/src",
];
/// The files whose modules stand in order.
const ORDERED: [&str; 5] =
    ["builder/src/lib.rs", "onnx/src/lib.rs", "onnx/src/import.rs", "runtime/src/lib.rs", "serial/src/lib.rs"];

/// What breaks the order or closes a circle, one line each. Unit tests may use any module.
///
/// # Errors
/// If one of [`ORDERED`] declares no modules.
pub(super) fn check(texts: &[(PathBuf, String)]) -> Result<Vec<String>, Failure> {
    let of_crates = |path: &Path| CRATES.iter().any(|sources| path.starts_with(sources));
    let codes: Vec<(&Path, String)> = texts
        .iter()
        .filter(|(path, _)| of_crates(path) && path.extension().is_some_and(|extension| extension == "rs"))
        .map(|(path, text)| (path.as_path(), code_only(text)))
        .collect();
    let tests: Vec<PathBuf> = codes.iter().flat_map(|(path, code)| test_modules(path, code)).collect();
    let is_test = |path: &Path| tests.iter().any(|test| path.starts_with(test) || path.with_extension("") == *test);
    let mut broken = Vec::new();
    for file in ORDERED {
        let code = codes.iter().find(|(path, _)| *path == Path::new(file)).map_or("", |(_, code)| code.as_str());
        if declared(code).is_empty() {
            return fail(format!("{file} declares no modules"));
        }
    }
    for (file, code) in codes.iter().filter(|(path, _)| !is_test(path)) {
        let parent = Parent::new(file, code);
        let mut uses = Vec::new();
        for (path, code) in codes.iter().filter(|(path, _)| !is_test(path)) {
            let Some(module) = parent.module_of(path) else { continue };
            let used = parent.used(path, without_tests(code)).into_iter().filter(|used| *used != module);
            uses.extend(used.map(|used| Use { path, module, used }));
        }
        let is_named = |list: &[&str]| list.iter().any(|named| *file == Path::new(named));
        if is_named(&ORDERED) {
            let upwards = uses.iter().filter(|u| parent.position(u.used) > parent.position(u.module));
            broken.extend(upwards.map(|Use { path, module, used }| {
                let (path, file) = (path.display(), file.display());
                format!("{path}: module `{module}` uses `{used}`, which stands below it in {file}")
            }));
        } else if let Some(circle) = circle(&uses) {
            broken.push(format!("{}: modules use each other in a circle: {}", file.display(), circle.join(" -> ")));
        }
    }
    broken.dedup();
    Ok(broken)
}

/// A module names another one beside it.
struct Use<'t> {
    path: &'t Path,
    module: &'t str,
    used: &'t str,
}

/// Modules each of which uses the next one, from one of them to itself; `None` if there are none.
fn circle(uses: &[Use<'_>]) -> Option<Vec<String>> {
    fn visit(module: &str, uses: &[Use<'_>], path: &mut Vec<String>, done: &mut Vec<String>) -> bool {
        if let Some(start) = path.iter().position(|name| name == module) {
            path.drain(..start);
            path.push(module.into());
            return true;
        }
        if done.iter().any(|name| name == module) {
            return false;
        }
        path.push(module.into());
        for next in uses.iter().filter(|u| u.module == module) {
            if visit(next.used, uses, path, done) {
                return true;
            }
        }
        path.pop();
        done.push(module.into());
        false
    }
    let (mut path, mut done) = (Vec::new(), Vec::new());
    uses.iter().any(|start| visit(start.module, uses, &mut path, &mut done)).then_some(path)
}

/// A file that declares modules.
struct Parent {
    /// The folder of its modules.
    folder: PathBuf,
    /// Its own path below `crate`.
    path: Vec<String>,
    modules: Vec<String>,
    /// The module of each name that the file takes from one of them.
    names: HashMap<String, String>,
}

impl Parent {
    fn new(file: &Path, code: &str) -> Self {
        let modules = declared(code);
        let mut names = HashMap::new();
        for list in code.split("use ").skip(1).filter_map(|after| after.split_once(';')) {
            for path in expanded(list.0) {
                if let [module, .., name] = path.as_slice()
                    && modules.contains(module)
                {
                    names.insert(name.clone(), module.clone());
                }
            }
        }
        Self { folder: module_folder(file), path: module_path(file), modules, names }
    }

    fn position(&self, module: &str) -> Option<usize> {
        self.modules.iter().position(|name| name == module)
    }

    /// The one of its modules that a source file belongs to.
    fn module_of(&self, path: &Path) -> Option<&str> {
        let first = path.strip_prefix(&self.folder).ok()?.components().next()?.as_os_str().to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        self.modules.iter().find(|module| *module == name).map(String::as_str)
    }

    /// The ones of its modules that the code of the file `path` names.
    fn used(&self, path: &Path, code: &str) -> Vec<&str> {
        let here = module_path(path);
        let absolute = |path: Vec<String>| -> Option<Vec<String>> {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            let base = if ups == 0 { &[] } else { here.get(..here.len().checked_sub(ups)?)? };
            let first = if path.first()? == "crate" { 1 } else { ups };
            Some(base.iter().chain(&path[first..]).cloned().collect())
        };
        let below = |path: Vec<String>| {
            let name = path.strip_prefix(self.path.as_slice())?.first()?;
            let module = self.modules.iter().find(|module| *module == name).or_else(|| self.names.get(name))?;
            // As the parent's own map has it, so that it outlives the path.
            Some(self.modules[self.position(module)?].as_str())
        };
        paths(code).into_iter().filter_map(absolute).filter_map(below).collect()
    }
}

/// Names after `mod`, in order.
fn declared(code: &str) -> Vec<String> {
    let names = code.lines().filter_map(|line| line.trim_start().trim_start_matches("pub ").strip_prefix("mod "));
    names.filter_map(|rest| rest.trim_end().strip_suffix(';')).map(str::to_string).collect()
}

/// The folder in which the modules that a file declares are.
fn module_folder(path: &Path) -> PathBuf {
    if path.ends_with("mod.rs") || path.ends_with("lib.rs") {
        path.parent().unwrap_or(Path::new("")).to_path_buf()
    } else {
        path.with_extension("")
    }
}

/// The module that a file holds, as a path below `crate`.
fn module_path(path: &Path) -> Vec<String> {
    let folder = module_folder(path);
    let segments = folder.iter().skip_while(|part| *part != "src").skip(1);
    segments.map(|part| part.to_string_lossy().into_owned()).collect()
}

/// Paths without extension of the modules that a file declares for tests alone.
fn test_modules(path: &Path, code: &str) -> Vec<PathBuf> {
    let folder = module_folder(path);
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

/// Paths that begin with `crate` or `super`, those of groups in braces one by one.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let starts = ["crate::", "super::"].into_iter().flat_map(|start| code.match_indices(start));
    for (at, _) in starts {
        // The second `super` of two, or the end of another name.
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        paths.extend(expanded(path_at(&code[at..])));
    }
    paths
}

/// The path that `code` begins with, its group included.
fn path_at(code: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' if depth > 0 || code[..at].ends_with("::") => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return &code[..=at];
                }
            }
            _ if depth > 0 || c.is_alphanumeric() || c == '_' || c == ':' => {}
            _ => return &code[..at],
        }
    }
    code
}

/// The paths that a path with groups in braces stands for; of `a as b` the `a`.
fn expanded(path: &str) -> Vec<Vec<String>> {
    let segments = |text: &str| -> Vec<String> {
        let plain = text.split(" as ").next().unwrap_or_default();
        plain.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_string).collect()
    };
    let Some((prefix, group)) = path.split_once('{') else { return vec![segments(path)] };
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&group[start..]);
    let members = members.into_iter().filter(|member| !member.trim().is_empty());
    let whole = |rest: Vec<String>| segments(prefix).into_iter().chain(rest).collect();
    members.flat_map(expanded).map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(paths: Vec<Vec<String>>) -> Vec<String> {
        paths.into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_found_in_groups_and_code() {
        let code = "use crate::{files::{self, read}, tensor::Tensor as T,\n zoo};\nlet x = crate::train::run(); \
                    super_crate::no(); if super::super::at(1) {} other::crate::no()";
        let expected =
            ["crate::files::self", "crate::files::read", "crate::tensor::Tensor", "crate::zoo", "crate::train::run"];
        let found = joined(paths(code));
        assert_eq!(found[..5], expected);
        assert_eq!(found[5..], ["super::super::at"]);
    }

    /// The files of all crates whose modules stand in order, and those of a test beside them.
    fn broken(files: &[(&str, &str)]) -> Vec<String> {
        let mut texts: Vec<(PathBuf, String)> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_string())).collect();
        for file in ORDERED {
            if !files.iter().any(|(path, _)| *path == file) {
                texts.push((file.into(), "mod only;\n".into()));
            }
        }
        check(&texts).unwrap()
    }

    #[test]
    fn a_use_of_a_later_module_is_named_and_tests_are_free() {
        let broken = broken(&[
            ("builder/src/lib.rs", "/// A.\npub mod data;\npub mod tensor;\nmod zoo;\n"),
            ("builder/src/data/mod.rs", "use crate::tensor::Tensor;"),
            ("builder/src/tensor.rs", "use crate::data;\n#[cfg(test)]\nmod tests { use crate::zoo; }"),
            ("builder/src/tensor/rows.rs", "use crate::data;\n#[cfg(all(test, unix))]\npub(crate) mod proofs;"),
            ("builder/src/tensor/rows/proofs.rs", "use crate::zoo;"),
            ("builder/src/zoo/mod.rs", "use crate::tensor;\n#[cfg(test)]\nmod tests;\n"),
            ("builder/src/zoo/tests.rs", "use crate::tensor;"),
        ]);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].starts_with("builder/src/data/mod.rs: module `data` uses `tensor`"), "{broken:?}");
    }

    #[test]
    fn names_that_the_parent_passes_on_are_those_of_its_modules() {
        let broken = broken(&[
            ("onnx/src/lib.rs", "mod op;\n\npub mod graph;\n\npub use graph::{Graph, Node as N};\npub use op::Op;\n"),
            ("onnx/src/op.rs", "use crate::Graph;"),
            ("onnx/src/graph.rs", "use crate::{GraphError, Op};"),
        ]);
        assert_eq!(broken, ["onnx/src/op.rs: module `op` uses `graph`, which stands below it in onnx/src/lib.rs"]);
    }

    #[test]
    fn modules_of_modules_are_named_by_super_and_from_the_root() {
        let broken = broken(&[
            ("onnx/src/import.rs", "mod node;\n\nmod fold;\n\nmod ops;\n\nuse ops::Part;\n"),
            ("onnx/src/import/node.rs", "use super::{fold, Other};"),
            ("onnx/src/import/fold/mod.rs", "use super::node::Reader;\nuse super::Part;"),
            ("onnx/src/import/fold/shapes.rs", "use super::super::ops;\nuse super::ops_of_fold;\nuse crate::ops;"),
            ("onnx/src/import/ops.rs", "use crate::import::{fold, node};"),
        ]);
        let found: Vec<&str> = broken.iter().map(|line| line.split(", which").next().unwrap_or_default()).collect();
        assert_eq!(
            found,
            [
                "onnx/src/import/node.rs: module `node` uses `fold`",
                "onnx/src/import/fold/mod.rs: module `fold` uses `ops`",
                "onnx/src/import/fold/shapes.rs: module `fold` uses `ops`",
            ]
        );
    }

    #[test]
    fn modules_of_modules_form_no_circle() {
        let broken = broken(&[
            ("builder/src/lib.rs", "mod quant;\n"),
            ("builder/src/quant/mod.rs", "mod a;\nmod b;\nmod c;\npub use b::B;\n"),
            ("builder/src/quant/a.rs", "use super::c::C;\nfn f() -> super::B {}"),
            ("builder/src/quant/b/mod.rs", "mod inner;"),
            ("builder/src/quant/b/inner.rs", "use crate::quant::a::A;"),
            ("builder/src/quant/c.rs", "#[cfg(test)]\nmod tests { use super::super::a; }"),
        ]);
        assert_eq!(broken, ["builder/src/quant/mod.rs: modules use each other in a circle: a -> b -> a"]);
    }

    #[test]
    fn an_order_that_cannot_be_read_is_an_error() {
        assert!(check(&[]).is_err());
    }
}
