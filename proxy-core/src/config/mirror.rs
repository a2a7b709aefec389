//! `mirror`: copies of a request whose replies nobody looks at.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// The `mirror` family.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// The URIs that the copies ask for.
    pub uris: Box<[Arc<[u8]>]>,
    /// `mirror_request_body`: the request's body is read first, and goes along.
    pub request_body: bool,
}
