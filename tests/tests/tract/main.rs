//! Our files and our execution against tract. All such tests are one program, because tract links slowly.

mod branches;
mod file;
mod float;
mod int8;
mod naive;
mod networks;
mod zoo;
