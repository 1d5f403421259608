mod operators;
mod oracle;
mod schedules;

use super::Judged;
use crate::engine::{Engine, EngineError, SelfTestError};
use crate::format::checksum::Crc32;
use crate::format::records::{Core, Header, Node, OpCode, Source, Tensor};
use crate::format::{LoadError, Place};
use crate::image::{ChannelOrder, Filter, Fit, Preprocessing};
use crate::kernels::BACKENDS;
use crate::kernels::layout::{CANONICAL, LAYOUTS, PAIRS, PAIRS_PACKING};
use crate::model::Model;
use crate::ops::{self, RuleTable, Rules, add, conv, copy, global_pool};
use crate::testing::{Aligned, every_operator, random_network, small_resnet};
use proptest::prelude::*;

fn check(bytes: &[u8]) -> Result<Model<'_>, LoadError> {
    Model::from_bytes(bytes)
}

fn judged(model: Model<'_>) -> Judged<'_> {
    Judged { model, table: &ops::EVERY }
}

fn file() -> Aligned {
    small_resnet(6, 5, &CANONICAL).pack()
}

fn header(file: &Aligned) -> Header {
    Header::parse(file.first_chunk().unwrap())
}

/// The file with one record changed and the checksum of what it is now.
fn with_header(change: impl FnOnce(&mut Header)) -> Aligned {
    let mut file = file();
    let mut header = header(&file);
    change(&mut header);
    file[..Header::LEN].copy_from_slice(&header.emit());
    file.seal();
    file
}

fn with_tensor(index: usize, change: impl FnOnce(&mut Tensor)) -> Aligned {
    change_tensor(file(), index, change)
}

fn with_node(index: usize, change: impl FnOnce(&mut Node)) -> Aligned {
    change_node(file(), index, change)
}

fn change_tensor(mut file: Aligned, index: usize, change: impl FnOnce(&mut Tensor)) -> Aligned {
    let at = header(&file).tensors as usize + index * Tensor::LEN;
    let mut tensor = Tensor::parse(file[at..].first_chunk().unwrap());
    change(&mut tensor);
    file[at..at + Tensor::LEN].copy_from_slice(&tensor.emit());
    file.seal();
    file
}

fn change_node(mut file: Aligned, index: usize, change: impl FnOnce(&mut Node)) -> Aligned {
    let at = header(&file).nodes as usize + index * Node::LEN;
    let mut node = Node::parse(file[at..].first_chunk().unwrap());
    change(&mut node);
    file[at..at + Node::LEN].copy_from_slice(&node.emit());
    file.seal();
    file
}

/// Each file is refused at the place for the reason.
fn all_refused(cases: &[(Aligned, Place, &str)]) {
    let mut failures = Vec::new();
    for (index, (file, place, reason)) in cases.iter().enumerate() {
        match check(file) {
            Err(LoadError::Invalid { place: found, reason: why })
                if found == *place && why.sentence().contains(reason) => {}
            other => failures.push(format!("case {index}, {place}: {reason:?} expected, got {:?}", other.err())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn damage_is_told_apart_from_another_version() {
    let file = file();
    assert!(check(&file).is_ok());
    let message = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
    assert_eq!(check(b"").unwrap_err(), LoadError::NotAModel);
    assert_eq!(check(b"onnx and more").unwrap_err(), LoadError::NotAModel);
    assert_eq!(message(&file[..50]), "damaged: cut short after 50 of 128 bytes");
    let cut = format!("damaged: cut short after {} of {} bytes", file.len() - 16, file.len());
    assert_eq!(message(&file[..file.len() - 16]), cut);
    let older = with_header(|header| header.version = 3);
    assert_eq!(message(&older), "written for format version 3, this program reads 5: pack the model again");
    let mut moved = Aligned::zeroed(file.len() + 4);
    moved[4..].copy_from_slice(&file);
    assert_eq!(check(&moved[4..]).unwrap_err(), LoadError::Misaligned);
}

#[test]
fn every_layout_is_one_of_the_core_that_the_header_names() {
    let pairs = small_resnet(6, 5, &PAIRS).pack();
    let on = |core: Core| {
        let mut file = Aligned::copy_of(&pairs);
        file[..Header::LEN].copy_from_slice(&Header { core: core as u8, ..header(&pairs) }.emit());
        file.seal();
        file
    };
    let reading = [Core::CortexM4, Core::CortexM7, Core::CortexM33];
    for (code, core) in Core::ALL.into_iter().enumerate() {
        assert_eq!((core as usize, Core::from_code(code as u8)), (code, Some(core)));
        assert!(check(&with_header(|header| header.core = core as u8)).is_ok(), "{core:?} reads canonical weights");
        if reading.contains(&core) {
            assert!(check(&on(core)).is_ok(), "{core:?}");
        } else {
            all_refused(&[(on(core), Place::Node(0), "not laid out for the core that the header names")]);
        }
    }
}

#[test]
fn bytes_without_a_name_are_zero() {
    let head = header(&file());
    let (tensors, nodes) = (head.tensors as usize, head.nodes as usize);
    let refused = |unnamed: &[usize], at: usize, place: Place| {
        for byte in unnamed {
            let mut file = file();
            file[at + byte] = 1;
            file.seal();
            all_refused(&[(file, place, "unnamed bytes are not zero")]);
        }
    };
    refused(&[10, 11, 98, 99, 110, 127], 0, Place::Header);
    refused(&[21, 23], tensors + Tensor::LEN, Place::Tensor(1));
    refused(&[63], nodes + 2 * Node::LEN, Place::Node(2));
}

/// A file that says how images are made and what its network's file takes.
fn with_source(source: Source) -> Aligned {
    let file = with_header(|h| (h.fit, h.filter, h.channel_order, h.resize) = (2, 1, 1, 9));
    let at = file.len();
    let mut longer = Aligned::zeroed(at + 48);
    longer[..at].copy_from_slice(&file);
    longer[at..at + Source::LEN].copy_from_slice(&source.emit());
    for (index, value) in [0.5f32, 1.5, 2.5, 3.5, 4.5, 5.5].into_iter().enumerate() {
        longer[at + 16 + 4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    }
    let header = Header { source: at as u32, file_len: longer.len() as u32, ..header(&file) };
    longer[..Header::LEN].copy_from_slice(&header.emit());
    longer.seal();
    longer
}

#[test]
fn what_the_networks_file_takes_and_how_images_are_made_is_read() {
    let source = Source { channels_last: 1, element: 2, ending: 1, scale: 0.5, zero_point: -3, ..Source::EMPTY };
    for unknown in [
        Source { channels_last: 2, ..source },
        Source { element: 3, ..source },
        Source { element: 0, ..source },
        Source { scale: 0.0, ..source },
        Source { scale: f32::NAN, ..source },
        Source { ending: 3, ..source },
    ] {
        all_refused(&[(with_source(unknown), Place::Header, "takes or gives is not known")]);
    }
    let file = with_source(source);
    let model = check(&file).unwrap();
    let Preprocessing { fit, filter, channels } = model.preprocessing();
    assert_eq!((fit, filter, channels), (Fit::Resize(9), Filter::Bilinear, ChannelOrder::Bgr));
    assert_eq!(model.source(), Some(source));
    assert_eq!(model.source_normalization().collect::<Vec<_>>(), [(0.5, 3.5), (1.5, 4.5), (2.5, 5.5)]);
    let plain = self::file();
    let plain = check(&plain).unwrap();
    assert_eq!((plain.preprocessing(), plain.source()), (Preprocessing::default(), None));
    assert_eq!(plain.source_normalization().len(), 0);
}

/// A file with so many test vectors of zeros.
fn with_vectors(file: &Aligned, count: usize) -> Aligned {
    let image = Model::from_bytes(file).unwrap().image().len();
    let head = header(file);
    let len = 4 * usize::from(head.node_count) + usize::from(head.class_count) + image;
    let mut longer = Aligned::zeroed(file.len() + count * len.next_multiple_of(16));
    longer[..file.len()].copy_from_slice(file);
    let (vectors, vector_count) = (file.len() as u32, count as u16);
    let header = Header { vectors, vector_count, file_len: longer.len() as u32, ..head };
    longer[..Header::LEN].copy_from_slice(&header.emit());
    longer.seal();
    longer
}

#[test]
fn test_vectors_are_the_end_of_the_file() {
    let plain = file();
    let file = with_vectors(&plain, 2);
    let change = |change: &dyn Fn(&mut Header)| {
        let mut header = header(&file);
        change(&mut header);
        let mut file = file.clone();
        file[..Header::LEN].copy_from_slice(&header.emit());
        file.seal();
        file
    };
    let model = check(&file).unwrap();
    assert_eq!(model.test_vectors().len(), 2);
    for vector in model.test_vectors() {
        let lens = (vector.layers.len(), vector.scores.len(), vector.pixels.len());
        assert_eq!(lens, (model.nodes().len(), model.class_count(), model.image().len()));
    }
    assert_eq!(model.bytes_before_test_vectors().len(), plain.len());
    assert_eq!(check(&plain).unwrap().test_vectors().len(), 0);
    let end = "not the end of the file";
    let cases: Vec<(Aligned, Place, &str)> = vec![
        (change(&|h| h.vectors = 0), Place::Header, "a place or a number"),
        (change(&|h| h.vector_count = 0), Place::Header, "a place or a number"),
        (change(&|h| h.vector_count = 3), Place::Header, end),
        (change(&|h| h.vector_count = 1), Place::Header, end),
        (change(&|h| h.vector_count = u16::MAX), Place::Header, end),
        (change(&|h| h.vectors -= 16), Place::Header, end),
        (change(&|h| h.vectors = u32::MAX), Place::Header, end),
        (change(&|h| h.class_count -= 1), Place::Header, "unnamed bytes are not zero"),
    ];
    // Without the last class, the last byte of the image fills the vector up.
    let cases = cases.into_iter().map(|(mut file, place, reason)| {
        let last = file.len() - 1;
        if reason.starts_with("unnamed") {
            file[last] = 1;
            file.seal();
        }
        (file, place, reason)
    });
    all_refused(&cases.collect::<Vec<_>>());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut file = file();
    for at in (0..file.len()).step_by(7).chain(0..Header::LEN) {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            assert!(check(&file).is_err(), "byte {at}, bit {bit}");
            file[at] ^= 1 << bit;
        }
    }
    assert!(check(&file).is_ok());
}

#[test]
fn what_cannot_run_is_refused_where_it_stands() {
    let (tensor, node, head) = (Place::Tensor, Place::Node, Place::Header);
    let file = file();
    let input_of_pool = Model::from_bytes(&file).unwrap().tensors()[8].offset;
    let cases: Vec<(Aligned, Place, &str)> = vec![
        (with_header(|h| h.tensors += 4), head, "a section lies outside"),
        (with_header(|h| h.nodes = u32::MAX - 15), head, "a section lies outside"),
        (with_header(|h| h.strings_len = u32::MAX), head, "a section lies outside"),
        (with_header(|h| h.node_count = 0), head, "no nodes"),
        (with_header(|h| h.input = 11), head, "the image is not a tensor"),
        (with_header(|h| h.output = u16::MAX), head, "the scores are not a tensor"),
        (with_header(|h| h.output = 3), head, "the scores are a map"),
        (with_header(|h| h.class_count = 13), head, "a class name is not a string"),
        (with_header(|h| h.class_count = 0), head, "no classes"),
        (with_header(|h| h.provenance = 100_000), head, "provenance"),
        (with_header(|h| h.pixels = 1 << 20), head, "pixel conversion outside"),
        (with_header(|h| h.normalization = 1 << 20), head, "normalization outside"),
        (with_header(|h| h.source = 1 << 20), head, "takes lies outside"),
        (with_header(|h| h.source = h.file_len - 16), head, "takes lies outside"),
        (with_header(|h| h.source = h.pixels), head, "unnamed bytes are not zero"),
        (with_header(|h| h.fit = 3), head, "its preprocessing"),
        (with_header(|h| h.fit = 2), head, "its preprocessing"),
        (with_header(|h| (h.fit, h.resize) = (2, 5)), head, "its preprocessing"),
        (with_header(|h| h.resize = 5), head, "its preprocessing"),
        (with_header(|h| h.filter = 2), head, "its preprocessing"),
        (with_header(|h| h.channel_order = 2), head, "its preprocessing"),
        (with_header(|h| h.core = 10), head, "does not know the core"),
        (with_header(|h| h.scratch_len = 16), node(0), "scratch is too small"),
        (with_header(|h| h.scratch = h.arena_len & !15), head, "scratch lies outside"),
        (with_header(|h| h.scratch = 0), tensor(0), "it overlaps scratch"),
        (with_header(|h| h.counters = h.scratch), head, "scratch and counters overlap"),
        (with_header(|h| h.arena_len -= 1), head, "counters lie outside"),
        (with_header(|h| h.arena_len = u32::MAX), head, "2 GiB"),
        (with_header(|h| h.segment_count = 0), head, "segments do not hold all nodes"),
        (with_tensor(1, |t| t.producer = 2), tensor(1), "its producer makes another"),
        (with_tensor(1, |t| t.producer = 99), tensor(1), "no node makes it"),
        (with_tensor(1, |t| t.name = 9999), tensor(1), "its name"),
        (with_tensor(1, |t| t.scale = f32::NAN), tensor(1), "its scale"),
        (with_tensor(1, |t| t.height = 0), tensor(1), "it is empty"),
        (with_tensor(1, |t| t.ring_rows = 0), tensor(1), "it keeps no row"),
        (with_tensor(1, |t| t.ring_rows = 7), tensor(1), "it keeps no row"),
        (with_tensor(1, |t| t.pixel_stride = 4), tensor(1), "pixels overlap"),
        (with_tensor(1, |t| t.row_stride = 36), tensor(1), "rows overlap"),
        (with_tensor(1, |t| t.row_stride = u32::MAX), tensor(1), "it lies outside the arena"),
        (with_tensor(1, |t| t.offset += 2), tensor(1), "not aligned"),
        (with_tensor(1, |t| t.width = 4), node(0), "the output's size does not follow"),
        (with_tensor(2, |t| t.ring_rows = 1), node(2), "overwritten"),
        (with_tensor(2, |t| t.offset -= 6 * 48), node(1), "it overwrites a row that it reads"),
        (with_tensor(2, |t| t.offset -= 4 * 48), node(0), "it overwrites what a later step reads"),
        (with_tensor(4, |t| t.zero_point += 1), node(3), "cannot change scale"),
        (with_node(0, |n| n.op = OpCode::ALL.len() as u8), node(0), "does not know its operator"),
        (with_node(0, |n| n.layout = 9), node(0), "does not know the layout"),
        (with_node(0, |n| n.rows_per_step = 9), node(0), "or more than eight"),
        (with_node(0, |n| n.rows_per_step = 0), node(0), "makes no rows"),
        (with_node(0, |n| n.stride_w = 0), node(0), "a stride is 0"),
        (with_node(0, |n| n.kernel_h = 0), node(0), "the kernel is empty"),
        (with_node(0, |n| n.kernel_h = 255), node(0), "the output's size does not follow"),
        (with_node(0, |n| n.lo = 127), node(0), "the smallest output exceeds"),
        (with_node(0, |n| n.input = 5), node(0), "made later"),
        (with_node(0, |n| n.operand = 0), node(0), "the residual has another shape"),
        (with_node(0, |n| n.groups = 2), node(0), "groups do not divide"),
        (with_node(6, |n| n.layout = 4), node(6), "cannot hold its channels and groups"),
        (with_node(0, |n| n.weights_len += 1), node(0), "its weights do not have the length"),
        (with_node(0, |n| n.weights = 1 << 30), node(0), "its weights lie outside"),
        (with_node(0, |n| n.requant += 4), node(0), "its output conversion lies outside"),
        (with_node(3, |n| n.first_row = 2), node(3), "it copies nothing, or what is not there"),
        (with_node(3, |n| n.groups = u16::MAX), node(3), "it copies nothing, or what is not there"),
        (with_node(3, |n| n.pad_bottom = 255), node(3), "it copies nothing, or what is not there"),
        (with_node(3, |n| (n.pad_top, n.flags) = (2, 2)), node(3), "it copies nothing, or what is not there"),
        (with_node(3, |n| n.flags = 4), node(3), "does not know its flags"),
        (with_node(3, |n| (n.pad_top, n.flags) = (200, 3)), node(3), "it copies nothing, or what is not there"),
        (with_node(3, |n| n.weights_len += 2), node(3), "its runs of channels lie outside the file"),
        (with_node(3, |n| n.weights = 1 << 30), node(3), "its runs of channels lie outside the file"),
        (with_node(7, |n| n.operand = 1), node(7), "a term has another shape"),
        (with_node(8, |n| n.state_len = 0), node(8), "its state does not have"),
        (with_node(8, |n| n.state = 1 << 30), node(8), "its state lies outside"),
        (with_node(8, |n| n.state = input_of_pool), node(8), "its state overlaps"),
    ];
    all_refused(&cases);
}

#[test]
fn sums_that_can_overflow_are_refused() {
    let file = file();
    let change = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file.seal();
        check(&file).err().map(|error| error.to_string())
    };
    let node = Node::parse(file[header(&file).nodes as usize..].first_chunk().unwrap());
    let (requant, weights) = (node.requant as usize, node.weights as usize);
    let conversion = "not a valid model: node 0: its output conversion can overflow, or a shift is not in 32..=62";
    assert_eq!(change(requant, &i64::MAX.to_le_bytes()).as_deref(), Some(conversion));
    assert_eq!(change(requant, &i64::MIN.to_le_bytes()).as_deref(), Some(conversion));
    assert_eq!(change(requant + 12, &31u32.to_le_bytes()).as_deref(), Some(conversion));
    assert_eq!(change(requant + 12, &63u32.to_le_bytes()).as_deref(), Some(conversion));
    assert_eq!(change(weights, &[0x80]).as_deref(), Some("not a valid model: node 0: a weight is -128"));
    assert_eq!(change(weights, &[0x81]), None);
}

#[test]
fn weights_that_kernels_would_read_differently_are_refused() {
    let file = small_resnet(6, 5, &PAIRS).pack();
    let node = Node::parse(file[header(&file).nodes as usize..].first_chunk().unwrap());
    let change = |at: u32| {
        let mut file = file.clone();
        file[at as usize] = if file[at as usize] == 1 { 2 } else { 1 };
        file.seal();
        check(&file).err().map(|error| error.to_string())
    };
    assert!(check(&file).is_ok());
    // A row of the first kernel has 9 weights of two channels and 3 zeros after them.
    let padding = "not a valid model: node 0: a weight that only fills up a run is not 0";
    assert_eq!(change(node.weights + 2 * 9).as_deref(), Some(padding));
    assert_eq!(change(node.weights + 2 * 12 - 1).as_deref(), Some(padding));
    assert_eq!(change(node.weights + 2 * 9 - 1), None);
}

/// Runs what passes the check by every backend that reads its weights, the reference among them, which indexes.
fn check_or_run(file: &Aligned) -> bool {
    let Ok(model) = Model::from_bytes(file) else { return false };
    let input = model.input();
    let image = vec![200; usize::from(input.height) * usize::from(input.width) * usize::from(input.channels)];
    let mut scores = Vec::new();
    for backend in BACKENDS.iter().copied().filter(|backend| (backend.available)()) {
        let mut arena = Aligned::zeroed(model.arena_len());
        match Engine::with_backend(&model, &mut arena, backend) {
            Ok(mut engine) => {
                scores.push(engine.run(&image).unwrap().to_vec());
                let mut layers = vec![Crc32::new(); model.nodes().len()];
                for vector in model.test_vectors() {
                    let verdict = engine.self_test(&vector, &mut layers);
                    assert!(matches!(verdict, Err(SelfTestError::Layer(_)) | Ok(())), "{verdict:?}");
                }
            }
            Err(error) => assert!(matches!(error, EngineError::NoKernel { .. }), "{error}"),
        }
    }
    assert_eq!(scores.last().map(Vec::len), Some(model.class_count()));
    assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes are: refused, or runs without a panic.
    #[test]
    fn changed_files_are_refused_or_run(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..5usize, any::<u8>()), 1..4),
        anywhere in any::<bool>(),
        network in 0..6usize,
        seed in any::<u64>(),
    ) {
        let layout = if network % 2 == 0 { &PAIRS } else { &CANONICAL };
        let mut net = match network {
            0 | 1 => small_resnet(6, 5, layout),
            2 | 3 => every_operator(6, 5, layout),
            _ => random_network(seed),
        };
        match seed % 3 {
            0 => net.merge_concats(),
            1 => net.view_concats(),
            _ => {}
        }
        let mut file = net.pack();
        if seed % 5 == 0 {
            file = with_vectors(&file, 1 + (seed % 2) as usize);
        }
        let tail = header(&file).tensors as usize;
        for (index, layout, value) in changes {
            // Records lie at both ends of the file, the weights between them.
            let at = index.index(if anywhere { file.len() } else { file.len() - tail + Header::LEN });
            let at = if anywhere || at < Header::LEN { at } else { at - Header::LEN + tail };
            file[at] = match layout {
                0 => value,
                1 => 0xFF,
                2 => 0,
                3 => file[at].wrapping_add(1),
                _ => file[at] ^ 1 << (value % 8),
            };
        }
        file.seal();
        check_or_run(&file);
    }
}

#[test]
fn some_changes_are_harmless() {
    assert!(check_or_run(&with_node(0, |node| node.lo = -128)));
    assert!(check_or_run(&with_tensor(0, |tensor| tensor.ring_rows = 4)));
}

#[test]
fn an_operator_without_rules_and_a_layout_that_is_not_named_are_refused() {
    static SOME: RuleTable = RuleTable::of(&[&conv::RULES, &add::RULES, &global_pool::RULES], LAYOUTS);
    let file = small_resnet(6, 5, &CANONICAL).pack();
    let refused = Model::from_bytes_for(&file, &SOME).unwrap_err();
    assert_eq!(refused.to_string(), "not a valid model: node 3: this program does not know its operator");
    static ALL: RuleTable = RuleTable::of(RULES, LAYOUTS);
    static RULES: &[&Rules] = &[&conv::RULES, &add::RULES, &global_pool::RULES, &copy::RULES];
    assert!(Model::from_bytes_for(&file, &ALL).is_ok());
    static PAIRS_ALONE: RuleTable = RuleTable::of(RULES, &[&PAIRS_PACKING]);
    let refused = Model::from_bytes_for(&file, &PAIRS_ALONE).unwrap_err().to_string();
    assert!(refused.ends_with("node 0: this program does not know the layout of its weights"), "{refused}");
}
