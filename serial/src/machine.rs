//! What a model runs with on a board.

use crate::message::{Identity, Refusal};
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::format::records::{Header, MAGIC, VERSION};
use skipstone_runtime::{Engine, Model, Program, SelfTestError};

/// A board's memory for models, and the operators and kernels of its program.
pub struct Machine<'a> {
    /// Working memory of the model, at a multiple of 16.
    pub arena: &'a mut [u8],
    /// A checksum for each node: of models with more nodes none are told.
    pub sums: &'a mut [Crc32],
    /// What the program can run.
    pub program: Program,
}

impl Machine<'_> {
    /// Whether these bytes are a whole model that runs here.
    ///
    /// # Errors
    /// Why they are not.
    pub fn judge(&mut self, stone: &[u8]) -> Result<(), Refusal> {
        let model = Model::from_bytes(stone)?;
        Engine::with_program(&model, self.arena, self.program)?;
        Ok(())
    }

    /// Whether the test images in a model that has been [judged](Self::judge) have the results here that they have on the
    /// host.
    ///
    /// # Errors
    /// The first image and node that differ.
    pub fn test(&mut self, stone: &[u8]) -> Result<(), Refusal> {
        let model = Model::from_checked(stone)?;
        let most = self.sums.len() as u16;
        let mut engine = Engine::with_program(&model, self.arena, self.program)?;
        for (image, vector) in (0..).zip(model.test_vectors()) {
            let sums = self.sums.get_mut(..model.nodes().len()).ok_or(Refusal::TooManyNodes { most })?;
            engine.self_test(&vector, sums).map_err(|error| {
                let node = if let SelfTestError::Layer(node) = error { Some(node as u16) } else { None };
                Refusal::SelfTest { image, node }
            })?;
        }
        Ok(())
    }
}

/// What both ends must agree on of the model in these bytes, which have been [judged](Machine::judge).
pub(crate) fn identity(stone: &[u8]) -> Option<Identity> {
    let model = Model::from_checked(stone).ok()?;
    let (header, input) = (model.header(), model.input());
    Some(Identity {
        checksum: header.checksum,
        len: header.file_len,
        image: [input.height, input.width, input.channels],
        classes: header.class_count,
        nodes: header.node_count,
    })
}

/// The header of a model that is about to be sent.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, Refusal> {
    let header = Header::parse(bytes.first_chunk().ok_or(Refusal::NotAModel)?);
    match header {
        Header { magic: MAGIC, version: VERSION, .. } => Ok(header),
        Header { magic: MAGIC, version: found, .. } => Err(Refusal::Version { found }),
        _ => Err(Refusal::NotAModel),
    }
}
