//! What a primary may do to us, played by a primary of the test's own.
