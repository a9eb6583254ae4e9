//! One request and its answer, over and over on one connection.

use crate::Result;

/// What is sent, and when the answer is whole.
pub(crate) trait Exchange {
    fn request(&self) -> &[u8];

    /// Take some of the answer; true when it is whole.
    fn take(&mut self, bytes: &[u8]) -> Result<bool>;
}

/// The answer is the request.
pub(crate) struct Echo {
    message: Vec<u8>,
    seen: usize,
}

impl Echo {
    /// A message that differs from connection to connection and from place to place.
    pub(crate) fn new(connection: usize, size: usize) -> Self {
        let mut state = (connection as u32).wrapping_mul(0x9e37_79b9) | 1;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        Self { message: (0..size).map(|_| byte()).collect(), seen: 0 }
    }
}

impl Exchange for Echo {
    fn request(&self) -> &[u8] {
        &self.message
    }

    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let end = self.seen + bytes.len();
        if self.message.get(self.seen..end) != Some(bytes) {
            return Err("the server sent back something else".into());
        }
        self.seen = if end == self.message.len() { 0 } else { end };
        Ok(self.seen == 0)
    }
}

/// `GET /` over HTTP/1.1, the connection kept alive.
pub(crate) struct Http {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Http {
    pub(crate) fn new(port: u16) -> Self {
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes();
        Self { request, answer: Vec::new() }
    }

    /// How long the answer is, once its head is there.
    fn length(&self) -> Result<Option<usize>> {
        let Some(head) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.answer[..head])?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or("");
        if !status.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the server answered {status:?}").into());
        }
        let value = lines
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case("content-length").then(|| value.trim()))
            .ok_or("the server's answer has no length")?;
        let body: usize = value.parse()?;
        if body == 0 {
            return Err("the server's answer is empty".into());
        }
        Ok(Some(head + 4 + body))
    }
}

impl Exchange for Http {
    fn request(&self) -> &[u8] {
        &self.request
    }

    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        self.answer.extend_from_slice(bytes);
        let Some(length) = self.length()? else { return Ok(false) };
        if self.answer.len() > length {
            return Err("the server's answer is longer than it said".into());
        }
        let whole = self.answer.len() == length;
        if whole {
            self.answer.clear();
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_comes_in_pieces() {
        let mut echo = Echo::new(3, 10);
        let message = echo.request().to_vec();
        for _ in 0..2 {
            assert!(!echo.take(&message[..4]).unwrap());
            assert!(echo.take(&message[4..]).unwrap());
        }
    }

    #[test]
    fn another_echo_is_an_error() {
        let mut echo = Echo::new(3, 10);
        let mut message = echo.request().to_vec();
        message[9] ^= 1;
        assert!(!echo.take(&message[..9]).unwrap());
        assert!(echo.take(&message[9..]).is_err());
        assert_ne!(Echo::new(4, 10).request(), Echo::new(3, 10).request());
    }

    #[test]
    fn more_than_the_echo_is_an_error() {
        let mut echo = Echo::new(3, 10);
        let twice = echo.request().repeat(2);
        assert!(echo.take(&twice).is_err());
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        let mut http = Http::new(80);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello";
        for _ in 0..2 {
            for byte in &answer[..answer.len() - 1] {
                assert!(!http.take(&[*byte]).unwrap());
            }
            assert!(http.take(b"o").unwrap());
        }
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        for answer in [
            "HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
        ] {
            assert!(Http::new(80).take(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
