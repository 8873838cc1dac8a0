//! Every setting of a server, its default and its range.
