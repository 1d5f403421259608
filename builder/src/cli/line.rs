//! Boards on a serial port, or behind a TCP port: an emulator's, or a serial server's.

use super::failure::Failure;
use super::packed::Packed;
use serial2::SerialPort;
use skipstone_serial::{Client, ClientError, Identity, Patience};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What firmware mostly uses; USB takes any.
const BAUD: u32 = 115_200;
/// How long a read waits for bytes before the client looks at its clock.
const POLL: Duration = Duration::from_millis(20);

/// Where a board is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A serial port and its baud rate.
    Serial(PathBuf, u32),
    /// A host and a port.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = "give serial:/dev/ttyACM0, serial:/dev/ttyACM0@115200 or tcp:HOST:PORT";
        match text.split_once(':') {
            Some(("serial", port)) if !port.is_empty() => match port.rsplit_once('@') {
                None => Ok(Self::Serial(port.into(), BAUD)),
                Some((path, baud)) => {
                    let baud = baud.parse().ok().filter(|&baud| baud > 0 && !path.is_empty());
                    Ok(Self::Serial(path.into(), baud.ok_or("what follows @ is the baud rate, a number")?))
                }
            },
            Some(("tcp", host)) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Self::Tcp(host.into()))
            }
            _ => Err(unknown.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(path, _) => write!(f, "serial:{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

/// A line that is open.
pub(super) trait Port: Read + Write {}

impl<P: Read + Write> Port for P {}

/// A board that has answered.
pub(super) struct Board<'a> {
    address: &'a Address,
    pub(super) client: Client<Box<dyn Port>>,
}

impl Address {
    /// Opens the line and asks who is there.
    pub(super) fn connect(&self) -> Result<Board<'_>, Failure> {
        let port: Box<dyn Port> = match self {
            Self::Serial(path, baud) => Box::new(open_serial(path, *baud).map_err(|reason| self.failed(reason))?),
            Self::Tcp(host) => {
                let open = || {
                    let stream = TcpStream::connect(host)?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(POLL))?;
                    Ok(stream)
                };
                Box::new(open().map_err(|error: std::io::Error| self.failed(format!("cannot connect: {error}")))?)
            }
        };
        let client = Client::open(port, Patience::default()).map_err(|error| self.failed(error))?;
        Ok(Board { address: self, client })
    }

    fn failed(&self, reason: impl fmt::Display) -> Failure {
        Failure::Work(format!("{self}: {reason}"))
    }
}

impl Board<'_> {
    /// A failure of the board.
    pub(super) fn failed(&self, error: impl fmt::Display) -> Failure {
        self.address.failed(error)
    }

    /// Runs a request.
    pub(super) fn ask<T>(
        &mut self,
        request: impl FnOnce(&mut Client<Box<dyn Port>>) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        request(&mut self.client).map_err(|error| self.failed(error))
    }

    /// Sees to it that the board has the model of `file`.
    pub(super) fn expect(&self, packed: &Packed, file: &Path) -> Result<Identity, Failure> {
        let wanted = packed.model().header().checksum;
        let update = format!("`skipstone update {} --to {}` sends it", file.display(), self.address);
        match self.client.model() {
            Some(model) if model.checksum == wanted => Ok(model),
            Some(Identity { checksum, .. }) => Err(self.failed(format!(
                "the board has another model: {checksum:08x}, {} is {wanted:08x}; {update}",
                file.display()
            ))),
            None => Err(self.failed(format!("the board has no model; {update}"))),
        }
    }
}

/// Opens a serial port that no other program has open.
fn open_serial(path: &Path, baud: u32) -> Result<SerialPort, String> {
    let busy = "another program has the port open: end it first";
    let mut port = SerialPort::open(path, baud).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let ports = SerialPort::available_ports().unwrap_or_default();
            let ports = ports.iter().map(|port| port.display().to_string());
            let ports: Vec<String> = ports.filter(|port| is_plugged(port)).collect();
            let ports = if ports.is_empty() { "none".into() } else { ports.join(", ") };
            format!("there is no such port: is the board plugged in? There are: {ports}")
        }
        ErrorKind::ResourceBusy => busy.into(),
        ErrorKind::PermissionDenied => {
            "the port may not be opened: on Linux, add yourself to the group dialout and log in again".into()
        }
        _ => format!("cannot open it as a serial port at {baud} baud: {error}"),
    })?;
    #[cfg(unix)]
    {
        use rustix::{fs, termios};
        // Others are kept out by the kernel, and programs of root by the lock.
        let lock = fs::flock(&port, fs::FlockOperation::NonBlockingLockExclusive);
        lock.map_err(|error| if error == rustix::io::Errno::WOULDBLOCK { busy.into() } else { error.to_string() })?;
        termios::ioctl_tiocexcl(&port).map_err(|error| error.to_string())?;
    }
    port.set_read_timeout(POLL).map_err(|error| error.to_string())?;
    // What was said before is no answer to this session.
    port.discard_buffers().map_err(|error| error.to_string())?;
    Ok(port)
}

/// Whether a port's name is that of an adapter or a board, not of a place for one.
fn is_plugged(port: &str) -> bool {
    !port.starts_with("/dev/ttyS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        for (text, address) in [
            ("serial:/dev/ttyACM0", Address::Serial("/dev/ttyACM0".into(), 115_200)),
            ("serial:/dev/ttyUSB1@921600", Address::Serial("/dev/ttyUSB1".into(), 921_600)),
            ("serial:COM3", Address::Serial("COM3".into(), 115_200)),
            ("tcp:localhost:4321", Address::Tcp("localhost:4321".into())),
        ] {
            assert_eq!(text.parse(), Ok(address));
        }
        for wrong in ["/dev/ttyACM0", "serial:", "serial:x@", "serial:@9600", "serial:x@0", "tcp:localhost", "udp:a:1"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
