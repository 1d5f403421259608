//! Two places for a model in flash, of which one is in use: an update fills the other one, and takes effect by the
//! single write of a record. `docs/serial.md` says why a power cut at any moment leaves a model that works.

use crate::machine::Machine;
use crate::message::{Entry, Refusal, Status};
use crate::server::Store;
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use skipstone_runtime::format::checksum::crc32;

/// Bytes of the record at the begin of a slot; the model follows it.
pub const RECORD_LEN: usize = 64;
/// First bytes of a record.
const MAGIC: [u8; 8] = *b"SKIPSLOT";
/// Bytes of a record that its checksum covers.
const COVERED: usize = 20;
/// What erased flash holds.
const ERASED: u8 = 0xFF;

/// Flash that can be read in place.
pub trait Mapped: NorFlash {
    /// Bytes of the flash, in memory at a multiple of 16 if `offset` is one; `None` if they are not all in it.
    fn mapped(&self, offset: u32, len: usize) -> Option<&[u8]>;
}

/// The slots of a flash.
pub struct Slots<F> {
    flash: F,
    places: [Range<u32>; 2],
    entries: [Option<Entry>; 2],
    active: Option<usize>,
    update: Option<Update>,
}

/// An update under way.
struct Update {
    slot: usize,
    entry: Entry,
    received: u32,
    /// Flash offset up to which the slot is erased.
    erased: u32,
}

impl<F: Mapped> Slots<F> {
    /// Finds the newest model that `machine` runs. The slots are whole pages of the flash.
    pub fn open(flash: F, places: [Range<u32>; 2], machine: &mut Machine<'_>) -> Self {
        const {
            assert!(RECORD_LEN.is_multiple_of(F::WRITE_SIZE), "the flash is written in larger units than a record's");
        }
        let mut slots = Self { flash, places, entries: [None; 2], active: None, update: None };
        slots.entries = [slots.record(0), slots.record(1)];
        let sequence = |slot: usize| slots.entries.get(slot).copied().flatten().map(|entry| entry.sequence);
        let order = if sequence(1) > sequence(0) { [1, 0] } else { [0, 1] };
        slots.active = order.into_iter().find(|&slot| {
            let entry = slots.entries.get(slot).copied().flatten();
            entry.and_then(|entry| slots.model(slot, entry.len)).is_some_and(|stone| machine.judge(stone).is_ok())
        });
        slots
    }

    /// The flash.
    pub fn into_inner(self) -> F {
        self.flash
    }

    fn place(&self, slot: usize) -> Range<u32> {
        self.places.get(slot).cloned().unwrap_or(0..0)
    }

    /// The first `len` bytes of the model in a slot.
    fn model(&self, slot: usize, len: u32) -> Option<&[u8]> {
        let place = self.place(slot);
        let start = place.start.checked_add(RECORD_LEN as u32)?;
        (start.checked_add(len)? <= place.end).then(|| self.flash.mapped(start, len as usize))?
    }

    /// The record of a slot, if it has one that was written completely.
    fn record(&self, slot: usize) -> Option<Entry> {
        let record = self.flash.mapped(self.place(slot).start, RECORD_LEN)?.first_chunk::<RECORD_LEN>()?;
        let word =
            |at: usize| record.get(at..).and_then(|bytes| bytes.first_chunk()).map(|&word| u32::from_le_bytes(word));
        let entry = Entry { sequence: word(8)?, len: word(12)?, checksum: word(16)? };
        (emit(entry) == *record).then_some(entry)
    }
}

/// A record as it lies in flash.
fn emit(entry: Entry) -> [u8; RECORD_LEN] {
    let mut record = [ERASED; RECORD_LEN];
    let words = [entry.sequence, entry.len, entry.checksum].into_iter().flat_map(u32::to_le_bytes);
    let covered = MAGIC.into_iter().chain(words);
    record.iter_mut().zip(covered).for_each(|(place, byte)| *place = byte);
    let sum = crc32(record.get(..COVERED).unwrap_or_default()).to_le_bytes();
    record.iter_mut().skip(COVERED).zip(sum).for_each(|(place, byte)| *place = byte);
    record
}

impl<F: Mapped> Store for Slots<F> {
    fn stone(&self) -> Option<&[u8]> {
        let slot = self.active?;
        self.model(slot, self.entries.get(slot).copied().flatten()?.len)
    }

    fn room(&self) -> Option<u32> {
        self.places.iter().map(|place| (place.end - place.start).saturating_sub(RECORD_LEN as u32)).min()
    }

    fn status(&mut self) -> Option<Status> {
        let received = self.update.as_ref().map(|update| update.received);
        Some(Status { active: self.active.map(|slot| slot as u8), slots: self.entries, received })
    }

    fn begin(&mut self, len: u32, checksum: u32) -> Result<(), Refusal> {
        self.update = None;
        let slot = usize::from(self.active == Some(0));
        let newest = self.entries.iter().flatten().map(|entry| entry.sequence).max();
        let entry = Entry { sequence: newest.unwrap_or(0).saturating_add(1), len, checksum };
        self.entries.iter_mut().skip(slot).take(1).for_each(|entry| *entry = None);
        // The record goes first: what is in the slot is no model from here on.
        let start = self.place(slot).start;
        let erased = start.saturating_add(F::ERASE_SIZE as u32);
        self.flash.erase(start, erased).map_err(|_| Refusal::Flash)?;
        self.update = Some(Update { slot, entry, received: 0, erased });
        Ok(())
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Refusal> {
        let Some(Update { slot, entry, received, mut erased }) = self.update.take() else {
            return Err(Refusal::OutOfOrder);
        };
        let len = data.len() as u32;
        let end = received.saturating_add(len);
        let (whole, rest) = data.split_at(data.len() - data.len() % F::WRITE_SIZE);
        if offset != received || end > entry.len || !rest.is_empty() && end != entry.len {
            return Err(Refusal::OutOfOrder);
        }
        let start = self.place(slot).start.saturating_add(RECORD_LEN as u32).saturating_add(received);
        while erased < start.saturating_add(len) {
            let next = erased.saturating_add(F::ERASE_SIZE as u32);
            self.flash.erase(erased, next).map_err(|_| Refusal::Flash)?;
            erased = next;
        }
        self.flash.write(start, whole).map_err(|_| Refusal::Flash)?;
        if !rest.is_empty() {
            let mut last = [ERASED; RECORD_LEN];
            last.iter_mut().zip(rest).for_each(|(place, &byte)| *place = byte);
            let last = last.get(..F::WRITE_SIZE).unwrap_or_default();
            self.flash.write(start + whole.len() as u32, last).map_err(|_| Refusal::Flash)?;
        }
        self.update = Some(Update { slot, entry, received: end, erased });
        Ok(())
    }

    fn finish(&mut self, machine: &mut Machine<'_>) -> Result<u32, Refusal> {
        let Some(Update { slot, entry, received, .. }) = self.update.take() else { return Err(Refusal::OutOfOrder) };
        if received != entry.len {
            return Err(Refusal::OutOfOrder);
        }
        let stone = self.model(slot, entry.len).ok_or(Refusal::Flash)?;
        machine.judge(stone)?;
        if crate::machine::header(stone)?.checksum != entry.checksum {
            return Err(Refusal::Damaged);
        }
        machine.test(stone)?;
        self.flash.write(self.place(slot).start, &emit(entry)).map_err(|_| Refusal::Flash)?;
        if self.record(slot) != Some(entry) {
            return Err(Refusal::Flash);
        }
        self.entries.iter_mut().skip(slot).take(1).for_each(|place| *place = Some(entry));
        self.active = Some(slot);
        Ok(entry.checksum)
    }
}
