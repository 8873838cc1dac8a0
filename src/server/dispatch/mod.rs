//! Where events go: to the application, to a client's own thread, or into the records of a pull.

pub(crate) mod pull;
pub(crate) mod sink;
