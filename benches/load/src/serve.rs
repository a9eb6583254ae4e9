//! The bare servers: what an echo costs when there is nothing but the kernel (and OpenSSL).

mod datagram;
pub(crate) mod stream;

use std::io::{Write, stdout};
use std::net::SocketAddr;

use crate::Result;
use crate::arguments::Arguments;

/// Run what `serve KIND` asks for, until killed.
pub(crate) fn serve(kind: &str, options: &Arguments) -> Result<()> {
    // It dies with who started it, however that ends.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    match kind {
        "stream" => stream::serve(|socket| Ok(stream::Plain::new(socket))),
        "datagram" => datagram::serve(),
        #[cfg(feature = "tls")]
        "tls" => {
            let acceptor = crate::tls::server::Acceptor::new(
                &options.need::<String>("certificate")?,
                &options.need::<String>("key")?,
            )?;
            stream::serve(|socket| acceptor.accept(socket))
        }
        #[cfg(not(feature = "tls"))]
        "tls" => {
            let _ = options;
            Err(crate::NO_TLS.into())
        }
        _ => Err(format!("serve what? stream, datagram or tls, not {kind}").into()),
    }
}

/// Tell the port.
fn announce(address: SocketAddr) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{}", address.port())?;
    out.flush()?;
    Ok(())
}
