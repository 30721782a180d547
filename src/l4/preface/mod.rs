//! What a client's side says before its connection goes on to a backend: whom it stands for (the
//! PROXY protocol), and which server it asks for (TLS).

pub mod client_hello;
mod hello;
pub mod proxy_header;
mod proxy_v2;
mod routes;

pub use hello::{Awaited, Hello, Preface, Progress};
pub use proxy_header::{Endpoints, Header};
pub use routes::Routes;
