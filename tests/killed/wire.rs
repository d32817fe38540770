//! Stands between Stoker and a server of HTTP or MLLP, byte for byte, and holds on at a named place of an exchange.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How requests and answers are told from what follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Http,
    Mllp,
}

/// A place in an exchange. What comes later than it does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The request has left, and nothing of it has come to the server.
    Request,
    /// Half of the request has come to the server, and its connection ends.
    HalfRequest,
    /// The server has answered, and nothing of it has come back.
    Answer,
    /// Half of the answer has come back.
    HalfAnswer,
    /// The answer comes back; when it is about to, somebody is told.
    WholeAnswer,
}

/// Where it holds on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// How a request begins: its method.
    pub(super) method: &'static str,
    /// Which of those, from 1.
    pub(super) number: usize,
    pub(super) place: Place,
}

/// Told when a whole answer is about to come back.
type Before = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Plan {
    point: Option<Point>,
    before: Option<Before>,
    /// Of the requests of this method and number the answer is replaced by one that tells nothing.
    mumbled: Option<(&'static str, usize)>,
    /// The methods of the requests that came.
    seen: Vec<String>,
}

/// The bytes between.
#[derive(Clone)]
pub(super) struct Wire {
    /// `host:port`.
    pub(super) address: String,
    /// Where the server is.
    server: Arc<Mutex<String>>,
    plan: Arc<Mutex<Plan>>,
    is_there: Arc<AtomicBool>,
}

impl Wire {
    pub(super) fn start(framing: Framing, server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap().to_string(),
            server: Arc::new(Mutex::new(server.to_owned())),
            plan: Arc::default(),
            is_there: Arc::default(),
        };
        let kept = wire.clone();
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let wire = kept.clone();
                thread::spawn(move || {
                    let address = wire.server.lock().unwrap().clone();
                    // Whoever is killed breaks off, or is not there.
                    let _ = TcpStream::connect(address)
                        .and_then(|server| wire.pass(framing, &client.unwrap(), &server));
                });
            }
        });
        wire
    }

    /// The server is elsewhere from now on.
    pub(super) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.server.lock().unwrap());
    }

    /// Holds on there, from now on.
    pub(super) fn hold_at(&self, point: Point) {
        self.plan.lock().unwrap().point = Some(point);
    }

    /// Calls this before an answer comes back that is awaited.
    pub(super) fn call_before(&self, before: impl Fn() + Send + 'static) {
        self.plan.lock().unwrap().before = Some(Box::new(before));
    }

    /// Answers this request in the server's place, when it has taken it, with words that tell nothing.
    pub(super) fn mumble(&self, method: &'static str, number: usize) {
        self.plan.lock().unwrap().mumbled = Some((method, number));
    }

    /// Lets everything pass, and forgets what came. What it holds is dropped.
    pub(super) fn let_pass(&self) {
        *self.plan.lock().unwrap() = Plan::default();
        self.is_there.store(false, Ordering::Release);
    }

    /// Tells whether it has come there.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// How many requests of a method came.
    pub(super) fn seen(&self, method: &str) -> usize {
        let plan = self.plan.lock().unwrap();
        plan.seen.iter().filter(|seen| *seen == method).count()
    }

    fn pass(
        &self,
        framing: Framing,
        mut client: &TcpStream,
        mut server: &TcpStream,
    ) -> std::io::Result<()> {
        let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
        while let Some(request) = next(framing, client, &mut from_client, "")? {
            let method = match framing {
                Framing::Http => String::from_utf8_lossy(&request),
                Framing::Mllp => "MSH".into(),
            };
            let method = method.split(' ').next().unwrap_or_default().to_owned();
            let (place, is_mumbled) = {
                let mut plan = self.plan.lock().unwrap();
                plan.seen.push(method.clone());
                let number = plan.seen.iter().filter(|seen| **seen == method).count();
                let point = plan
                    .point
                    .filter(|p| (p.method, p.number) == (&*method, number));
                let mumbled = plan.mumbled;
                let is_mumbled = mumbled.is_some_and(|mumbled| mumbled == (&*method, number));
                (point.map(|point| point.place), is_mumbled)
            };
            match place {
                Some(Place::Request) => {
                    self.hold();
                    return Ok(());
                }
                Some(Place::HalfRequest) => {
                    server.write_all(&request[..half(framing, &request)])?;
                    self.hold();
                    return Ok(());
                }
                _ => server.write_all(&request)?,
            }
            let Some(mut answer) = next(framing, server, &mut from_server, &method)? else {
                return Ok(());
            };
            if is_mumbled {
                const NOTHING: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                answer = NOTHING.into();
            }
            match place {
                Some(Place::Answer) => {
                    self.hold();
                    return Ok(());
                }
                Some(Place::HalfAnswer) => {
                    client.write_all(&answer[..half(framing, &answer)])?;
                    self.hold();
                    return Ok(());
                }
                Some(Place::WholeAnswer) => {
                    if let Some(before) = &self.plan.lock().unwrap().before {
                        before();
                    }
                    client.write_all(&answer)?;
                    self.is_there.store(true, Ordering::Release);
                }
                _ => client.write_all(&answer)?,
            }
        }
        Ok(())
    }

    /// Says that it is there, and waits until it no longer matters. Then both connections end.
    fn hold(&self) {
        self.is_there.store(true, Ordering::Release);
        while self.is_there() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How much is half of it: the middle of the body, where it has one.
fn half(framing: Framing, message: &[u8]) -> usize {
    let head = match framing {
        Framing::Http => head(message).unwrap_or_default(),
        Framing::Mllp => 0,
    };
    match message.len() - head {
        0 => head / 2,
        body => head + body / 2,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

/// The length of the head of a message of HTTP, its empty line included.
fn head(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads the next request, or the answer to one of this method; none where the connection has ended.
fn next(
    framing: Framing,
    mut from: &TcpStream,
    held: &mut Vec<u8>,
    method: &str,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut piece = vec![0; 1 << 16];
    loop {
        let end = match framing {
            Framing::Http => end_of_http(held, method),
            Framing::Mllp => find(held, b"\x1c\r").map(|at| at + 2),
        };
        if let Some(end) = end {
            return Ok(Some(held.drain(..end).collect()));
        }
        match from.read(&mut piece)? {
            0 => return Ok(None),
            read => held.extend_from_slice(&piece[..read]),
        }
    }
}

/// The length of a whole message of HTTP, if it is there.
fn end_of_http(message: &[u8], method: &str) -> Option<usize> {
    let head = head(message)?;
    let text = String::from_utf8_lossy(&message[..head]).to_ascii_lowercase();
    let has_none = text.starts_with("http/1.1 204") || method == "HEAD";
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned))
    };
    if has_none {
        Some(head)
    } else if field("transfer-encoding:").is_some_and(|coding| coding == "chunked") {
        let mut at = head;
        loop {
            let line = find(message.get(at..)?, b"\r\n")?;
            let size = std::str::from_utf8(&message[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            at += line + 2 + size + 2;
            if size == 0 {
                return (message.len() >= at).then_some(at);
            }
        }
    } else {
        let length: usize = field("content-length:").map_or(0, |length| length.parse().unwrap());
        (message.len() >= head + length).then_some(head + length)
    }
}
