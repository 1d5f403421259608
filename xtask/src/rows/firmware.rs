//! The programs of `firmware-examples`: run on the emulated boards, built for the real ones.

use super::{Context, silent};
use crate::bench::data_set;
use crate::shell::{Failure, Run, fail};
use crate::tools;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, elf};
use skipstone_targets::{Board, Memory};
use std::path::Path;

const FIRMWARE: &str = "firmware-examples";
/// Boards that people have, each with a package of its name; the first ones, each with a HAL of its own, are built
/// without `--full`.
const REAL: [&str; 6] = ["pico", "nrf52840-dk", "nucleo-f446re", "nucleo-h743zi", "pico2", "nucleo-u575zi-q"];
const USUAL: usize = 3;
const PROGRAMS: [&str; 3] = ["classify", "selftest", "bench"];
const NETWORK: &str = "models/resnet8-cifar10.onnx";

pub(super) fn emulated(context: &Context) -> Result<String, Failure> {
    tools::emulators()?;
    silent(context.cargo("test -p skipstone-tests --test boards -- --ignored --nocapture").pass())
}

/// Builds all programs of the real boards around the ResNet-8 for CIFAR-10, packed for each, and prints what they take.
pub(super) fn real(context: &Context) -> Result<String, Failure> {
    let (root, firmware) = (&context.root, context.root.join(FIRMWARE));
    let io = |e: std::io::Error| Failure(format!("cannot write target/firmware: {e}"));
    data_set(&root.join("target/firmware/images")).map_err(io)?;
    let mut table = String::from("board            program   flash bytes  with model  RAM bytes\n");
    let boards = if context.full { &REAL[..] } else { &REAL[..USUAL] };
    for name in boards {
        let Some(board) = Board::named(name) else { return fail(format!("{name} is not in the table of boards")) };
        let Some(target) = board.core.triple() else { return fail(format!("{name} has no compiler target")) };
        let stone = root.join(format!("target/firmware/{name}.stone"));
        let quantize = format!(
            "cargo run -q -p skipstone -- quantize {NETWORK} --calib cifar10:target/firmware/images --eval-count 0 --board \
             {name} --optimize ram --test-vectors 1 -o target/firmware/{name}.stone"
        );
        Run::line(&quantize, root).read()?;
        let line = format!("build --profile board --locked --target-dir target -p {name} --bins --features layers");
        let build = tools::compiler(target)?.cargo(&line, target, &firmware);
        build.env("SKIPSTONE_MODEL", &stone.display().to_string()).without(&["SKIPSTONE_IMAGES"]).pass()?;
        let model = std::fs::metadata(&stone).map_err(io)?.len();
        for program in PROGRAMS {
            let path = firmware.join(format!("target/{target}/board/{name}-{program}"));
            let (flash, ram) = sizes(&path, board.ram)?;
            if flash > board.flash.bytes.into() || ram > board.ram.bytes.into() {
                return fail(format!("{name}-{program} does not fit: {flash} bytes of flash, {ram} of RAM"));
            }
            let code = flash.saturating_sub(model);
            table += &format!("{name:15}  {program:8}  {code:11}  {flash:10}  {ram:9}\n");
        }
    }
    print!("{table}");
    Ok(format!("{} programs", boards.len() * PROGRAMS.len()))
}

/// Bytes that the program in the file `path` takes of flash, and of a RAM before it runs.
pub(super) fn sizes(path: &Path, ram: Memory) -> Result<(u64, u64), Failure> {
    let failed = |reason: String| Failure(format!("{}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let file = ElfFile32::<Endianness>::parse(bytes.as_slice()).map_err(|e| failed(e.to_string()))?;
    let endian = file.endian();
    let (mut flash, mut taken) = (0, 0);
    for header in file.elf_program_headers().iter().filter(|header| header.p_type(endian) == elf::PT_LOAD) {
        flash += u64::from(header.p_filesz(endian));
        if header.p_vaddr(endian).checked_sub(ram.origin).is_some_and(|offset| offset < ram.bytes) {
            taken += u64::from(header.p_memsz(endian));
        }
    }
    Ok((flash, taken))
}
