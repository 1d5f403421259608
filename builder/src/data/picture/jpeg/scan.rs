//! The entropy-coded data of one scan, read without its values (T.81, F.2 and G.2).

use super::Tables;
use super::bits::{Bits, Fault};
use super::frame::{Component, Frame};
use super::huffman::Huffman;

/// A scan's parameters.
pub(super) struct Scan<'t> {
    /// Places of its components in the frame.
    components: Vec<usize>,
    /// The Huffman tables of each.
    tables: Vec<[Option<&'t Huffman>; 2]>,
    kind: Kind,
    /// Its coefficients, in zigzag order.
    first: usize,
    last: usize,
    /// The lowest bit of them that is sent.
    bit: u8,
    restart_interval: usize,
}

/// How a block is coded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequential,
    DcFirst,
    DcRefined,
    AcFirst,
    AcRefined,
}

impl<'t> Scan<'t> {
    /// Reads a scan's header; `None` if its tables are not there.
    pub(super) fn parse(header: &[u8], frame: &Frame, tables: &'t Tables) -> Result<Option<Self>, Fault> {
        let [count, rest @ ..] = header else { return Err(Fault::Damaged) };
        let (parts, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(Fault::Damaged)?;
        let &[first, last, bits] = rest else { return Err(Fault::Damaged) };
        let (high, bit) = (bits >> 4, bits & 15);
        let kind = match (frame.progressive, first, high) {
            (false, ..) => Kind::Sequential,
            (true, 0, 0) => Kind::DcFirst,
            (true, 0, _) => Kind::DcRefined,
            (true, _, 0) => Kind::AcFirst,
            (true, ..) => Kind::AcRefined,
        };
        let (first, last, bit) = match kind {
            Kind::Sequential => (0, 63, 0),
            Kind::DcFirst | Kind::DcRefined => (0, 0, bit),
            Kind::AcFirst | Kind::AcRefined => (usize::from(first), usize::from(last), bit),
        };
        let is_ac = matches!(kind, Kind::AcFirst | Kind::AcRefined);
        if last > 63 || first > last || parts.is_empty() || (is_ac && parts.len() != 2) {
            return Err(Fault::Damaged);
        }
        let mut scan = Self {
            components: vec![],
            tables: vec![],
            kind,
            first,
            last,
            bit,
            restart_interval: tables.restart_interval,
        };
        for part in parts.chunks_exact(2) {
            let place = frame.components.iter().position(|component| component.id == part[0]);
            scan.components.push(place.ok_or(Fault::Damaged)?);
            let table = |tables: &'t [Option<Huffman>; 4], index: u8| tables.get(usize::from(index))?.as_ref();
            let of_component = [table(&tables.dc, part[1] >> 4), table(&tables.ac, part[1] & 15)];
            let needed = match kind {
                Kind::Sequential => [true, true],
                Kind::DcFirst => [true, false],
                Kind::DcRefined => [false, false],
                Kind::AcFirst | Kind::AcRefined => [false, true],
            };
            if needed.iter().zip(&of_component).any(|(needed, table)| *needed && table.is_none()) {
                return Ok(None);
            }
            scan.tables.push(of_component);
        }
        Ok(Some(scan))
    }

    /// Reads the data of the scan, which `bytes` begin with, and gives its length.
    pub(super) fn read(&self, frame: &mut Frame, bytes: &[u8]) -> Result<usize, Fault> {
        let mut bits = Bits::new(bytes);
        let mut run = 0;
        let alone = self.components.len() == 1;
        let units = if alone { frame.components[self.components[0]].blocks } else { frame.units };
        for unit in 0..units {
            if unit > 0 && self.restart_interval > 0 && unit % self.restart_interval == 0 {
                bits.restart()?;
                run = 0;
            }
            for (&place, &[dc, ac]) in self.components.iter().zip(&self.tables) {
                let component = &mut frame.components[place];
                for _ in 0..if alone { 1 } else { component.in_unit } {
                    match (self.kind, dc, ac) {
                        (Kind::Sequential, Some(dc), Some(ac)) => sequential(&mut bits, dc, ac)?,
                        (Kind::DcFirst, Some(dc), _) => difference(&mut bits, dc)?,
                        (Kind::DcRefined, ..) => bits.skip(1)?,
                        (Kind::AcFirst, _, Some(ac)) => self.first(&mut bits, ac, &mut run, component, unit)?,
                        (Kind::AcRefined, _, Some(ac)) => self.refined(&mut bits, ac, &mut run, component, unit)?,
                        _ => return Err(Fault::Damaged),
                    }
                }
            }
        }
        for &place in &self.components {
            frame.components[place].send(self.first, self.last, self.bit);
        }
        Ok(bits.at)
    }

    /// A block's coefficients, the first time (G.1.2.2); `run` counts the blocks to come that have none.
    fn first(
        &self,
        bits: &mut Bits,
        ac: &Huffman,
        run: &mut u32,
        component: &mut Component,
        block: usize,
    ) -> Result<(), Fault> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let nonzero = component.nonzero(block);
        let mut k = self.first;
        while k <= self.last {
            let symbol = ac.decode(bits)?;
            match (symbol >> 4, symbol & 15) {
                (15, 0) => k += 16,
                (exponent, 0) => {
                    *run = (1 << exponent) - 1 + bits.take(exponent.into())?;
                    return Ok(());
                }
                (zeros, size) => {
                    k += usize::from(zeros);
                    if k > self.last {
                        return Err(Fault::Damaged);
                    }
                    *nonzero |= 1 << k;
                    bits.skip(size.into())?;
                    k += 1;
                }
            }
        }
        Ok(())
    }

    /// One more bit of a block's coefficients (G.1.2.3).
    fn refined(
        &self,
        bits: &mut Bits,
        ac: &Huffman,
        run: &mut u32,
        component: &mut Component,
        block: usize,
    ) -> Result<(), Fault> {
        let nonzero = component.nonzero(block);
        let mut k = self.first;
        while *run == 0 && k <= self.last {
            let symbol = ac.decode(bits)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            if size > 0 {
                bits.skip(1)?;
            } else if zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros.into())?;
                break;
            }
            // Coefficients that were not 0 have a bit each; of the others, `zeros` are passed over.
            while k <= self.last {
                if *nonzero >> k & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size > 0 && k <= self.last {
                *nonzero |= 1 << k;
            }
            k += 1;
        }
        if *run > 0 {
            let rest = (k..=self.last).filter(|k| *nonzero >> k & 1 == 1).count();
            (0..rest).try_for_each(|_| bits.skip(1))?;
            *run -= 1;
        }
        Ok(())
    }
}

/// The difference of a block's mean from that before it.
fn difference(bits: &mut Bits, dc: &Huffman) -> Result<(), Fault> {
    match dc.decode(bits)? {
        size @ 0..=15 => bits.skip(size.into()),
        _ => Err(Fault::Damaged),
    }
}

/// A whole block.
fn sequential(bits: &mut Bits, dc: &Huffman, ac: &Huffman) -> Result<(), Fault> {
    difference(bits, dc)?;
    let mut k = 1;
    while k < 64 {
        let symbol = ac.decode(bits)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k += 16,
            (_, 0) => break,
            (zeros, size) => {
                k += usize::from(zeros) + 1;
                bits.skip(size.into())?;
            }
        }
    }
    if k > 64 { Err(Fault::Damaged) } else { Ok(()) }
}
