//! A board in a thread of the test: its program is the one that firmware runs, its flash is memory.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::kernels::{Backend, ConvCode, ConvKernel, portable};
use skipstone_runtime::ops;
use skipstone_runtime::{AlignedBytes, Program};
use skipstone_serial::{Link, Machine, Mapped, Server, Slots, frame_len};
use std::io::{Read, Write};
use std::net::TcpListener;

const SLOT: usize = 1 << 17;
const PAGE: usize = 4096;

/// A stream as a UART.
struct Uart<S>(S);

impl<S> embedded_io::ErrorType for Uart<S> {
    type Error = embedded_io::ErrorKind;
}

impl<S: Read> embedded_io::Read for Uart<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        // The end of a pseudo terminal is an error, that of a board is no end.
        Ok(self.0.read(buffer).unwrap_or(0))
    }
}

impl<S: Write> embedded_io::Write for Uart<S> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Self::Error> {
        self.0.write(buffer).map_err(|_| embedded_io::ErrorKind::Other)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        self.0.flush().map_err(|_| embedded_io::ErrorKind::Other)
    }
}

/// Flash in memory.
struct Flash(AlignedBytes);

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0.as_slice()[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.as_slice().len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.as_mut_slice()[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.as_mut_slice()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Mapped for Flash {
    fn mapped(&self, offset: u32, len: usize) -> Option<&[u8]> {
        self.0.as_slice().get(offset as usize..)?.get(..len)
    }
}

/// What a board can run: all, or convolutions that make nothing.
pub(crate) fn program(broken: bool) -> Program {
    static BROKEN: Backend = Backend {
        name: "broken",
        available: || true,
        kernels: &[ConvKernel { spec: portable::CONV.spec, code: ConvCode::Int8(|_| {}) }],
    };
    if broken { Program { operators: &ops::ALL, backend: &BROKEN } } else { Program::any() }
}

/// Serves sessions, one after the other, with flash that keeps its contents.
fn serve<S: Read + Write>(program: Program, sessions: impl Iterator<Item = S>) {
    let mut arena = AlignedBytes::zeros(1 << 16);
    let mut sums = [const { Crc32::new() }; 64];
    let mut machine = Machine { arena: arena.as_mut_slice(), sums: &mut sums, program };
    let flash = Flash(AlignedBytes::zeros(2 * SLOT));
    let slots = Slots::open(flash, [0..SLOT as u32, SLOT as u32..2 * SLOT as u32], &mut machine);
    let mut server = Server::new("test board", slots, machine);
    for session in sessions {
        let mut link = Link::<_, { frame_len(512) }>::new(Uart(session));
        server.serve(&mut link, |_| {});
    }
}

/// A board behind a TCP port, until the test ends; gives its address.
pub(crate) fn on_tcp(program: Program) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(program, listener.incoming().map(|stream| stream.unwrap())));
    address
}

/// A board on a pseudo terminal; gives its path.
#[cfg(target_os = "linux")]
pub(crate) fn on_terminal() -> std::path::PathBuf {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let path = std::path::PathBuf::from(ptsname(&board, Vec::new()).unwrap().into_string().unwrap());
    // While the test has it open too, the line does not end when the command closes it.
    let open = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    std::thread::spawn(move || {
        let _open = open;
        serve(program(false), std::iter::once(std::fs::File::from(board)));
    });
    path
}
