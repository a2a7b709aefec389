//! The rewrite module: changing the URI, answering at once, conditions.

use proxy_core::config::RewriteOp;

use super::{Arity as A, Body, Contexts as C, Entry, store};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "rewrite_log",
        C::HTTP.or(C::REWRITE),
        A::FLAG,
        "Whether each try of a regex and each rewritten URI is logged, as a notice. Default: off.",
    )
    .core(|level, call| store(&mut level.rewrite_log, call.first().flag())),
    Entry::new(
        "uninitialized_variable_warn",
        C::HTTP.or(C::REWRITE),
        A::FLAG,
        "Whether it is logged that a variable is asked for before `set` has given it a value. Default: on.",
    )
    .core(|level, call| store(&mut level.uninitialized_variable_warn, call.first().flag())),
    Entry::new(
        "rewrite",
        C::REWRITE,
        A::TWO_THREE,
        "Replaces a URI that matches a regex; flags last, break, redirect, permanent.",
    )
    .own(|own, call| {
        let op = lower::rewrite::rewrite(call)?;
        own.rewrite.push(call.line(op));
        Ok(())
    })
    .repeats(),
    Entry::new("return", C::REWRITE, A::ONE_TWO, "Answers at once with a status and a text or URL.")
        .own(|own, call| {
            let op = lower::rewrite::return_directive(call)?;
            own.rewrite.push(call.line(op));
            Ok(())
        })
        .repeats(),
    Entry::new("break", C::REWRITE, A::NONE, "Ends the rewrite directives of this level.")
        .own(|own, call| {
            own.rewrite.push(call.line(RewriteOp::Break));
            Ok(())
        })
        .repeats(),
    Entry::new("set", C::REWRITE, A::TWO, "Gives a variable a value.")
        .own(|own, call| {
            let op = lower::rewrite::set(call)?;
            own.rewrite.push(call.line(op));
            Ok(())
        })
        .repeats(),
    Entry::new("if", C::SERVER, A::MORE1, "Directives for requests that meet a condition.")
        .structure()
        .with_body(Body::Block(C::SERVER_IF))
        .repeats(),
    Entry::new("if", C::LOCATION, A::MORE1, "Settings for requests that meet a condition.")
        .structure()
        .with_body(Body::Block(C::LOCATION_IF))
        .repeats(),
];
