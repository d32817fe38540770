//! Finds out whether a port speaks TLS, where plain HTTP got no answer from it: such a server closes the connection, or says
//! something that is none of HTTP, and does not tell why.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The beginning of a handshake that no server goes on with: it answers with an alert.
const HELLO: [u8; 9] = [0x16, 3, 1, 0, 4, 1, 0, 0, 0];

/// A server that speaks TLS answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells whether what answers there is a record of TLS: an alert, or a handshake (RFC 8446, section 5.1).
pub(super) async fn speaks_tls(host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let asked = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(&HELLO).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    matches!(answer, Ok(Ok([0x15 | 0x16, 3])))
}
