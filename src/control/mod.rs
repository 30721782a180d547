//! The only writer of snapshots: files, health checks, capacity reports and the operator's
//! overrides come in, and snapshots go out.

pub mod capacity;
pub mod overrides;
pub mod publish;
pub mod settings;

pub use capacity::{Report, ReportSource, ReportStatus};
pub use overrides::{Action, Override, Target};
pub use settings::{ReportSettings, Settings};
