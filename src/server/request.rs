//! The HTTP request of an opening handshake, as the application sees it.
