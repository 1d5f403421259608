//! The serial port of the Nucleo boards.

use board_real::{Real, Serial};
use embassy_stm32::gpio::Output;
use embassy_stm32::mode::Blocking;
use embassy_stm32::usart::Uart;

/// The board.
pub type Board = Real<Output<'static>, Port>;

/// Its serial port.
pub struct Port(pub(crate) Uart<'static, Blocking>);

impl Serial for Port {
    fn write(&mut self, bytes: &[u8]) {
        // Nobody may listen: what is not sent is lost.
        let _ = self.0.blocking_write(bytes);
    }

    fn read(&mut self, bytes: &mut [u8]) -> bool {
        self.0.blocking_read(bytes).is_ok()
    }
}
