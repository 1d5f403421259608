use super::*;
use core::ffi::{CStr, c_int};
use core::ptr::{null, null_mut};
use skipstone_runtime::{Arena, Engine, Model, arena_len, include_stone};

const STONE: &[u8] = include_stone!("../../runtime/tests/digits.stone");
const LEN: usize = SKIPSTONE_ENGINE_BYTES + arena_len(STONE);

/// Memory that stays until the test's process ends, as the engine may use it as long.
fn memory(len: usize) -> &'static mut [u8] {
    let words = vec![0u128; len.div_ceil(16)].leak();
    &mut bytemuck::cast_slice_mut(words)[..len]
}

fn open(stone: &'static [u8], memory: &'static mut [u8]) -> Result<*mut SkipstoneEngine, SkipstoneStatus> {
    let mut engine = null_mut();
    let (start, len) = (memory.as_mut_ptr().cast(), memory.len());
    // SAFETY: both slices stay, and the second is used for nothing else.
    let status = unsafe { skipstone_open(stone.as_ptr(), stone.len(), start, len, &raw mut engine) };
    if status == SkipstoneStatus::Ok { Ok(engine) } else { Err(status) }
}

/// A test image, another one for each seed.
fn image(seed: usize) -> Vec<u8> {
    (0..64).map(|at| (at * (seed + 3) * 37 % 256) as u8).collect()
}

#[test]
fn scores_and_layers_are_those_of_the_runtime() {
    let model = Model::from_bytes(STONE).unwrap();
    let mut arena = Arena::<{ arena_len(STONE) }>::new();
    let mut expected = Engine::new(&model, arena.as_mut_slice()).unwrap();
    let mut len = 0;
    // SAFETY: the model is a slice, the length a variable.
    assert_eq!(unsafe { skipstone_memory_len(STONE.as_ptr(), STONE.len(), &raw mut len) }, SkipstoneStatus::Ok);
    assert_eq!(len, LEN);
    let engine = open(STONE, memory(LEN)).unwrap();
    let mut info = SkipstoneInfo {
        height: 0,
        width: 0,
        channels: 0,
        classes: 0,
        layers: 0,
        test_vectors: 0,
        scale: 0.0,
        zero_point: 0,
    };
    // SAFETY: the engine is open, and `info` a variable.
    assert_eq!(unsafe { skipstone_info(engine, &raw mut info) }, SkipstoneStatus::Ok);
    assert_eq!([info.height, info.width, info.channels, info.classes], [8, 8, 1, model.class_count()]);
    assert_eq!((info.scale, info.zero_point), (model.output().scale, model.output().zero_point.into()));
    for seed in 0..5 {
        let pixels = image(seed);
        let mut layers = vec![skipstone_runtime::format::checksum::Crc32::new(); info.layers];
        expected
            .run_observed(&pixels, |made| made.values.pixels().for_each(|pixel| layers[made.node].update(pixel)))
            .unwrap();
        let mut checksums = vec![7u32; info.layers];
        let mut scores = vec![0i8; info.classes];
        let (room, count) = (checksums.as_mut_ptr(), checksums.len());
        // SAFETY: the engine is open, the rest are vectors of these lengths.
        let status = unsafe { skipstone_run_layers(engine, pixels.as_ptr(), pixels.len(), room, count) };
        assert_eq!(status, SkipstoneStatus::Ok);
        // SAFETY: as above.
        let status = unsafe { skipstone_scores(engine, scores.as_mut_ptr(), scores.len()) };
        assert_eq!((status, scores.as_slice()), (SkipstoneStatus::Ok, expected.scores()));
        assert_eq!(checksums, layers.iter().map(|layer| layer.value()).collect::<Vec<_>>());
        let mut best = 0;
        // SAFETY: the engine is open, `best` a variable.
        assert_eq!(unsafe { skipstone_best(engine, &raw mut best) }, SkipstoneStatus::Ok);
        assert_eq!(best, expected.top_k::<1>()[0].class);
        // Row by row it is the same.
        let mut done = false;
        // SAFETY: the engine is open, the row a slice; null is refused, and the row is not taken.
        let status = unsafe { skipstone_feed_row(engine, pixels.as_ptr(), 8, null_mut()) };
        assert_eq!(status, SkipstoneStatus::Null);
        for row in pixels.chunks(8) {
            assert!(!done);
            // SAFETY: the engine is open, the row a slice, `done` a variable.
            let status = unsafe { skipstone_feed_row(engine, row.as_ptr(), row.len(), &raw mut done) };
            assert_eq!(status, SkipstoneStatus::Ok);
        }
        assert!(done);
        let mut fed = vec![0i8; info.classes];
        // SAFETY: the engine is open, `fed` a vector of this length.
        assert_eq!(unsafe { skipstone_scores(engine, fed.as_mut_ptr(), fed.len()) }, SkipstoneStatus::Ok);
        assert_eq!(fed, scores);
    }
    let (mut name, mut len) = (null(), 0);
    // SAFETY: the engine is open, the rest are variables.
    assert_eq!(unsafe { skipstone_class_name(engine, 3, &raw mut name, &raw mut len) }, SkipstoneStatus::Ok);
    // SAFETY: the name lies in the model and has this length.
    let name = unsafe { core::slice::from_raw_parts(name.cast::<u8>(), len) };
    assert_eq!(name, model.class_names().nth(3).unwrap().as_bytes());
    let mut absent = null();
    // SAFETY: as above.
    let status = unsafe { skipstone_class_name(engine, 10_000, &raw mut absent, &raw mut len) };
    assert_eq!(status, SkipstoneStatus::Index);
}

#[test]
fn a_picture_of_another_size_is_scaled_as_the_runtime_does() {
    let model = Model::from_bytes(STONE).unwrap();
    let (width, height) = (21u16, 17u16);
    let picture: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|at| (at * 89 % 256) as u8).collect();
    let engine = open(STONE, memory(LEN)).unwrap();
    let mut len = 0;
    // SAFETY: the engine is open, `len` a variable.
    assert_eq!(unsafe { skipstone_picture_len(engine, width, height, &raw mut len) }, SkipstoneStatus::Ok);
    let (room, short) = (memory(len), memory(len - 1));
    let mut opened = null_mut();
    // SAFETY: the engine is open, the memory is used for nothing else.
    let status =
        unsafe { skipstone_picture_open(engine, width, height, short.as_mut_ptr().cast(), len - 1, &raw mut opened) };
    assert_eq!((status, opened), (SkipstoneStatus::Memory, null_mut()));
    // SAFETY: as above.
    let status =
        unsafe { skipstone_picture_open(engine, width, height, room.as_mut_ptr().cast(), len, &raw mut opened) };
    assert_eq!(status, SkipstoneStatus::Ok);
    let mut finished = 0;
    for row in picture.chunks(usize::from(width) * 3) {
        let mut done = false;
        // SAFETY: both are open, the row a slice, `done` a variable.
        let status = unsafe { skipstone_picture_row(opened, engine, row.as_ptr(), row.len(), 3, &raw mut done) };
        assert_eq!(status, SkipstoneStatus::Ok);
        finished += usize::from(done);
    }
    assert_eq!(finished, 1);

    use skipstone_runtime::image::{Plan, Resampler, Row, Samples};
    let plan = Plan::new([width, height], model.preprocessing(), [1, 8, 8]).unwrap();
    let (mut words, mut bytes) = (vec![0; plan.words()], vec![0; plan.bytes()]);
    let mut resampler = Resampler::new(plan, &mut words, &mut bytes).unwrap();
    let mut pixels = Vec::new();
    for row in picture.chunks(usize::from(width) * 3) {
        resampler.push(Row { samples: Samples::Bits8(row), channels: 3 }, |row| pixels.extend_from_slice(row)).unwrap();
    }
    let mut arena = Arena::<{ arena_len(STONE) }>::new();
    let mut expected = Engine::new(&model, arena.as_mut_slice()).unwrap();
    expected.run(&pixels).unwrap();
    let mut scores = vec![0i8; model.class_count()];
    // SAFETY: the engine is open, `scores` a vector of this length.
    assert_eq!(unsafe { skipstone_scores(engine, scores.as_mut_ptr(), scores.len()) }, SkipstoneStatus::Ok);
    assert_eq!(scores, expected.scores());
}

#[test]
fn what_is_wrong_is_said() {
    let refused = |stone, memory| open(stone, memory).unwrap_err();
    assert_eq!(refused(STONE, memory(LEN - 1)), SkipstoneStatus::Memory);
    assert_eq!(refused(STONE, memory(10)), SkipstoneStatus::Memory);
    assert_eq!(refused(STONE, &mut memory(LEN + 16)[4..]), SkipstoneStatus::Misaligned);
    assert_eq!(refused(&STONE[..STONE.len() - 4], memory(LEN)), SkipstoneStatus::Length);
    assert_eq!(refused(&[0; 300], memory(LEN)), SkipstoneStatus::NotAModel);
    let damaged = memory(STONE.len());
    damaged.copy_from_slice(STONE);
    damaged[200] ^= 1;
    assert_eq!(refused(damaged, memory(LEN)), SkipstoneStatus::Checksum);
    let shifted = memory(STONE.len() + 8);
    shifted[8..].copy_from_slice(STONE);
    assert_eq!(refused(&shifted[8..], memory(LEN)), SkipstoneStatus::Misaligned);

    let engine = open(STONE, memory(LEN)).unwrap();
    let pixels = image(1);
    // SAFETY: null is checked, and everything else is what it should be.
    unsafe {
        assert_eq!(skipstone_run(null_mut(), pixels.as_ptr(), 64), SkipstoneStatus::Null);
    }
    // SAFETY: as above.
    unsafe {
        assert_eq!(skipstone_run(engine, null(), 64), SkipstoneStatus::Null);
    }
    // SAFETY: 63 bytes are there.
    unsafe {
        assert_eq!(skipstone_run(engine, pixels.as_ptr(), 63), SkipstoneStatus::Input);
    }
    // SAFETY: a length that no memory has is refused before it is used.
    unsafe {
        assert_eq!(skipstone_run(engine, pixels.as_ptr(), usize::MAX), SkipstoneStatus::Memory);
    }
    let mut scores = [0i8; 3];
    // SAFETY: three bytes are there.
    unsafe {
        assert_eq!(skipstone_scores(engine, scores.as_mut_ptr(), 3), SkipstoneStatus::Room);
    }
    let mut words = [0u32; 4];
    let odd = words.as_mut_ptr().wrapping_byte_add(1);
    let mut layer = 0;
    // SAFETY: a pointer that is not aligned is refused before it is used.
    unsafe {
        assert_eq!(skipstone_self_test(engine, 0, odd, 2, &raw mut layer), SkipstoneStatus::Misaligned);
    }
    // SAFETY: the words are there.
    unsafe {
        assert_eq!(skipstone_self_test(engine, 0, words.as_mut_ptr(), 4, &raw mut layer), SkipstoneStatus::Index);
    }
}

#[test]
fn every_status_has_a_text_of_its_own() {
    let text = |status: c_int| {
        // SAFETY: the function gives a constant that ends with a zero.
        unsafe { CStr::from_ptr(skipstone_status_text(status)) }.to_str().unwrap()
    };
    let mut texts: Vec<&str> = (0..=16).map(text).collect();
    assert!(!texts.contains(&"unknown status"));
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 17);
    assert!([-1, 17, c_int::MAX].map(text).iter().all(|&text| text == "unknown status"));
}
