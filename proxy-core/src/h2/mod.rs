//! HTTP/2 (RFC 9113) and its field compression (RFC 7541).
//!
//! The leaf machines know nothing of a connection and are tested alone; read them in this order:
//! 1. [`frame`]: frame heads in and out, the payloads that have a form;
//! 2. [`huffman`], [`table`], [`decode`], [`encode`]: HPACK, both ways, with bounded tables;
//! 3. [`head`], [`response`] and `trailers`: decoded fields to the head of a request or a reply, or to the lines behind
//!    its body, as HTTP/1 would have sent them;
//! 4. [`reader`]: the byte stream cut into frames;
//! 5. [`flood`]: what a peer may do that costs it little and us something, each with a named limit.
//!
//! A client's connection puts them together: [`stream`], then [`conn`] with its halves [`input`] and [`output`]; so does
//! an upstream's: [`trunk`]. The exchanges on them know none of this: each speaks to a link as if it had a connection
//! for itself; see `conn/port.rs`.

pub(crate) mod conn;
pub mod decode;
pub mod encode;
pub mod flood;
pub mod frame;
pub mod head;
pub mod huffman;
mod input;
mod output;
pub mod reader;
pub mod response;
pub(crate) mod stream;
pub mod table;
mod trailers;
pub(crate) mod trunk;

/// What ends a stream or a connection (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorCode {
    /// Nothing went wrong.
    NoError = 0,
    /// A rule of the protocol was broken.
    Protocol = 1,
    /// We failed.
    Internal = 2,
    /// More was sent than the window allows.
    FlowControl = 3,
    /// SETTINGS were not acknowledged.
    SettingsTimeout = 4,
    /// A frame came for a stream that was closed for it.
    StreamClosed = 5,
    /// A frame has a size that it cannot have.
    FrameSize = 6,
    /// The stream was not processed at all.
    RefusedStream = 7,
    /// The stream is not wanted any more.
    Cancel = 8,
    /// The compression state is lost.
    Compression = 9,
    /// The connection behind CONNECT broke.
    Connect = 10,
    /// The peer makes work for nothing.
    EnhanceYourCalm = 11,
}
