//! The answer engine: query bytes in, answer bytes out; no I/O, no clock, no allocation.
