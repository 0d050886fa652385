//! HTTP/1.1 as far as it takes to hand requests and answers on as they are.

use std::io::{Error, ErrorKind::UnexpectedEof, Result};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// First line and headers of a request or an answer.
#[derive(Debug)]
pub(super) struct Head {
    lines: Vec<String>,
}

impl Head {
    /// The next one; none where the other side is through.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).await? == 0 {
                return if lines.is_empty() { Ok(None) } else { Err(UnexpectedEof.into()) };
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Some(Self { lines }));
            }
            lines.push(line.to_owned());
        }
    }

    pub(super) fn start(&self) -> &str {
        self.lines.first().map(String::as_str).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = self.lines.join("\r\n");
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// What follows it, as it came over the wire.
    pub(super) async fn body(&self, from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_chunked() {
            while chunk(from, &mut bytes).await? {}
            return Ok(bytes);
        }
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        bytes.resize(length, 0);
        from.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
}

/// Reads one chunk with its frame; `false` after the last one.
async fn chunk(from: &mut (impl AsyncBufRead + Unpin), bytes: &mut Vec<u8>) -> Result<bool> {
    let start = bytes.len();
    from.read_until(b'\n', bytes).await?;
    let line = String::from_utf8_lossy(&bytes[start..]).trim().to_owned();
    let size = usize::from_str_radix(&line, 16).map_err(Error::other)?;
    let start = bytes.len();
    bytes.resize(start + size + b"\r\n".len(), 0);
    from.read_exact(&mut bytes[start..]).await?;
    Ok(size > 0)
}

/// Hands chunks on as they come, until the last one.
pub(super) async fn hand_on(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    loop {
        let mut bytes = Vec::new();
        let more = chunk(from, &mut bytes).await?;
        send(to, &bytes).await?;
        if !more {
            return Ok(());
        }
    }
}

pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
