//! The programs of `firmware-examples`: run on the emulated boards, built for the real ones.

use super::{Context, silent};
use crate::bench::data_set;
use crate::shell::{Failure, Run, fail};
use crate::tools;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, elf};
use skipstone_targets::{Board, LEAST_STACK_BYTES, Memory};
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

/// A board whose flash is too small for the fastest kernels, so that a model that is packed for it fills it.
const FULL: &str = "nucleo-f446re";
/// Bytes of an image, for which `classify` has memory: what `check` says counts none.
const IMAGE_BYTES: u64 = 3 * 32 * 32;

/// Builds all programs of the real boards around the ResNet-8 for CIFAR-10, packed for each, prints what they take, and
/// holds them to what `skipstone check` says.
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
        let line = format!("build --profile board --locked --target-dir target -p {name} --bins --features layers");
        // Last what the table shows.
        for goal in ["", "--optimize ram"].into_iter().skip(usize::from(*name != FULL)) {
            let file = format!("target/firmware/{name}.stone");
            let skipstone = |line: &str| Run::line(&format!("cargo run -q -p skipstone -- {line}"), root).read();
            skipstone(&format!(
                "quantize {NETWORK} --calib cifar10:target/firmware/images --eval-count 0 --board {name} {goal} \
                 --test-vectors 1 -o {file}"
            ))?;
            let counted = counted(&skipstone(&format!("check {file} --board {name} --json"))?)?;
            let build = tools::compiler(target)?.cargo(&line, target, &firmware);
            build.env("SKIPSTONE_MODEL", &stone.display().to_string()).without(&["SKIPSTONE_IMAGES"]).pass()?;
            let model = std::fs::metadata(&stone).map_err(io)?.len();
            for program in PROGRAMS {
                let path = firmware.join(format!("target/{target}/board/{name}-{program}"));
                let (flash, ram) = sizes(&path, board.ram)?;
                let image = if program == PROGRAMS[0] { IMAGE_BYTES } else { 0 };
                within(&format!("{name}-{program}"), [flash, ram - image + u64::from(LEAST_STACK_BYTES)], counted)?;
                let code = flash.saturating_sub(model);
                table += &format!("{name:15}  {program:8}  {code:11}  {flash:10}  {ram:9}\n");
            }
        }
    }
    print!("{table}");
    Ok(format!("{} programs", boards.len() * PROGRAMS.len()))
}

/// Bytes of flash and RAM that `skipstone check` counts for the one board that it has judged.
fn counted(json: &str) -> Result<[u64; 2], Failure> {
    let judged: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let counted = |memory: &str| {
        let spare = judged[0][format!("{memory}_spare")].as_i64()?;
        judged[0][memory].as_u64()?.checked_add_signed(-spare)
    };
    match [counted("flash"), counted("ram")] {
        [Some(flash), Some(ram)] => Ok([flash, ram]),
        _ => fail(format!("skipstone check printed {json:?}")),
    }
}

/// Fails where a program takes more flash or RAM than is counted for it.
fn within(program: &str, takes: [u64; 2], counted: [u64; 2]) -> Result<(), Failure> {
    for ((memory, takes), counted) in ["flash", "RAM"].into_iter().zip(takes).zip(counted) {
        if takes > counted {
            return fail(format!(
                "{program} takes {takes} bytes of {memory}, skipstone check counts {counted}: raise the board's `support` \
                 in targets/src/board.rs, or make the program smaller"
            ));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_takes_no_more_than_is_counted() {
        let json = r#"[{"board":"pico","flash":1000,"flash_spare":-50,"ram":400,"ram_spare":30}]"#;
        let counted = counted(json).unwrap();
        assert_eq!(counted, [1050, 370]);
        assert_eq!(within("pico-bench", [1050, 370], counted), Ok(()));
        let failure = within("pico-bench", [1050, 371], counted).unwrap_err().to_string();
        assert!(
            failure.starts_with("pico-bench takes 371 bytes of RAM, skipstone check counts 370: raise"),
            "{failure}"
        );
        let failure = within("pico-bench", [1051, 0], counted).unwrap_err().to_string();
        assert!(failure.starts_with("pico-bench takes 1051 bytes of flash"), "{failure}");
        assert!(super::counted("[]").is_err());
    }
}
