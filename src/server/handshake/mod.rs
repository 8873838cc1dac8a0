//! What a client may ask for: paths, each with its application, and pages; and the request that asks.

pub mod page;
pub mod paths;
pub mod request;
