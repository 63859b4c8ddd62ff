//! The daemon's log, on stderr.

use std::env;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

/// Starts logging: `EIP_DP_LOG` (or `RUST_LOG`) filters, `EIP_DP_LOG_FORMAT` is `text` or `json`.
pub fn start() -> anyhow::Result<()> {
    let text = ["EIP_DP_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::builder().parse(&text).with_context(|| {
        format!("`{text}` in EIP_DP_LOG is no filter; give a level, such as `debug`")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let result = match env::var("EIP_DP_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().try_init(),
        Ok("text" | "") | Err(_) => builder.with_ansi(false).try_init(),
        Ok(other) => bail!("EIP_DP_LOG_FORMAT is `{other}`; give `text` or `json`"),
    };
    result.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
