//! What a client may ask for: paths, each with its application, and pages; and the request that asks.

pub(crate) mod deciding;
pub(crate) mod incoming_request;
pub(crate) mod own_paths;
pub(crate) mod page;
mod pairs;
pub(crate) mod paths;
mod patterns;
pub(crate) mod request;
mod text;
