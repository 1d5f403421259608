//! The C interface: its header is what its source says, and firmware in C computes what firmware in Rust does.

use super::{Context, firmware};
use crate::bench::data_set;
use crate::generate;
use crate::shell::{Failure, Run, fail};
use crate::tools::{self, Compiler};
use object::{Object, ObjectSymbol};
use skipstone_targets::{Board, Core};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "--manifest-path c/Cargo.toml --target-dir target/c";
const HEADER: &str = "c/include/skipstone.h";
const EXAMPLE: &str = "firmware-examples/c";
const BOARD: &str = "mps2-an386";
const NETWORK: &str = "models/resnet8-cifar10.onnx";
const VECTORS: usize = 2;

pub(super) fn interface(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::C_COMPILER, &tools::CLANG, &tools::LLD, &tools::MAKE, &tools::QEMU_ARM])?;
    tools::ensure_components()?;
    let root = &context.root;
    header_is_fresh(root)?;
    context.cargo(&format!("clippy {MANIFEST} --locked --all-targets -- -D warnings")).pass()?;
    context.cargo(&format!("test {MANIFEST} --locked")).pass()?;
    for core in Core::ALL {
        if let Some(target) = core.triple() {
            let features = core.feature().map_or(String::new(), |feature| format!("--features {feature}"));
            tools::compiler(target)?.cargo(&format!("build {MANIFEST} --locked {features}"), target, root).pass()?;
        }
    }
    example(context)
}

/// Compares the committed header with what cbindgen makes of the source.
fn header_is_fresh(root: &Path) -> Result<(), Failure> {
    let committed = std::fs::read_to_string(root.join(HEADER)).map_err(|e| Failure(format!("{HEADER}: {e}")))?;
    if committed == generate::run(root, "header")? {
        return Ok(());
    }
    fail(format!("{HEADER} is not what its source says: cargo xtask header"))
}

/// Writes the header.
pub(crate) fn write_header(root: &Path) -> Result<(), Failure> {
    let text = generate::run(root, "header")?;
    std::fs::write(root.join(HEADER), text).map_err(|e| Failure(format!("cannot write {HEADER}: {e}")))
}

/// Runs the example on the emulated board beside the Rust program, and here.
fn example(context: &Context) -> Result<String, Failure> {
    let root = &context.root;
    let out = root.join("target/c-example");
    data_set(&out.join("images")).map_err(|e| Failure(format!("cannot write target/c-example: {e}")))?;
    let (model, arena) = pack(context, &out, "board", &format!("--board {BOARD} --optimize ram"))?;
    let board = Board::named(BOARD).ok_or_else(|| Failure(format!("{BOARD} is not in the table of boards")))?;
    let target = board.core.triple().unwrap_or_default();
    let compiler = tools::compiler(target)?;

    make(root, &out, ("board", &model, arena), compiler)?;
    let line = "build --release --locked --target-dir target -p emulated --bin classify";
    let build = compiler.cargo(line, target, &root.join("firmware-examples"));
    let build = build.env("SKIPSTONE_MODEL", &model.display().to_string()).env("SKIPSTONE_BOARD", BOARD);
    build.without(&["SKIPSTONE_IMAGES"]).pass()?;
    let programs = [out.join("classify.elf"), root.join(format!("firmware-examples/target/{target}/release/classify"))];
    let mut said = Vec::new();
    for program in &programs {
        let machine = board.emulator_arguments().unwrap_or_default();
        // `timeout` ends a program that hangs.
        let emulator = Run::line("timeout 300 qemu-system-arm", root)
            .args(machine)
            .args(["-kernel".as_ref(), program.as_os_str()]);
        said.push(emulator.read()?);
    }
    let images = images(&said[0]);
    if images.len() != VECTORS || images != self::images(&said[1]) {
        return fail(format!("C and Rust do not say the same:\n{}\n{}", said[0], said[1]));
    }
    passes(&said[0])?;
    let panics = panics(&programs[0])?;
    if !panics.is_empty() {
        return fail(format!("the C program can panic: it has {}", panics.join(", ")));
    }

    let (model_here, arena) = pack(context, &out, "host", "--target generic")?;
    make(root, &out, ("host", &model_here, arena), Compiler::Default)?;
    let here = Run::new(&out.join("classify").display().to_string(), root).read()?;
    passes(&here)?;

    let bytes = std::fs::metadata(&model).map_err(|e| Failure(format!("{}: {e}", model.display())))?.len();
    let [c, rust] = [firmware::sizes(&programs[0], board.ram)?, firmware::sizes(&programs[1], board.ram)?];
    println!("{}", images.join("\n"));
    println!("program  flash bytes  with model  RAM bytes");
    for (name, (flash, ram)) in [("C", c), ("Rust", rust)] {
        println!("{name:7}  {:11}  {flash:10}  {ram:9}", flash.saturating_sub(bytes));
    }
    let code = |(flash, _): (u64, u64)| flash.saturating_sub(bytes);
    Ok(format!("equal bytes; program of C {} bytes, of Rust {}", code(c), code(rust)))
}

/// Packs the network with test vectors; the model's file, and bytes of its arena.
fn pack(context: &Context, out: &Path, name: &str, options: &str) -> Result<(PathBuf, u64), Failure> {
    let model = out.join(name).with_extension("stone");
    let images = "--calib cifar10:target/c-example/images --eval-count 0";
    let line =
        format!("run -q -p skipstone -- quantize {NETWORK} {images} --test-vectors {VECTORS} --json {options} -o");
    let told = context.cargo(&line).args([&model]).read()?;
    let told: serde_json::Value = serde_json::from_str(&told).map_err(|e| Failure(format!("quantize --json: {e}")))?;
    let arena = told["arena_bytes"].as_u64();
    Ok((model, arena.ok_or_else(|| Failure(format!("quantize --json tells no arena_bytes: {told}")))?))
}

/// Builds a goal of the example's Makefile.
fn make(root: &Path, out: &Path, (goal, model, arena): (&str, &Path, u64), compiler: Compiler) -> Result<(), Failure> {
    let run = Run::new("make", &root.join(EXAMPLE)).args([goal]);
    let run =
        run.args([format!("OUT={}", out.display()), format!("MODEL={}", model.display()), format!("ARENA={arena}")]);
    compiler.make(run).pass()
}

/// The lines that tell scores and checksums of images.
fn images(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("image ")).collect()
}

/// Whether all test vectors of a program passed.
fn passes(said: &str) -> Result<(), Failure> {
    let passed = said.lines().filter(|line| line.starts_with("vector ") && line.ends_with(" PASS")).count();
    if passed == VECTORS { Ok(()) } else { fail(format!("the C program's self test failed: {said}")) }
}

/// Symbols of a program that stand for panics.
fn panics(program: &Path) -> Result<Vec<String>, Failure> {
    let failed = |e: String| Failure(format!("{}: {e}", program.display()));
    let bytes = std::fs::read(program).map_err(|e| failed(e.to_string()))?;
    let file = object::File::parse(bytes.as_slice()).map_err(|e| failed(e.to_string()))?;
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    if !names.contains(&"skipstone_open") {
        return fail(format!("{} has no symbol skipstone_open", program.display()));
    }
    Ok(names.into_iter().filter(|name| name.contains("panic") || name.contains("unwind")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_image_lines_are_compared_and_every_vector_has_to_pass() {
        let said = "skipstone-device 2\nimage 0 label 1 scores 1,2 layers 0a\nvector 0 PASS\nvector 1 PASS\ndone 2\n";
        assert_eq!(images(said), ["image 0 label 1 scores 1,2 layers 0a"]);
        passes(said).unwrap();
        assert!(passes(&said.replace("1 PASS", "1 FAIL layer 3")).is_err());
    }
}
