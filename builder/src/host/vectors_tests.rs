//! Test vectors: the engine passes those of its model, and names what does not.

use super::{Model, trace, with_test_vectors};
use crate::data::Dataset;
use crate::pack::{AlignedBytes, Options, Quantized, quantize};
use crate::quant::fixtures::{random_graph, random_images};
use crate::target::Core;
use skipstone_runtime::format::checksum::{self, Crc32};
use skipstone_runtime::format::records::{Header, OpCode};
use skipstone_runtime::{SelfTestError, TestVector};

fn quantized(target: Core) -> (Quantized, Dataset) {
    let graph = random_graph(5);
    let images = random_images(&graph, 3, 5);
    (quantize(&graph, &images, &Options { target, ..Options::default() }).unwrap(), images)
}

fn self_test(stone: &[u8], vector: usize) -> Result<(), SelfTestError> {
    let stone = AlignedBytes::copy(stone);
    let model = Model::new(&stone).unwrap();
    let mut arena = model.arena();
    let mut layers = vec![Crc32::new(); model.view().nodes().len()];
    let vector = model.view().test_vectors().nth(vector).unwrap();
    model.engine(&mut arena).unwrap().self_test(&vector, &mut layers)
}

#[test]
fn an_engine_passes_the_test_vectors_of_its_model() {
    for target in [Core::Generic, Core::CortexM4, Core::X86] {
        let (quantized, images) = quantized(target);
        let chosen = [images.image(2), images.image(0)];
        let tested = with_test_vectors(&quantized.stone, &chosen).unwrap();
        let stone = AlignedBytes::copy(&tested);
        let model = Model::new(&stone).unwrap();
        assert_eq!(model.view().test_vectors().len(), 2);
        for (index, (vector, image)) in model.view().test_vectors().zip(chosen).enumerate() {
            let trace = trace(&quantized.stone, image).unwrap();
            let layers: Vec<u32> = trace.nodes.iter().map(|node| node.checksum).collect();
            assert_eq!(vector, TestVector { pixels: image, scores: &trace.scores, layers: &layers });
            assert_eq!(self_test(&tested, index), Ok(()));
        }
        // They come and go without another trace, and change no score.
        assert_eq!(with_test_vectors(&tested, &[]).unwrap(), quantized.stone);
        assert_eq!(with_test_vectors(&tested, &chosen).unwrap(), tested);
        let [with, without] = [&tested, &quantized.stone].map(|stone| super::evaluate(stone, &images).unwrap().loss);
        assert_eq!(with, without);
    }
}

/// The file with a byte changed, and length and checksum as they should be.
fn changed(stone: &[u8], at: usize) -> Vec<u8> {
    let mut stone = stone.to_vec();
    stone[at] ^= 1;
    let mut header = Header::parse(stone.first_chunk().unwrap());
    header.checksum = checksum::of_file(&stone);
    stone[..Header::LEN].copy_from_slice(&header.emit());
    stone
}

#[test]
fn a_self_test_names_the_first_node_that_differs() {
    let (quantized, images) = quantized(Core::Generic);
    let tested = with_test_vectors(&quantized.stone, &[images.image(1)]).unwrap();
    let stone = AlignedBytes::copy(&tested);
    let model = *Model::new(&stone).unwrap().view();
    let (header, nodes) = (model.header(), model.nodes());
    let vectors = header.vectors as usize;
    for node in 0..nodes.len() {
        assert_eq!(self_test(&changed(&tested, vectors + 4 * node + 3), 0), Err(SelfTestError::Layer(node)));
    }
    assert_eq!(self_test(&changed(&tested, vectors + 4 * nodes.len()), 0), Err(SelfTestError::Scores));
    // Another image gives other rows of the first node.
    let image = vectors + 4 * nodes.len() + model.class_count();
    let all = (0..model.image().len()).map(|pixel| self_test(&changed(&tested, image + pixel), 0));
    assert!(all.into_iter().any(|verdict| verdict == Err(SelfTestError::Layer(0))));
    // A layer that computes something else is the first that differs, or nothing differs.
    let mut named = 0;
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.op == OpCode::Conv as u8) {
        let weight = node.weights as usize;
        let at = weight + tested[weight..].iter().position(|&weight| weight != 0x81).unwrap();
        let verdict = self_test(&changed(&tested, at), 0);
        assert!([Ok(()), Err(SelfTestError::Layer(index))].contains(&verdict), "{index}: {verdict:?}");
        named += usize::from(verdict.is_err());
    }
    assert!(named > 0, "no changed weight changes a row");
    let mut arena = AlignedBytes::zeros(model.arena_len());
    let mut layers = vec![Crc32::new(); nodes.len()];
    let vector = model.test_vectors().next().unwrap();
    let few = &mut layers[1..];
    let verdict = Model::new(&stone).unwrap().engine(&mut arena).unwrap().self_test(&vector, few);
    assert_eq!(verdict, Err(SelfTestError::Room { needed: nodes.len() }));
}

#[test]
fn images_of_another_size_are_refused() {
    let (quantized, images) = quantized(Core::Generic);
    let error = with_test_vectors(&quantized.stone, &[&images.image(0)[1..]]).unwrap_err().to_string();
    assert!(error.contains("bytes where the model takes"), "{error}");
}
