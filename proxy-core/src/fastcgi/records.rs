//! A FastCGI reply: records in, a head and a body out.
//!
//! The head is gathered from as many records as it takes, and standard error is handed out as it comes, between them. The
//! body ends where nginx sees its end: with the end of the request where the connection is to be kept, and where it is
//! not, with the end of standard output already.

use alloc::vec::Vec;

use super::head::{CgiLimits, parse_cgi_head};
use super::{Event, Fault, Reader};
use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::h1::Parsed;
use crate::http::{Field, ResponseHead};

/// What a look for the head found.
#[derive(Debug)]
pub enum Found {
    /// Not yet all of it.
    Partial,
    /// What the application wrote to standard error.
    Stderr(Chunk),
    /// The head.
    Head(ResponseHead),
}

/// What of the body was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing yet.
    NeedMore,
    /// Bytes of the body.
    Data(Chunk),
    /// What the application wrote to standard error.
    Stderr(Chunk),
    /// More came than was announced: the rest is not looked at.
    TooMuch,
    /// The reply is whole.
    End,
}

/// The reply to one request.
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    keep_conn: bool,
    /// The beginning of a head.
    head: Vec<u8>,
    /// What is missing of the announced body, in bytes.
    rest: Option<u64>,
    /// More than that has come.
    excess: bool,
    over: bool,
}

impl Records {
    /// For a request that asked to keep the connection, or did not.
    #[must_use]
    pub fn new(keep_conn: bool) -> Self {
        Self {
            reader: Reader::default(),
            keep_conn,
            head: Vec::new(),
            rest: None,
            excess: false,
            over: false,
        }
    }

    /// Looks for the head. To be asked again after [`Found::Stderr`].
    ///
    /// # Errors
    /// What the record or the head is, that it may not be.
    pub fn read_head(
        &mut self,
        input: &mut Chunk,
        fields: &mut Vec<Field>,
        limits: &CgiLimits,
    ) -> Result<Found, UpstreamError> {
        loop {
            let before = input.clone();
            let Some(event) = self.reader.next_event(input)? else { return Ok(Found::Partial) };
            let part = match event {
                Event::Stdout(part) => part,
                Event::Stderr(part) => return Ok(Found::Stderr(part)),
                Event::StdoutEnd => return Err(Fault::StdoutClosed.into()),
                Event::Ending | Event::End => return Err(Fault::Unexpected(3).into()),
            };
            if let Some((head, behind)) = self.add_to_head(part, fields, limits)? {
                // What is behind the head is the body's.
                let start = before.len() - input.len() - behind;
                *input = before.slice(start..before.len());
                self.reader.give_back(behind);
                return Ok(Found::Head(head));
            }
        }
    }

    /// The head, once it is whole, and how much of this part is behind it.
    fn add_to_head(
        &mut self,
        part: Chunk,
        fields: &mut Vec<Field>,
        limits: &CgiLimits,
    ) -> Result<Option<(ResponseHead, usize)>, UpstreamError> {
        let mut whole = part;
        if !self.head.is_empty() {
            // No head can become whole without a line end, or too big before its bound.
            let blind = memchr::memchr(b'\n', &whole).is_none();
            self.head.extend_from_slice(&whole);
            if blind && self.head.len() < limits.total_bytes_max {
                return Ok(None);
            }
            whole = Chunk::from_vec(core::mem::take(&mut self.head));
        }
        match parse_cgi_head(&whole, fields, limits)? {
            Parsed::Partial => {
                self.head.extend_from_slice(&whole);
                Ok(None)
            }
            Parsed::Complete { head, len } => Ok(Some((head, whole.len() - len))),
        }
    }

    /// The head was understood: so long is the body, where that is known.
    pub const fn expect_body(&mut self, bytes: Option<u64>) {
        self.rest = bytes;
    }

    /// The next part of the body.
    ///
    /// # Errors
    /// What the record is, that it may not be; a body that is shorter than it was announced.
    pub fn next_part(&mut self, input: &mut Chunk) -> Result<Part, Fault> {
        if self.over {
            return Ok(Part::End);
        }
        if core::mem::take(&mut self.excess) {
            self.over = true;
            return Ok(Part::TooMuch);
        }
        let missing = self.rest.is_some_and(|rest| rest > 0);
        while let Some(event) = self.reader.next_event(input)? {
            match event {
                Event::Stdout(part) => return Ok(self.count(part)),
                Event::Stderr(part) => return Ok(Part::Stderr(part)),
                Event::StdoutEnd if missing => return Err(Fault::StdoutClosed),
                Event::Ending if missing => return Err(Fault::RequestClosed),
                Event::StdoutEnd | Event::Ending if self.keep_conn => {}
                Event::StdoutEnd | Event::Ending | Event::End => {
                    self.over = true;
                    return Ok(Part::End);
                }
            }
        }
        Ok(Part::NeedMore)
    }

    /// Counts a part of the body, and leaves out what is more than was announced.
    fn count(&mut self, mut part: Chunk) -> Part {
        let Some(rest) = &mut self.rest else { return Part::Data(part) };
        if *rest == 0 {
            self.over = true;
            return Part::TooMuch;
        }
        let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(part.len());
        self.excess = taken < part.len();
        *rest -= taken as u64;
        part.truncate(taken);
        Part::Data(part)
    }

    /// Whether the connection may serve another request: it was asked to, and the request was ended.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        self.keep_conn && self.reader.is_ended()
    }
}
