//! What pluto and the process that runs updown commands say to each other: a length of four octets, and that many octets of
//! texts, each ended by a NUL, which none of them can hold.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Outcome;
use crate::engine::UpdownStatus;

/// More than any command with its variables, or any output that is kept.
const MAX_FRAME: u32 = 1 << 20;

/// A command to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The answer has the same.
    pub id: u64,
    /// For `/bin/sh -c`.
    pub command: String,
    /// The variables.
    pub env: Vec<(String, String)>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's.
    pub id: u64,
    /// The outcome.
    pub outcome: Outcome,
}

impl Request {
    /// As it goes over the socket.
    pub fn encode(&self) -> Vec<u8> {
        let id = self.id.to_string();
        let env = self.env.iter().flat_map(|(name, value)| [name, value]);
        frame([&id, &self.command].into_iter().chain(env))
    }

    /// From a frame's texts.
    pub fn decode(texts: &[String]) -> Option<Self> {
        let (head, env) = texts.split_first_chunk::<2>()?;
        let pairs = env.chunks_exact(2);
        pairs.remainder().is_empty().then_some(())?;
        Some(Self {
            id: head[0].parse().ok()?,
            command: head[1].clone(),
            env: pairs.map(|p| (p[0].clone(), p[1].clone())).collect(),
        })
    }
}

impl Answer {
    /// As it goes over the socket.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text) = match &self.outcome.status {
            UpdownStatus::Exited(code) => ("exited", code.to_string()),
            UpdownStatus::Signalled(signal) => ("signalled", signal.to_string()),
            UpdownStatus::NotStarted(why) => ("not started", why.clone()),
        };
        let (id, kind) = (self.id.to_string(), kind.to_owned());
        frame([&id, &kind, &text].into_iter().chain(&self.outcome.output))
    }

    /// From a frame's texts.
    pub fn decode(texts: &[String]) -> Option<Self> {
        let ([id, kind, text], output) = texts.split_first_chunk::<3>()?;
        let status = match kind.as_str() {
            "exited" => UpdownStatus::Exited(text.parse().ok()?),
            "signalled" => UpdownStatus::Signalled(text.parse().ok()?),
            "not started" => UpdownStatus::NotStarted(text.clone()),
            _ => return None,
        };
        let output = output.to_vec();
        Some(Self {
            id: id.parse().ok()?,
            outcome: Outcome { output, status },
        })
    }
}

fn frame<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let mut frame = vec![0; 4];
    for text in texts {
        // A NUL can't be passed to a program anyway.
        frame.extend(text.bytes().filter(|octet| *octet != 0));
        frame.push(0);
    }
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The texts of the next frame; `None` when the other side has ended, or sends what is no frame.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<String>> {
    let length = from.read_u32().await.ok()?;
    if length > MAX_FRAME {
        return None;
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await.ok()?;
    let body = body.strip_suffix(&[0])?;
    let texts = body.split(|octet| *octet == 0);
    Some(
        texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_as_they_were() {
        let request = Request {
            id: 7,
            command: "ipsec _updown".into(),
            env: vec![
                ("PLUTO_VERB".into(), "up-client".into()),
                ("PLUTO_MY_PROTOCOL".into(), String::new()),
            ],
        };
        let answers = [
            (vec![], UpdownStatus::Exited(0)),
            (
                vec!["a line".into(), String::new()],
                UpdownStatus::Signalled(9),
            ),
            (vec![], UpdownStatus::NotStarted("no such file".into())),
        ];
        let texts = read(&mut request.encode().as_slice()).await.unwrap();
        assert_eq!(Request::decode(&texts), Some(request));
        for (output, status) in answers {
            let outcome = Outcome { output, status };
            let answer = Answer {
                id: u64::MAX,
                outcome,
            };
            let texts = read(&mut answer.encode().as_slice()).await.unwrap();
            assert_eq!(Answer::decode(&texts), Some(answer));
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 2, b'x', b'y'],
            &[0xff, 0, 0, 0, 0],
            &[0, 0, 0, 9, 0],
        ] {
            assert_eq!(read(&mut &bad[..]).await, None, "{bad:?}");
        }
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        for bad in [&[][..], &["1"], &["x", "true"], &["1", "true", "NAME"]] {
            assert_eq!(Request::decode(&texts(bad)), None, "{bad:?}");
        }
        for bad in [
            &["1", "exited"][..],
            &["1", "exited", "x"],
            &["1", "left", "0"],
        ] {
            assert_eq!(Answer::decode(&texts(bad)), None, "{bad:?}");
        }
    }
}
