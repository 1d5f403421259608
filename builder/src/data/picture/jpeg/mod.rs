//! Whether a JPEG file holds the whole picture that its header announces.
//!
//! Decoders fill what is missing with grey and do not say so. Here every scan is read through, symbol by symbol,
//! without computing a coefficient: what counts is that there are as many as the frame has (ITU-T T.81). A file is
//! whole without the marker that ends it, as some cameras write them, and with anything after that marker.

mod bits;
mod frame;
mod huffman;
mod scan;

use bits::Fault;
use frame::Frame;
use huffman::Huffman;
use scan::Scan;
use std::borrow::Cow;

/// End of image.
const EOI: [u8; 2] = [0xff, 0xd9];
/// As many zero bytes may be the data of even areas.
const ZEROS: usize = 16;

/// The file with the marker that ends it, which decoders need, or why its picture is not whole. Kinds of JPEG that
/// decoders of photographs do not know are left to them.
pub(super) fn whole(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let text = |fault| match fault {
        Fault::Short => "the file is cut short: a part of the picture is missing".into(),
        Fault::Damaged => "the file is damaged: its data is no JPEG's".to_string(),
    };
    let ended = check(bytes).map_err(text)?;
    if ended {
        return Ok(Cow::Borrowed(bytes));
    }
    // Where a copy was interrupted, zeros may stand for the rest, and be valid codes.
    let content = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if bytes.len() - content > ZEROS {
        check(&bytes[..content + ZEROS]).map_err(text)?;
    }
    Ok(Cow::Owned([bytes, &EOI].concat()))
}

/// Whether a marker ends the picture, which is whole.
fn check(bytes: &[u8]) -> Result<bool, Fault> {
    let mut reader = Reader { bytes, at: 2 };
    let mut frame: Option<Frame> = None;
    let mut tables = Tables::default();
    while !frame.as_ref().is_some_and(Frame::is_complete) {
        let Some(marker) = reader.marker() else { return Err(Fault::Short) };
        match marker {
            0xd9 => {
                let begun = frame.is_some_and(|frame| frame.is_begun());
                return if begun { Ok(true) } else { Err(Fault::Short) };
            }
            // Markers without a segment: restarts, the start of an image, TEM.
            0x01 | 0xd0..=0xd8 => {}
            0xc0..=0xc2 => frame = Some(Frame::parse(marker == 0xc2, reader.segment()?)?),
            0xc4 => tables.define(reader.segment()?)?,
            // Lossless, hierarchical, arithmetic.
            0xc3 | 0xc5..=0xcf => return Ok(true),
            0xdd => match *reader.segment()? {
                [high, low] => tables.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(Fault::Damaged),
            },
            0xda => {
                let header = reader.segment()?;
                let frame = frame.as_mut().ok_or(Fault::Damaged)?;
                match Scan::parse(header, frame, &tables)? {
                    Some(scan) => reader.at += scan.read(frame, &bytes[reader.at..])?,
                    // Without tables, as in frames of Motion JPEG, the end has to do.
                    None => return if reader.ends() { Ok(true) } else { Err(Fault::Short) },
                }
            }
            _ => drop(reader.segment()?),
        }
    }
    Ok(reader.ends())
}

/// The Huffman tables and the restart interval that are in force.
#[derive(Default)]
struct Tables {
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Units between two restarts; 0 for none.
    restart_interval: usize,
}

impl Tables {
    /// Takes in a segment's tables.
    fn define(&mut self, mut segment: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Fault::Damaged)?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or(Fault::Damaged)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15)).ok_or(Fault::Damaged)? = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }
}

/// A position among the segments.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next marker; what stands before it is passed over.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if byte == 0xff
                && let Some(&marker) = self.bytes.get(self.at)
                && marker != 0xff
            {
                self.at += 1;
                if marker != 0 {
                    return Some(marker);
                }
            }
        }
    }

    /// The contents of the segment of the marker that was read.
    fn segment(&mut self) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Fault::Short)?;
        let length = usize::from(u16::from_be_bytes(*length)).checked_sub(2).ok_or(Fault::Damaged)?;
        self.at += 2 + length;
        rest.get(..length).ok_or(Fault::Short)
    }

    /// Whether the end of an image is among the markers that follow.
    fn ends(&mut self) -> bool {
        while let Some(marker) = self.marker() {
            if marker == EOI[1] {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
