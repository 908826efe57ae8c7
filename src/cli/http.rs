//! Answers to a browser on this machine. Only a request to the very address, token included, gets a page.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

/// The longest head of a request.
const LONGEST: u64 = 16 * 1024;
/// The time that a browser has to ask, and again to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most connections at a time; others wait.
const MOST: usize = 64;
/// The time between looks at new connections.
const PAUSE: Duration = Duration::from_millis(50);

/// A server on an address that cannot be guessed.
pub struct Server {
    listener: TcpListener,
    place: Arc<Place>,
}

/// The address of the page.
struct Place {
    port: u16,
    token: String,
}

/// A request that was read, and the way back for its answer.
type Asked = (Request, mpsc::Sender<Option<Answer>>);

/// What a browser asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The path under the address; nothing for the address itself.
    pub path: String,
    /// The mark of the answer that the browser has.
    pub mark: String,
}

/// A text for a browser.
pub struct Answer {
    /// Its kind, such as `text/html`.
    pub kind: &'static str,
    /// A mark in quotes that changes with the text.
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
        let place = Place {
            port: listener.local_addr()?.port(),
            token: token()?,
        };
        Ok(Server {
            listener,
            place: Arc::new(place),
        })
    }

    /// The address for a browser.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.place.port, self.place.token)
    }

    /// Answers requests until `stop` says so. `answer` makes the text of a path; `None` where nothing is.
    ///
    /// # Errors
    /// Those of the listener; a browser that goes away is none.
    pub fn serve(
        &self,
        stop: impl Fn() -> bool,
        mut answer: impl FnMut(&Request) -> Option<Answer>,
    ) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        // Each connection has a thread: one that is silent keeps nobody waiting. The pages are made here, one at a time.
        let (ask, asked) = mpsc::channel::<Asked>();
        let open = Arc::new(());
        while !stop() {
            while Arc::strong_count(&open) <= MOST {
                match self.listener.accept() {
                    Ok((stream, _)) => {
                        let (place, ask, open) = (self.place.clone(), ask.clone(), open.clone());
                        std::thread::spawn(move || {
                            // Whatever a browser does is its own affair.
                            let _ = place.one(stream, &ask);
                            drop(open);
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if let Ok((request, back)) = asked.recv_timeout(PAUSE) {
                let made = answer(&request);
                // The browser may have gone away.
                let _ = back.send(made);
            }
        }
        Ok(())
    }
}

impl Place {
    /// Serves a connection; `ask` leads to the maker of the page.
    fn one(&self, mut stream: TcpStream, ask: &mpsc::Sender<Asked>) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = Vec::new();
        let patient = Patient {
            stream: &stream,
            end: Instant::now() + PATIENCE,
        };
        for line in BufReader::new(patient.take(LONGEST)).split(b'\n') {
            let line = line?;
            if line == b"\r" || line.is_empty() {
                break;
            }
            head.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        // Without an answer, the server is about to end.
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let answer = |request: Request| {
            let (back, made) = mpsc::channel();
            ask.send((request, back)).map_err(|_| gone())?;
            made.recv().map_err(|_| gone())
        };
        let (status, answer) = match self.read(&head) {
            Ok(request) => {
                let known = request.mark.clone();
                match answer(request)? {
                    Some(new) if new.mark == known => (304, Some(new)),
                    Some(new) => (200, Some(new)),
                    None => (404, None),
                }
            }
            Err(status) => (status, None),
        };
        let answer = answer.unwrap_or_else(|| Answer {
            kind: "text/plain",
            mark: String::new(),
            text: "Not here. The address of the page is the one that bpmc printed.\n".to_owned(),
        });
        let text = if status == 304 { "" } else { &answer.text };
        // The page is its own: no other page may show it, and it loads nothing from elsewhere.
        write!(
            stream,
            "HTTP/1.1 {status} {}\r\nContent-Type: {}; charset=utf-8\r\nContent-Length: {}\r\nETag: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             X-Frame-Options: DENY\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'\r\n\
             Connection: close\r\n\r\n{text}",
            word(status),
            answer.kind,
            text.len(),
            answer.mark,
        )?;
        stream.flush()
    }

    /// What the head of a request asks for.
    fn read(&self, head: &[String]) -> Result<Request, u16> {
        let first = head.first().map_or("", String::as_str);
        let words: Vec<&str> = first.split(' ').collect();
        let ["GET", path, version] = words.as_slice() else {
            return Err(400);
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
            return Err(403);
        }
        let Some(rest) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Err(404);
        };
        if !same(rest.0, &self.token) {
            return Err(403);
        }
        Ok(Request {
            path: rest.1.to_owned(),
            mark: header("If-None-Match").unwrap_or("").to_owned(),
        })
    }
}

/// A stream that is read until a time, however slowly it sends.
struct Patient<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
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
        let (port, token) = (server.place.port, server.place.token.clone());
        assert_eq!(token.len(), 32);
        assert_ne!(token, Server::new(0).unwrap().place.token);
        let ask = |first: &str, host: &str| {
            server
                .place
                .read(&[first.to_owned(), format!("Host: {host}")])
        };
        let host = format!("127.0.0.1:{port}");
        let page = format!("GET /{token}/ HTTP/1.1");
        let own = |path: &str, mark: &str| {
            let (path, mark) = (path.to_owned(), mark.to_owned());
            Ok(Request { path, mark })
        };
        assert_eq!(ask(&page, &host), own("", ""));
        assert_eq!(ask(&page, &format!("localhost:{port}")), own("", ""));
        for foreign in [
            "evil.example",
            "127.0.0.1",
            "",
            &format!("127.0.0.1.evil.example:{port}"),
        ] {
            assert_eq!(ask(&page, foreign), Err(403), "{foreign}");
        }
        let wrong = format!("GET /{}/ HTTP/1.1", "0".repeat(32));
        assert_eq!(ask(&wrong, &host), Err(403));
        assert_eq!(ask("GET // HTTP/1.1", &host), Err(403));
        assert_eq!(ask("GET / HTTP/1.1", &host), Err(404));
        assert_eq!(
            ask(&format!("GET /{token}/../x HTTP/1.1"), &host),
            own("../x", "")
        );
        assert_eq!(ask(&format!("POST /{token}/ HTTP/1.1"), &host), Err(400));
        assert_eq!(server.place.read(&[]), Err(400));
        let head = [
            format!("GET /{token}/update HTTP/1.1"),
            format!("host: {host}"),
            "If-None-Match: 7".to_owned(),
        ];
        assert_eq!(server.place.read(&head), own("update", "7"));
    }

    #[test]
    fn silent_connections_keep_nobody_waiting() {
        let server = Server::new(0).unwrap();
        let (port, address) = (server.place.port, server.address());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = stop.clone();
        let serving = std::thread::spawn(move || {
            let answer = |request: &Request| {
                let text = "the page".to_owned();
                let (kind, mark) = ("text/html", "\"1\"".to_owned());
                request
                    .path
                    .is_empty()
                    .then_some(Answer { kind, mark, text })
            };
            server.serve(|| told.load(std::sync::atomic::Ordering::Relaxed), answer)
        });
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let silent: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
        let begun = Instant::now();
        let mut stream = connect();
        let path = address.split_once(&port.to_string()).unwrap().1;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        )
        .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let time = begun.elapsed();
        drop(silent);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        serving.join().unwrap().unwrap();
        assert!(page.ends_with("the page"), "{page}");
        assert!(time < Duration::from_secs(3), "{time:?}");
    }
}
