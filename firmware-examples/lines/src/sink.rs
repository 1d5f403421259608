//! Text and numbers without `core::fmt`, which takes 4 kB of a microcontroller's program.

/// Where lines go.
pub trait Sink {
    /// Writes ASCII.
    fn write(&mut self, ascii: &[u8]);

    /// Writes text.
    fn text(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    /// Writes a number in decimal.
    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            first = at;
            *digit = b'0' + take_digit(&mut number);
            if number == 0 {
                break;
            }
        }
        self.write(digits.get(first..).unwrap_or_default());
    }

    /// Writes a number in decimal, with its sign if it is negative.
    fn signed(&mut self, number: i32) {
        if number < 0 {
            self.write(b"-");
        }
        self.number(number.unsigned_abs().into());
    }

    /// Writes eight hexadecimal digits.
    fn hex(&mut self, number: u32) {
        let digit = |index: u32| match (number >> (28 - 4 * index) & 15) as u8 {
            digit @ ..=9 => b'0' + digit,
            digit => b'a' + digit - 10,
        };
        self.write(&core::array::from_fn::<u8, 8, _>(|index| digit(index as u32)));
    }
}

/// Divides by 10 and returns the rest, in steps of 32 bits: a core divides no 64 bits without a library.
fn take_digit(number: &mut u64) -> u8 {
    let (high, low) = ((*number >> 32) as u32, *number as u32);
    let (quotient_high, rest) = (high / 10, high % 10);
    let middle = rest << 16 | low >> 16;
    let (quotient_middle, rest) = (middle / 10, middle % 10);
    let low = rest << 16 | low & 0xFFFF;
    *number = u64::from(quotient_high) << 32 | u64::from(quotient_middle) << 16 | u64::from(low / 10);
    (low % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::Sink;
    extern crate std;
    use std::{format, string::String};

    impl Sink for String {
        fn write(&mut self, ascii: &[u8]) {
            self.extend(ascii.iter().map(|&byte| char::from(byte)));
        }
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        let mut number = 1u64;
        for shift in 0..200 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for number in [number >> (shift % 64), 10u64.pow(shift % 20), 10u64.pow(shift % 20) - 1, u64::MAX] {
                let mut written = String::new();
                written.number(number);
                written.text(" ");
                written.signed(number as i32);
                written.text(" ");
                written.hex(number as u32);
                assert_eq!(written, format!("{number} {} {:08x}", number as i32, number as u32));
            }
        }
    }
}
