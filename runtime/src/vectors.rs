//! Images inside a packed model, with what a host made of them.

use crate::bounds;
use crate::format::records::ALIGNMENT;
use crate::model::Model;

/// An image, and what every engine makes of it: [`Engine::self_test`](crate::Engine::self_test) compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestVector<'m> {
    /// `[height][width][channels]`, 0..=255.
    pub pixels: &'m [u8],
    /// The scores.
    pub scores: &'m [i8],
    /// For each node the CRC-32 (ISO-HDLC) of the rows that it makes, in their order.
    pub layers: &'m [u32],
}

impl<'m> Model<'m> {
    /// The test vectors that the file holds.
    pub fn test_vectors(&self) -> impl ExactSizeIterator<Item = TestVector<'m>> + Clone + use<'m> {
        let model = *self;
        (0..self.header().vector_count).map(move |index| model.test_vector(index))
    }

    /// The file up to its test vectors.
    pub fn bytes_before_test_vectors(&self) -> &'m [u8] {
        match self.header().vectors {
            0 => self.as_bytes(),
            end => bounds::part(self.as_bytes(), 0, end as usize),
        }
    }

    /// Bytes from a test vector to the next.
    pub(crate) fn vector_stride(&self) -> u32 {
        self.vector_len().checked_next_multiple_of(ALIGNMENT as u32).unwrap_or(u32::MAX)
    }

    /// Checksums, scores and pixels, without what fills them up; no file holds as many as the largest number says.
    fn vector_len(&self) -> u32 {
        let input = self.input();
        let pixels = (u32::from(input.height) * u32::from(input.width)).saturating_mul(input.channels.into());
        let numbers = 4 * u32::from(self.header().node_count) + u32::from(self.header().class_count);
        pixels.saturating_add(numbers)
    }

    /// Whether the bytes that fill the test vectors up are zero.
    pub(crate) fn vectors_are_plain(&self) -> bool {
        let [stride, len] = [self.vector_stride(), self.vector_len()].map(|len| len as usize);
        let vectors = bounds::rest(self.as_bytes(), self.header().vectors as usize);
        bounds::pixels(vectors, stride).all(|vector| bounds::rest(vector, len).iter().all(|&byte| byte == 0))
    }

    fn test_vector(&self, index: u16) -> TestVector<'m> {
        let header = self.header();
        let [layers, classes] = [header.node_count, header.class_count].map(u32::from);
        let at = u64::from(header.vectors) + u64::from(index) * u64::from(self.vector_stride());
        // A checked file has less than 4 GiB; what is not there is empty.
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let scores = at.saturating_add(4 * layers);
        TestVector {
            layers: self.section(at, layers as usize),
            scores: self.section(scores, classes as usize),
            pixels: self.section(scores.saturating_add(classes), self.image().len()),
        }
    }
}
