//! The transport and the credentials over real sockets: servers that fail in every way, TLS with a private
//! authority, token servers. What cannot be pointed at a local server is not tested here: the fixed hosts of
//! `gcp_auth` (its metadata server) and the `gcloud` command.
//!
//! google-cloud-auth reads the proxies of the process: where `HTTP_PROXY` is set, set `NO_PROXY=127.0.0.1`.

mod fault;
mod google;
mod http2;
mod large;
mod placed;
pub(crate) mod server;
mod setup;
mod tls;
