//! Frames on the control socket: u32 big-endian length, then that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Invalid, Reply, Request};

/// Most bytes that a frame may hold after its length.
pub const MAX_FRAME: usize = 65_536;

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The length is zero or beyond [`MAX_FRAME`].
    #[error("frame of {0} bytes: from 1 to {MAX_FRAME} are allowed")]
    Length(usize),
    /// The content is not what was expected.
    #[error("bad message, field {field}: {problem}")]
    Json {
        /// Where in the message.
        field: String,
        /// What is wrong there.
        problem: String,
    },
    /// A value is beyond its limits.
    #[error("bad message, field {0}")]
    Invalid(#[from] Invalid),
}

/// A frame, length included, of a request or a reply.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(|e| FrameError::Json {
        field: ".".into(),
        problem: e.to_string(),
    })?;
    let len = frame.len() - 4;
    if len > MAX_FRAME {
        return Err(FrameError::Length(len));
    }
    frame[..4].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(frame)
}

/// The length that a frame's first four bytes announce, if allowed.
pub fn announced_len(head: [u8; 4]) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(head) as usize;
    if len == 0 || len > MAX_FRAME {
        Err(FrameError::Length(len))
    } else {
        Ok(len)
    }
}

/// A request out of a frame's content (after the length), with all its values checked.
pub fn decode_request(content: &[u8]) -> Result<Request, FrameError> {
    let request: Request = decode(content)?;
    request.validate()?;
    Ok(request)
}

/// A reply out of a frame's content (after the length).
pub fn decode_reply(content: &[u8]) -> Result<Reply, FrameError> {
    decode(content)
}

fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T, FrameError> {
    if content.len() > MAX_FRAME {
        return Err(FrameError::Length(content.len()));
    }
    let json = |field: String, problem: String| FrameError::Json { field, problem };
    let mut from = serde_json::Deserializer::from_slice(content);
    let message = serde_path_to_error::deserialize(&mut from)
        .map_err(|e| json(e.path().to_string(), e.inner().to_string()))?;
    from.end().map_err(|e| json(".".into(), e.to_string()))?;
    Ok(message)
}

/// Reads one frame's content, blocking; None at an orderly end of the stream.
pub fn read(from: &mut impl Read) -> Result<Option<Vec<u8>>, FrameError> {
    let mut head = [0; 4];
    let mut have = 0;
    while have < head.len() {
        match from.read(&mut head[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut content = vec![0; announced_len(head)?];
    from.read_exact(&mut content)?;
    Ok(Some(content))
}

/// Writes one frame, blocking.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    to.write_all(&encode(message)?)?;
    Ok(())
}
