//! A receiver of messages over MLLP, which keeps what came, in order.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// What came, in order: the number of the message, and whether it was taken.
type Log = Arc<Mutex<Vec<(usize, bool)>>>;

pub(super) struct Receiver {
    /// `host:port`.
    pub(super) address: String,
    log: Log,
}

impl Receiver {
    /// Takes its time, refuses some for a moment, and loses some of its answers, before or after it has taken them.
    pub(super) fn unsteady(seed: u64) -> Self {
        Self::start(Some(seed))
    }

    /// Takes everything at once.
    pub(super) fn calm() -> Self {
        Self::start(None)
    }

    fn start(seed: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Log::default();
        let kept = Arc::clone(&log);
        // Ends with the process.
        thread::spawn(move || {
            for (number, stream) in (0..).zip(listener.incoming()) {
                let kept = Arc::clone(&kept);
                let random = seed.map(|seed| SmallRng::seed_from_u64(seed + number));
                thread::spawn(move || serve(&stream.unwrap(), random, &kept));
            }
        });
        Self { address, log }
    }

    /// What came so far.
    pub(super) fn log(&self) -> Vec<(usize, bool)> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, mut random: Option<SmallRng>, log: &Log) {
    let (mut held, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        held.extend_from_slice(&piece[..read]);
        while let Some(end) = held.windows(2).position(|two| two == [0x1c, b'\r']) {
            let frame: Vec<u8> = held.drain(..end + 2).collect();
            let text = String::from_utf8(frame).unwrap();
            let id = text.split('|').nth(9).unwrap();
            let number: usize = id.strip_prefix('m').unwrap().parse().unwrap();
            let mut one_of_100 = |below| match &mut random {
                Some(random) => random.random_range(0..100) < below,
                None => false,
            };
            let (is_busy, is_lost) = (one_of_100(4), one_of_100(3));
            log.lock().unwrap().push((number, !is_busy));
            if let Some(random) = &mut random {
                thread::sleep(Duration::from_millis(random.random_range(20..40)));
            }
            if is_lost {
                stream.shutdown(std::net::Shutdown::Both).ok();
                return;
            }
            let code = if is_busy { "AR" } else { "AA" };
            let ack =
                format!("\u{b}MSH|^~\\&|C|D|A|B|2026||ACK|1|P|2.5\rMSA|{code}|{id}\r\u{1c}\r");
            stream.write_all(ack.as_bytes()).ok();
        }
    }
}
