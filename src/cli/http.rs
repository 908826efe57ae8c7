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
type Asked = (Request, mpsc::Sender<(Request, Answer)>);

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
                let _ = back.send((request, made));
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
        let request = self.read(&head);
        let (status, kind, answer) = match request {
            Request::Refused(status) => {
                let text =
                    "Not here. The address of the page is the one that `bpmc watch` printed.\n";
                let text = text.to_owned();
                (
                    status,
                    "text/plain",
                    Answer {
                        mark: String::new(),
                        text,
                    },
                )
            }
            request => {
                let (request, new) = answer(request)?;
                let same = matches!(request, Request::Update(mark) if mark == new.mark);
                (if same { 304 } else { 200 }, "text/html", new)
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
        assert_eq!(server.place.read(&[]), Request::Refused(400));
        let head = [
            format!("GET /{token}/update HTTP/1.1"),
            format!("host: {host}"),
            "If-None-Match: 7".to_owned(),
        ];
        assert_eq!(server.place.read(&head), Request::Update("7".to_owned()));
    }

    #[test]
    fn silent_connections_keep_nobody_waiting() {
        let server = Server::new(0).unwrap();
        let (port, address) = (server.place.port, server.address());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = stop.clone();
        let serving = std::thread::spawn(move || {
            let answer = |_: &Request| Answer {
                mark: "\"1\"".to_owned(),
                text: "the page".to_owned(),
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
