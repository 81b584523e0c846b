//! Lines of bytes from anywhere, none of them longer than a limit.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Bytes of a line at most; the longest honest call carries a few thousand paths.
const LONGEST: usize = 4 << 20;

/// A line of input, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// It was passed over.
    TooLong {
        /// What it exceeds.
        limit: usize,
    },
}

/// Lines of an input.
pub(super) struct Lines<R> {
    input: R,
    longest: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(input: R) -> Lines<R> {
        Lines {
            input,
            longest: LONGEST,
        }
    }

    /// The next line; `None` at the end of input, or when it can no longer be read.
    pub async fn next(&mut self) -> Option<Line> {
        let mut line = Vec::new();
        let mut bytes = 0;
        loop {
            let ready = match self.input.fill_buf().await {
                Ok(ready) => ready,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!("the input can no longer be read: {error}");
                    return None;
                }
            };
            let end = ready.iter().position(|&byte| byte == b'\n');
            let part = &ready[..end.unwrap_or(ready.len())];
            if bytes + part.len() <= self.longest {
                line.extend_from_slice(part);
            }
            bytes += part.len();
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            let ended = taken == 0;
            if end.is_none() && !ended {
                continue;
            }
            return match bytes {
                0 if ended => None,
                _ if bytes > self.longest => Some(Line::TooLong {
                    limit: self.longest,
                }),
                _ => Some(Line::Whole(line)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    async fn lines(input: &[u8], buffer: usize, longest: usize) -> Vec<Line> {
        let mut lines = Lines {
            input: BufReader::with_capacity(buffer, input),
            longest,
        };
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_are_passed_over() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        let long = Line::TooLong { limit: 5 };
        for buffer in [1, 3, 64] {
            assert_eq!(
                lines(b"ab\n\n123456\n12345\nrest", buffer, 5).await,
                [
                    whole("ab"),
                    whole(""),
                    Line::TooLong { limit: 5 },
                    whole("12345"),
                    whole("rest")
                ]
            );
            assert_eq!(lines(b"", buffer, 5).await, []);
            assert_eq!(lines(b"a\n", buffer, 5).await, [whole("a")]);
            assert_eq!(
                lines(b"1234567", buffer, 5).await,
                std::slice::from_ref(&long)
            );
        }
    }
}
