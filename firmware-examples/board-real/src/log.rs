//! The log, through the debug probe.

#[cfg(all(feature = "rtt", not(feature = "defmt")))]
mod transport {
    use lines::Sink;
    use rtt_target::{ChannelMode, rprint, rtt_init_print};

    /// Lines by RTT. Where no probe reads, what does not fit the buffer is lost.
    pub struct Log(());

    impl Log {
        pub(crate) fn start() -> Self {
            rtt_init_print!(ChannelMode::NoBlockTrim, 1024);
            Self(())
        }

        /// The log that was started.
        pub(crate) fn again() -> Self {
            Self(())
        }
    }

    impl Sink for Log {
        fn write(&mut self, ascii: &[u8]) {
            rprint!(core::str::from_utf8(ascii).unwrap_or_default());
        }
    }
}

#[cfg(feature = "defmt")]
mod transport {
    use defmt_rtt as _;
    use lines::Sink;

    /// Lines by defmt: one frame for each.
    pub struct Log(heapless::String<256>);

    impl Log {
        pub(crate) fn start() -> Self {
            Self(heapless::String::new())
        }

        pub(crate) fn again() -> Self {
            Self::start()
        }

        fn flush(&mut self) {
            defmt::println!("{=str}", self.0.as_str());
            self.0.clear();
        }
    }

    impl Sink for Log {
        fn write(&mut self, ascii: &[u8]) {
            for &byte in ascii {
                if byte == b'\n' {
                    self.flush();
                    continue;
                }
                // A longer line becomes several.
                if self.0.len() == self.0.capacity() {
                    self.flush();
                }
                let _ = self.0.push(byte.into());
            }
        }
    }
}

#[cfg(not(any(feature = "rtt", feature = "defmt")))]
compile_error!("choose how the log leaves the board: the feature rtt or defmt");

pub use transport::Log;
