//! What must hold for any bytes at all as a packed model: they are refused, or they run, and every back end makes the
//! same rows. The fuzzing target `stone` and the example `mutations` share it.

use skipstone_runtime::format::checksum::{self, Crc32};
use skipstone_runtime::format::records::Header;
use skipstone_runtime::kernels::{BACKENDS, Backend, reference};
use skipstone_runtime::{Engine, Model, SelfTestError};

/// Models that claim more than this are left out: they are valid, but a run takes too long or too much memory.
const LARGEST_ARENA: usize = 1 << 20;
const MOST_WORK: u64 = 1 << 24;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Refused, whatever its length and checksum say.
    Refused,
    /// A model that is too large to be run here.
    TooLarge,
    /// Ran alike on all back ends.
    Ran,
}

/// Checks `bytes` as they are, then with length and checksum put right, because almost no change of a file would get
/// past those; runs what is accepted.
///
/// # Panics
/// If two back ends make different rows.
pub fn exercise(bytes: &[u8]) -> Outcome {
    let mut file = aligned(bytes.len());
    let file = &mut bytemuck::cast_slice_mut::<u128, u8>(&mut file)[..bytes.len()];
    file.copy_from_slice(bytes);
    let _ = Model::from_bytes(file);

    let Some(head) = file.first_chunk_mut::<{ Header::LEN }>() else { return Outcome::Refused };
    let mut header = Header::parse(head);
    header.file_len = bytes.len() as u32;
    *head = header.emit();
    header.checksum = checksum::of_file(file);
    file[..Header::LEN].copy_from_slice(&header.emit());
    let Ok(model) = Model::from_bytes(file) else { return Outcome::Refused };
    if model.arena_len() > LARGEST_ARENA || work(&model) > MOST_WORK {
        return Outcome::TooLarge;
    }
    let expected = rows(&model, &reference::BACKEND);
    for backend in BACKENDS.iter().filter(|backend| (backend.available)()) {
        let rows = rows(&model, backend);
        if let (Some(expected), Some(rows)) = (&expected, rows) {
            assert_eq!(*expected, rows, "{}", backend.name);
        }
    }
    Outcome::Ran
}

/// Everything that the nodes make of one image; `None` where the weights are laid out for other kernels.
fn rows(model: &Model<'_>, backend: &'static Backend) -> Option<Vec<i8>> {
    let mut arena = aligned(model.arena_len());
    let mut engine = Engine::with_backend(model, bytemuck::cast_slice_mut(&mut arena), backend).ok()?;
    let input = model.input();
    let pixels = usize::from(input.height) * usize::from(input.width) * usize::from(input.channels);
    let image: Vec<u8> = (0..pixels).map(|i| (i * 37 + i / 11) as u8).collect();
    let mut rows = Vec::new();
    let scores =
        engine.run_observed(&image, |made| rows.extend(made.values.pixels().flatten())).expect("the image fits");
    rows.extend_from_slice(scores);
    let mut layers = vec![Crc32::new(); model.nodes().len()];
    for vector in model.test_vectors() {
        let verdict = engine.self_test(&vector, &mut layers);
        let fits = matches!(verdict, Ok(()) | Err(SelfTestError::Layer(_) | SelfTestError::Scores));
        assert!(fits, "a checked test vector fits its model: {verdict:?}");
        rows.push(verdict.is_ok().into());
    }
    Some(rows)
}

/// Operations of one image, about: each output element reads its kernel over all channels.
fn work(model: &Model<'_>) -> u64 {
    let tensors = model.tensors();
    let elements = |index: u16| {
        let tensor = &tensors[usize::from(index)];
        (u64::from(tensor.height) * u64::from(tensor.width), u64::from(tensor.channels))
    };
    let image = elements(model.header().input);
    let nodes = model.nodes().iter().map(|node| {
        let ((pixels_in, channels_in), (pixels, channels)) = (elements(node.input), elements(node.output));
        let kernel = u64::from(node.kernel_h) * u64::from(node.kernel_w);
        (pixels * channels).saturating_mul(channels_in * kernel.max(1)).saturating_add(pixels_in * channels_in)
    });
    nodes.fold(image.0 * image.1, u64::saturating_add)
}

/// Zeros for `len` bytes or a little more, at a multiple of 16.
fn aligned(len: usize) -> Vec<u128> {
    vec![0; len.div_ceil(16)]
}
