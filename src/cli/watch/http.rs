//! Answers to a browser on this machine. Only a request to the very address, token included, gets a page.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// The longest head of a request.
const LONGEST: u64 = 16 * 1024;
/// The time that a browser has to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server on an address that cannot be guessed.
pub struct Server {
    listener: TcpListener,
    port: u16,
    token: String,
}

/// What a browser asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The page.
    Page,
    /// The part of the page that changes, if it is not the one with this mark.
    Update(String),
    /// Nothing that is here; the status of the answer.
    Refused(u16),
}

/// The text that changes and its mark.
pub struct Answer {
    pub mark: String,
    pub text: String,
}

impl Server {
    /// Listens on the loopback address alone; port 0 is any free one.
    ///
    /// # Errors
    /// Ports that are taken.
    pub fn new(port: u16) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(Server {
            port: listener.local_addr()?.port(),
            listener,
            token: token()?,
        })
    }

    /// The address for a browser.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Answers requests until `stop` says so. `answer` makes the page or the part of it.
    ///
    /// # Errors
    /// Those of the listener; a browser that goes away is none.
    pub fn serve(
        &self,
        stop: impl Fn() -> bool,
        mut answer: impl FnMut(&Request) -> Answer,
    ) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        while !stop() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // Whatever a browser does is its own affair.
                    let _ = self.one(stream, &mut answer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn one(
        &self,
        mut stream: TcpStream,
        answer: &mut impl FnMut(&Request) -> Answer,
    ) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = Vec::new();
        for line in BufReader::new((&stream).take(LONGEST)).split(b'\n') {
            let line = line?;
            if line == b"\r" || line.is_empty() {
                break;
            }
            head.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        let request = self.read(&head);
        let (status, kind, answer) = match &request {
            Request::Refused(status) => {
                let text =
                    "Not here. The address of the page is the one that `bpmc watch` printed.\n";
                let text = text.to_owned();
                (
                    *status,
                    "text/plain",
                    Answer {
                        mark: String::new(),
                        text,
                    },
                )
            }
            Request::Page => (200, "text/html", answer(&request)),
            Request::Update(mark) => {
                let new = answer(&request);
                let status = if new.mark == *mark { 304 } else { 200 };
                (status, "text/html", new)
            }
        };
        let text = if status == 304 { "" } else { &answer.text };
        // The page is its own: no other page may show it, and it loads nothing from elsewhere.
        write!(
            stream,
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nETag: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             X-Frame-Options: DENY\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'\r\n\
             Connection: close\r\n\r\n{text}",
            word(status),
            text.len(),
            answer.mark,
        )?;
        stream.flush()
    }

    /// What the head of a request asks for.
    fn read(&self, head: &[String]) -> Request {
        let first = head.first().map_or("", String::as_str);
        let words: Vec<&str> = first.split(' ').collect();
        let ["GET", path, version] = words.as_slice() else {
            return Request::Refused(400);
        };
        let header = |name: &str| {
            let mut headers = head[1..].iter().filter_map(|line| line.split_once(':'));
            let found = headers.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim())
        };
        // A page elsewhere can point a name of its own at this machine, but the browser then sends that name.
        let own = [
            format!("127.0.0.1:{}", self.port),
            format!("localhost:{}", self.port),
        ];
        let host = header("Host").unwrap_or("");
        if !version.starts_with("HTTP/1.") || !own.iter().any(|own| own == host) {
            return Request::Refused(403);
        }
        let Some(rest) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Request::Refused(404);
        };
        if !same(rest.0, &self.token) {
            return Request::Refused(403);
        }
        match rest.1 {
            "" => Request::Page,
            "update" => Request::Update(header("If-None-Match").unwrap_or("").to_owned()),
            _ => Request::Refused(404),
        }
    }
}

/// Compares texts in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differences = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

fn word(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        _ => "Not Found",
    }
}

/// 128 random bits from the system.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    let source = std::fs::File::open("/dev/urandom");
    source
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| {
            io::Error::other(format!(
                "no random numbers for the address from /dev/urandom: {error}"
            ))
        })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_address_gets_a_page() {
        let server = Server::new(0).unwrap();
        let (port, token) = (server.port, server.token.clone());
        assert_eq!(token.len(), 32);
        assert_ne!(token, Server::new(0).unwrap().token);
        let ask =
            |first: &str, host: &str| server.read(&[first.to_owned(), format!("Host: {host}")]);
        let host = format!("127.0.0.1:{port}");
        let page = format!("GET /{token}/ HTTP/1.1");
        assert_eq!(ask(&page, &host), Request::Page);
        assert_eq!(ask(&page, &format!("localhost:{port}")), Request::Page);
        for foreign in [
            "evil.example",
            "127.0.0.1",
            "",
            &format!("127.0.0.1.evil.example:{port}"),
        ] {
            assert_eq!(ask(&page, foreign), Request::Refused(403), "{foreign}");
        }
        let wrong = format!("GET /{}/ HTTP/1.1", "0".repeat(32));
        assert_eq!(ask(&wrong, &host), Request::Refused(403));
        assert_eq!(ask("GET // HTTP/1.1", &host), Request::Refused(403));
        assert_eq!(ask("GET / HTTP/1.1", &host), Request::Refused(404));
        assert_eq!(
            ask(&format!("GET /{token}/../x HTTP/1.1"), &host),
            Request::Refused(404)
        );
        assert_eq!(
            ask(&format!("POST /{token}/ HTTP/1.1"), &host),
            Request::Refused(400)
        );
        assert_eq!(server.read(&[]), Request::Refused(400));
        let head = [
            format!("GET /{token}/update HTTP/1.1"),
            format!("host: {host}"),
            "If-None-Match: 7".to_owned(),
        ];
        assert_eq!(server.read(&head), Request::Update("7".to_owned()));
    }
}
