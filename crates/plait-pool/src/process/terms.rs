//! On which terms a task is run.

use std::time::Duration;

/// What somebody asked for who submitted a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long an attempt may take, from its begin on.
    pub timeout: Option<Duration>,
    /// How long a task that is stopped has to end by itself.
    pub grace: Duration,
    /// How often to try again.
    pub retries: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { timeout: None, grace: Duration::from_millis(200), retries: 0 }
    }
}
