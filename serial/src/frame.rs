//! Frames: `COBS(postcard(sequence number, message), CRC-32), 0`.

use crc::{CRC_32_ISO_HDLC, Crc};
use postcard::ser_flavors::crc::CrcModifier;
use postcard::ser_flavors::{Cobs, Slice};
use serde::{Deserialize, Serialize};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Most bytes of a frame beside the bytes of pixels, a block or a piece in it, and beside COBS' own.
const AROUND: usize = 40;

/// Bytes that the frame of a message with `block` bytes takes at most, but [`Reply::Hello`](crate::Reply::Hello), which
/// also has the board's name.
pub const fn frame_len(block: usize) -> usize {
    block + AROUND + (block + AROUND) / 254 + 1
}

/// Bytes of pixels or of a block for which a frame has room.
pub(crate) const fn block_len(frame: usize) -> usize {
    let stuffed = frame.saturating_sub(1);
    (stuffed - stuffed / 255).saturating_sub(AROUND)
}

/// Writes a frame; `None` if the buffer is too short.
pub(crate) fn encode<'b>(sequence: u16, message: &impl Serialize, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let cobs = Cobs::try_new(Slice::new(buffer)).ok()?;
    let frame = postcard::serialize_with_flavor(&(sequence, message), CrcModifier::new(cobs, CRC.digest()));
    frame.ok().map(|frame| &*frame)
}

/// Undoes COBS in place, of a frame without its last zero; gives the length.
pub(crate) fn unstuff(frame: &mut [u8]) -> Option<usize> {
    cobs::decode_in_place(frame).ok()
}

/// Sequence number and message of what [`unstuff`] has left; `None` if it is damaged.
pub(crate) fn parse<'f, M: Deserialize<'f>>(frame: &'f [u8]) -> Option<(u16, M)> {
    postcard::from_bytes_crc32(frame, CRC.digest()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Reply, Request};
    use proptest::prelude::*;

    fn decode(frame: &mut [u8]) -> Option<(u16, Request<'_>)> {
        let len = unstuff(frame)?;
        parse(frame.get(..len)?)
    }

    proptest! {
        /// The longest message fits, and comes back.
        #[test]
        fn frames_round_trip(sequence: u16, offset: u32, data in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut buffer = vec![0; frame_len(data.len())];
            prop_assert_eq!(block_len(buffer.len()), data.len());
            let message = Request::Block { offset, data: &data };
            let frame = encode(sequence, &message, &mut buffer).unwrap();
            let (last, body) = frame.split_last().unwrap();
            prop_assert!(*last == 0 && !body.contains(&0));
            let mut body = body.to_vec();
            prop_assert_eq!(decode(&mut body), Some((sequence, message)));
        }

        /// Bytes of any kind are refused or are a message, without a panic.
        #[test]
        fn any_bytes_can_be_decoded(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            decode(&mut bytes);
        }

        /// A changed bit is noticed: what is decoded is another message for none.
        #[test]
        fn a_flipped_bit_is_noticed(at in 0usize..60, bit in 0u8..8) {
            let message = Request::Block { offset: 70_000, data: &[7; 50] };
            let mut buffer = [0; frame_len(50)];
            let frame = encode(9, &message, &mut buffer).unwrap();
            let mut frame = frame[..frame.len() - 1].to_vec();
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            prop_assert_eq!(decode(&mut frame), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(encode(1, &Reply::Scores(&[1; 100]), &mut [0; 100]), None);
        assert_eq!(encode(1, &Reply::More, &mut []), None);
        assert!(encode(u16::MAX, &Reply::Rows { node: u16::MAX, data: &[0; 100] }, &mut [0; frame_len(100)]).is_some());
    }
}
