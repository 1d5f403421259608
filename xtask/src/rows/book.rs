//! The documents as a book.

use super::Context;
use crate::generate;
use crate::shell::Failure;

pub(super) fn book(context: &Context) -> Result<String, Failure> {
    generate::test(&context.root)?;
    generate::run(&context.root, "book").map(|made| made.trim_end().to_owned())
}
