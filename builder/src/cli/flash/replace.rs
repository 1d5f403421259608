//! A model in place of another one, under a program that stays.

use crate::target::{Board, Memory};
use skipstone_runtime::Model;
use skipstone_runtime::codegen::{self, Extension};
use std::collections::BTreeSet;

/// Why `new` cannot take the place of `old`, around which the program on `board` was built, in the region `region`;
/// `None` if it can.
pub(super) fn obstacle(old: &Model<'_>, new: &Model<'_>, board: &Board, region: Memory) -> Option<String> {
    let limits = [
        ("bytes of flash", new.as_bytes().len(), region.bytes as usize),
        ("bytes of arena", new.arena_len(), old.arena_len()),
        ("bytes in a row of pixels", new.image().row_len(), old.image().row_len()),
        ("layers", new.nodes().len(), old.nodes().len()),
    ];
    let over = limits.iter().find(|(_, takes, has)| takes > has);
    over.map(|(what, takes, has)| format!("it takes {takes} {what}, the program has {has}")).or_else(|| {
        let (has, needs) = (parts(old, board), parts(new, board));
        let missing = needs.iter().find(|part| !has.contains(*part) && !has.contains(&general(part)));
        missing.map(|part| format!("the program has no {part}"))
    })
}

/// The operators and kernels that a program for `model` has, by their paths in the runtime.
fn parts(model: &Model<'_>, board: &Board) -> BTreeSet<String> {
    let told = board.core.feature().map(|feature| if feature == "mve" { Extension::Mve } else { Extension::Dsp });
    let source = codegen::program(model, board.core.triple().unwrap_or_default(), told).unwrap_or_default();
    let words = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let parts = words.filter_map(|word| word.strip_prefix("skipstone_runtime::"));
    // Rules and layouts are a checker's.
    let runs =
        |part: &&str| !part.ends_with("RULES") && !part.ends_with("PACKING") && part.ends_with(char::is_uppercase);
    let numbered = |part: &&str| !part.ends_with("RULES") && part.ends_with(|c: char| c.is_ascii_digit());
    parts.filter(|part| runs(part) || numbered(part)).map(str::to_owned).collect()
}

/// The part that does all of what `part` does.
fn general(part: &str) -> String {
    part.rsplit_once("::INT").map_or_else(|| part.to_owned(), |(operator, _)| format!("{operator}::OPERATOR"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{AlignedBytes, Options, quantize};
    use crate::quant::fixtures::{random_graph, random_images};
    use crate::target::Core;

    #[test]
    fn a_model_takes_the_place_of_one_that_needs_as_much() {
        let stone = |seed: u64, target: Core| {
            let graph = random_graph(seed);
            let images = random_images(&graph, 2, seed);
            AlignedBytes::copy(&quantize(&graph, &images, &Options { target, ..Options::default() }).unwrap().stone)
        };
        let board = Board::named("nrf52840-dk").unwrap();
        let region = board.model_region(48 << 10, 1000);
        let (a, b) = (stone(4, Core::CortexM4), stone(4, Core::Generic));
        let [pairs, canonical] = [&a, &b].map(|stone| Model::from_bytes(stone.as_slice()).unwrap());
        assert_eq!(obstacle(&pairs, &pairs, board, region), None);
        let small = obstacle(&pairs, &pairs, board, Memory { bytes: 100, ..region }).unwrap();
        assert!(small.ends_with("bytes of flash, the program has 100"), "{small}");
        let kernels = parts(&pairs, board);
        assert!(kernels.iter().any(|part| part.starts_with("kernels::cortex_m::")), "{kernels:?}");
        assert!(kernels.iter().any(|part| part.starts_with("ops::conv::")), "{kernels:?}");
        let other = obstacle(&canonical, &pairs, board, region).unwrap();
        assert!(other.contains("the program has "), "{other}");
        assert_eq!(general("ops::conv::INT8"), "ops::conv::OPERATOR");
    }
}
