//! The sandbox as tests and benchmarks want it in another process: with its switches over HTTP, and with a key that
//! they choose, so that it can be ended and started again under the same addresses. Never shipped: `ferry sandbox` has
//! no such switches.
//!
//! Usage: `sandbox_server ROOT PORT KEY`. Port 0: the one used last with this root, else any. It tells its addresses
//! and runs until it is killed.

use std::io::Write as _;

use ferry_sandbox::{Options, Sandbox};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [root, port, key] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: sandbox_server ROOT PORT KEY")?;
    let options = Options { root: root.into(), port: port.parse()?, api_key: None };
    let sandbox = Sandbox::start_with_control(options, key).await?;
    let mut out = std::io::stdout();
    writeln!(out, "links {}", sandbox.url())?;
    writeln!(out, "mavi {}", sandbox.mavi_url())?;
    writeln!(out, "tube {}", sandbox.offline_tube_url())?;
    writeln!(out, "control {}", sandbox.control_url())?;
    writeln!(out, "listening on {}", sandbox.origin())?;
    out.flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
