//! Why a node cannot be read.

use crate::{GraphError, ImportError};

/// Why a node cannot be read: a reason that is yet to be told together with the node's name, or a whole error.
#[derive(Debug)]
pub(super) enum Failure {
    Reason(String),
    Error(ImportError),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Failure::Reason(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Failure::Reason(reason.into())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Failure::Error(error)
    }
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Failure::Error(error.into())
    }
}

impl Failure {
    /// The error of the node `name`.
    pub(super) fn of(self, name: &str, op: &str) -> ImportError {
        match self {
            Failure::Error(error) => error,
            Failure::Reason(reason) => ImportError::Unsupported { node: name.into(), op: op.into(), reason },
        }
    }
}
