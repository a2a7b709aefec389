//! Strings with variables in them, compiled at load.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Variable;

/// A string made of literal and variable pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Literal(Arc<[u8]>),
    /// Whatever the variable holds then.
    Variable(Variable),
}

impl Template {
    /// Joins neighbouring literals and drops empty ones.
    #[must_use]
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (_, Piece::Literal(bytes)) if bytes.is_empty() => {}
                (Some(Piece::Literal(last)), Piece::Literal(bytes)) => {
                    *last = [last, &bytes[..]].concat().into();
                }
                (_, piece) => joined.push(piece),
            }
        }
        Self { pieces: joined.into() }
    }

    /// A string without variables.
    #[must_use]
    pub fn literal(bytes: &[u8]) -> Self {
        Self::new([Piece::Literal(bytes.into())])
    }

    /// The pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The whole string, if it holds no variables.
    #[must_use]
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(&[]),
            [Piece::Literal(bytes)] => Some(bytes),
            _ => None,
        }
    }
}
