//! Checks the model, names its operators and kernels to the program, and says at each build what it takes of the board.

use skipstone_runtime::{AlignedBytes, Model, codegen};
use std::path::Path;

/// The model; `.cargo/config.toml` names the same file to the crate that puts it into flash.
const MODEL: &str = "model.stone";
/// The memories, as the linker gets them.
const MEMORY: &str = "memory.x";
const BOARD: &str = "{{board}}";
/// RAM that stack and variables get at least.
const STACK_BYTES: u64 = 4096;

fn main() {
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    for file in ["build.rs", MODEL, MEMORY] {
        println!("cargo::rerun-if-changed={file}");
    }
    if let Err(e) = prepare() {
        println!("cargo::error={e}");
    }
}

fn prepare() -> Result<(), String> {
    let read = |file: &str| std::fs::read(file).map_err(|e| format!("cannot read {file}: {e}"));
    let env = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let stone = AlignedBytes::copy(&read(MODEL)?);
    let model = Model::from_bytes(stone.as_slice()).map_err(|e| format!("{MODEL}: {e}"))?;
    let program = codegen::program(&model, &env("TARGET")?, codegen::Extension::of_package());
    let program = program.map_err(|e| format!("{MODEL}: {e}"))?;
    let sizes = format!(
        "const ARENA_LEN: usize = {};\nconst ROW_LEN: usize = {};\nconst NODES: usize = {};\n",
        model.arena_len(),
        model.image().row_len(),
        model.nodes().len()
    );
    let out = Path::new(&env("OUT_DIR")?).join("program.rs");
    std::fs::write(&out, program + &sizes).map_err(|e| format!("cannot write {}: {e}", out.display()))?;
    footprint(&model, &String::from_utf8_lossy(&read(MEMORY)?))
}

/// Says what the model takes, and fails where it does not fit; the linker does where the program does not.
fn footprint(model: &Model<'_>, memory: &str) -> Result<(), String> {
    let length = |region| length(memory, region).ok_or_else(|| format!("{MEMORY} has no region {region}"));
    let [program, region, ram] = [length("FLASH")?, length("MODEL")?, length("RAM")?];
    let (flash_used, ram_used) = (model.as_bytes().len() as u64, model.arena_len() as u64 + STACK_BYTES);
    let fits = flash_used <= region && ram_used <= ram;
    println!("cargo::warning=flash: model {flash_used} of {region} bytes, program up to {program}");
    println!("cargo::warning=RAM: arena {} of {ram} bytes, stack and variables {STACK_BYTES}", model.arena_len());
    println!("cargo::warning=fits {BOARD}: {}", if fits { "yes" } else { "no" });
    let missing = |used: u64, of: u64, what| match used.checked_sub(of) {
        Some(missing @ 1..) => Err(format!("{MODEL} does not fit {BOARD}: {missing} bytes of {what} are missing")),
        _ => Ok(()),
    };
    missing(flash_used, region, "flash")?;
    missing(ram_used, ram, "RAM")
}

/// The bytes of a region of the linker's memory map: `NAME : ORIGIN = 0x0, LENGTH = 256K`.
fn length(memory: &str, region: &str) -> Option<u64> {
    let line = memory.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == region))?;
    let length = line.split_once("LENGTH")?.1.trim_start().strip_prefix('=')?.trim();
    let (digits, unit) = match length.char_indices().last()? {
        (at, 'K' | 'k') => (&length[..at], 1 << 10),
        (at, 'M' | 'm') => (&length[..at], 1 << 20),
        _ => (length, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    Some(number.ok()? * unit)
}
