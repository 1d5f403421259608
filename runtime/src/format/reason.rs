use core::fmt;
use core::num::NonZero;

/// What is wrong with a record of a packed model.
///
/// With the feature `sentences`, which `std` brings along, this is a sentence. Without it a program for a
/// microcontroller holds the sentence's code in its place: a host that reads the same file tells it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Reason(Text);

#[cfg(feature = "sentences")]
type Text = &'static str;
#[cfg(not(feature = "sentences"))]
type Text = NonZero<u16>;

/// Nothing, or what is wrong.
pub type Verdict = Result<(), Reason>;

/// A [`Verdict`]: unless the condition holds, the sentence is the reason. Only its code is in programs without the
/// feature `sentences`.
macro_rules! ensure {
    ($condition:expr, $sentence:expr) => {
        match $condition {
            true => Ok(()),
            false => Err(const { $crate::format::Reason::new($sentence) }),
        }
    };
}
pub(crate) use ensure;

impl Reason {
    /// The reason in words.
    #[cfg(feature = "sentences")]
    pub(crate) const fn new(sentence: &'static str) -> Self {
        Self(sentence)
    }

    /// The reason in words, of which the code is kept.
    #[cfg(not(feature = "sentences"))]
    pub(crate) const fn new(sentence: &'static str) -> Self {
        Self(code_of(sentence))
    }

    /// The reason in words.
    #[cfg(feature = "sentences")]
    pub const fn sentence(self) -> &'static str {
        self.0
    }

    /// A number that stands for the sentence, the same in every program.
    pub const fn code(self) -> u16 {
        #[cfg(feature = "sentences")]
        return code_of(self.0).get();
        #[cfg(not(feature = "sentences"))]
        return self.0.get();
    }
}

/// FNV-1a of 32 bits, its halves folded together; not 0.
const fn code_of(sentence: &str) -> NonZero<u16> {
    let (bytes, mut hash, mut at) = (sentence.as_bytes(), 0x811C_9DC5u32, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    match NonZero::new((hash >> 16 ^ hash) as u16) {
        Some(code) => code,
        None => NonZero::<u16>::MIN,
    }
}

impl fmt::Display for Reason {
    #[cfg(feature = "sentences")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    #[cfg(not(feature = "sentences"))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reason {}", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, code_of};

    #[test]
    fn the_code_is_the_sentences() {
        // FNV-1a of "a" and "foobar": e40c292c, bf9cf968.
        assert_eq!(code_of("a").get(), 0xE40C ^ 0x292C);
        assert_eq!(code_of("foobar").get(), 0xBF9C ^ 0xF968);
        assert_eq!(Reason::new("foobar").code(), code_of("foobar").get());
    }
}
