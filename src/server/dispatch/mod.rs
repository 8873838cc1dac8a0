//! Where events go: to the application, to a client's own thread, or into the records of a pull.

pub mod pull;
pub mod sink;
