//! Load for the event loop's benchmarks, and the bare servers that are their limit.
//!
//! `plait-load drive echo|datagram|http|tls OPTIONS` sends requests over many connections, one
//! at a time on each, checks every byte of the answers, and prints what it measured as one line
//! of JSON. `plait-load serve stream|datagram|tls OPTIONS` prints its port and echoes until it is
//! killed. `plait-load certificate FOLDER` writes a certificate and its key for 127.0.0.1.

mod arguments;
mod clock;
mod driver;
mod exchange;
mod phase;
mod poll;
mod serve;
#[cfg(feature = "tls")]
mod tls;
mod wire;

use std::process::ExitCode;

use arguments::Arguments;

/// What can go wrong here is told to a person, and that is all that is done with it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn run() -> Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let options = Arguments::split_off(&mut words)?;
    options.pin()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["drive", kind] => driver::drive(kind, &options),
        ["serve", kind] => serve::serve(kind, &options),
        #[cfg(feature = "tls")]
        ["certificate", folder] => tls::certificate::write(folder.as_ref()),
        #[cfg(not(feature = "tls"))]
        ["certificate", _] => Err(NO_TLS.into()),
        _ => Err("say: drive KIND, serve KIND or certificate FOLDER".into()),
    }
}

#[cfg(not(feature = "tls"))]
const NO_TLS: &str =
    "built without TLS, for want of OpenSSL's headers; cure: apt install libssl-dev pkg-config";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plait-load: {error}");
            ExitCode::FAILURE
        }
    }
}
