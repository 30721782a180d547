//! The files: their shape, their errors, and what they compile to.
