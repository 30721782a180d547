//! The DNS sockets.
