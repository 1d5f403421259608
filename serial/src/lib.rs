#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "host"), no_std)]
#![forbid(unsafe_code)]

mod frame;
mod message;

mod machine;

mod link;

mod server;

mod slots;

#[cfg(feature = "host")]
mod client;

#[cfg(all(test, feature = "host"))]
mod tests;

#[cfg(feature = "host")]
pub use client::{Answer, Client, ClientError, Patience};
pub use frame::frame_len;
pub use link::{Closed, Link};
pub use machine::Machine;
pub use message::{Board, Entry, Identity, Refusal, Reply, Request, Room, Status, VERSION, Want};
pub use server::{Event, Fixed, Server, Store};
pub use slots::{Mapped, RECORD_LEN, Slots};
