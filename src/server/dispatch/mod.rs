//! Destinations of events: the application, a client's own thread, or the records of a pull.

pub(crate) mod pull;
pub(crate) mod sink;
