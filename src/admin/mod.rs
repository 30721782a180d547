//! The window: API, metrics, page, explain.
