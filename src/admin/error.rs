//! What the API says when it cannot do what was asked.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Why a call failed: a status, and `{"error": …, "help": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub said: Said,
}

/// The body of a failed call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What is wrong.
    pub error: String,
    /// What was expected, or a way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl ApiError {
    /// A failure with `status`.
    pub fn new(status: StatusCode, error: impl Into<String>) -> ApiError {
        ApiError { status, said: Said { error: error.into(), help: None } }
    }

    /// 400: the call makes no sense.
    pub fn bad_request(error: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, error)
    }

    /// 404: there is no such thing.
    pub fn not_found(error: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, error)
    }

    /// The same with a way out.
    pub fn help(mut self, help: impl Into<String>) -> ApiError {
        self.said.help = Some(help.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        // A line of its own, for whoever reads it on a terminal.
        let said = serde_json::json!(self.said).to_string() + "\n";
        let mut response = (self.status, kind, said).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
