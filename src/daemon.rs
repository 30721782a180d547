//! Builds the floors bottom-up, runs them, and stops them top-down.
