//! What pluto sends back to a client, one frame each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rc::Rc;

/// One frame from pluto.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Reply {
    /// A line to show, printed as `NNN text`.
    Line {
        /// The reply code, see [`Rc::code`].
        code: u16,
        /// The text, without an end of line.
        text: String,
    },
    /// The last frame: the request is finished.
    Exit {
        /// The exit status that the lines add up to, see [`crate::ExitStatus`].
        status: u8,
    },
}

impl Reply {
    /// A line with a code.
    pub fn line(rc: Rc, text: impl Into<String>) -> Reply {
        Reply::Line {
            code: rc.code(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Line { code, text } => write!(f, "{code:03} {text}"),
            Reply::Exit { status } => write!(f, "exit status {status}"),
        }
    }
}
