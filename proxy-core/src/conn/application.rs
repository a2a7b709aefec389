//! An upstream that is a program behind FastCGI, SCGI or uwsgi: what its connection has beyond HTTP's.

use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::fastcgi::{Part, Records};
use crate::h1::body::{BodyDecoder, Decoded};

/// The reply of a program.
#[derive(Debug)]
pub(crate) enum Application {
    /// In FastCGI's records.
    FastCgi(Records, Vec<Remark>),
    /// As it is, until the connection closes.
    Plain,
}

/// What is to be logged of a reply's body.
#[derive(Debug)]
pub(crate) enum Remark {
    /// It wrote to standard error.
    Stderr(Chunk),
    /// More came than was announced.
    TooMuch,
}

impl Application {
    /// The records, where there are some.
    pub(crate) const fn records(&mut self) -> Option<&mut Records> {
        match self {
            Self::FastCgi(records, _) => Some(records),
            Self::Plain => None,
        }
    }

    /// What is to be logged by now.
    pub(crate) fn take_remarks(&mut self) -> Vec<Remark> {
        match self {
            Self::FastCgi(_, remarks) => core::mem::take(remarks),
            Self::Plain => Vec::new(),
        }
    }

    /// Decodes the next part of the body; the second value is whether the connection may be kept.
    pub(crate) fn decode(
        &mut self,
        decoder: &mut BodyDecoder,
        input: &mut Chunk,
    ) -> Result<(Decoded, bool), UpstreamError> {
        let Self::FastCgi(records, remarks) = self else { return Ok((decoder.decode(input)?, false)) };
        let decoded = match records.next_part(input)? {
            Part::NeedMore => Decoded::NeedMore,
            Part::Data(data) => Decoded::Data(data),
            Part::Stderr(text) => {
                remarks.push(Remark::Stderr(text));
                Decoded::NeedMore
            }
            Part::TooMuch => {
                remarks.push(Remark::TooMuch);
                *decoder = BodyDecoder::Ended;
                Decoded::End(Chunk::empty())
            }
            Part::End => {
                *decoder = BodyDecoder::Ended;
                Decoded::End(Chunk::empty())
            }
        };
        Ok((decoded, decoder.is_ended() && records.may_be_kept()))
    }
}
