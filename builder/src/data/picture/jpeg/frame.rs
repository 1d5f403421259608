//! What a JPEG file's header announces, and what of it the scans have given.

use super::bits::Fault;

/// No bit of a coefficient was sent.
const NOTHING: u8 = u8::MAX;

/// A picture of several components.
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// Units of an interleaved scan: they hold blocks of each component.
    pub(super) units: usize,
}

/// One component, in blocks of 8x8.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks that it has in a unit of an interleaved scan.
    pub(super) in_unit: usize,
    /// Blocks that cover the picture.
    pub(super) blocks: usize,
    /// For each block the coefficients known not to be 0, in progressive pictures.
    pub(super) nonzero: Vec<u64>,
    /// For each coefficient the lowest bit that was sent.
    sent: [u8; 64],
}

impl Frame {
    /// Reads the segment of a frame.
    pub(super) fn parse(progressive: bool, segment: &[u8]) -> Result<Self, Fault> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = segment else { return Err(Fault::Damaged) };
        let [height, width] = [[h1, h0], [w1, w0]].map(|side| usize::from(u16::from_be_bytes(side)));
        let (parts, rest) = rest.as_chunks::<3>();
        let sampling = |part: &[u8; 3]| [part[1] >> 4, part[1] & 15].map(usize::from);
        let most = |axis: usize| parts.iter().map(|part| sampling(part)[axis]).max().unwrap_or(0);
        let [across, down] = [most(0), most(1)];
        let legal = precision == 8 && parts.len() == usize::from(count) && rest.is_empty() && width * height > 0;
        if !legal || parts.iter().any(|part| sampling(part).iter().any(|side| !(1..=4).contains(side))) {
            return Err(Fault::Damaged);
        }
        let components = parts.iter().map(|part| {
            let [h, v] = sampling(part);
            let blocks = |side: usize, own: usize, most: usize| (side * own).div_ceil(most).div_ceil(8);
            Component {
                id: part[0],
                in_unit: h * v,
                blocks: blocks(width, h, across) * blocks(height, v, down),
                nonzero: Vec::new(),
                sent: [NOTHING; 64],
            }
        });
        let units = width.div_ceil(8 * across) * height.div_ceil(8 * down);
        Ok(Self { progressive, components: components.collect(), units })
    }

    /// Whether each bit of each coefficient was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.sent == [0; 64])
    }

    /// Whether each component was sent, however coarse: all that a progressive picture has to be.
    pub(super) fn is_begun(&self) -> bool {
        self.components.iter().all(|component| component.sent[0] != NOTHING)
    }
}

impl Component {
    /// Takes note that coefficients `first..=last` were sent down to a bit.
    pub(super) fn send(&mut self, first: usize, last: usize, bit: u8) {
        self.sent[first..=last].fill(bit);
    }

    /// The coefficients of a block that are not 0.
    pub(super) fn nonzero(&mut self, block: usize) -> &mut u64 {
        if self.nonzero.len() <= block {
            self.nonzero.resize(block + 1, 0);
        }
        &mut self.nonzero[block]
    }
}
