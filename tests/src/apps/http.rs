//! HTTP: nginx and curl.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result};

use super::{Ends, Seen, Stage, said};
use crate::lab::{
    process::{outcome, write},
    service::{Port, Service},
};

/// The client fetches a page of some megabytes; the server's log says who it was.
pub fn fetch(stage: &Stage, ends: &Ends) -> Result<Seen> {
    let folder = stage.folder("http")?;
    let root = folder.join("pages");
    fs::create_dir_all(&root)?;
    let page = "a line of a page that takes many segments\n".repeat(100_000);
    write(&root.join("page"), &page)?;
    let (server, bound) = ends.server;
    let listen = SocketAddr::new(bound.parse()?, 80);
    let here = folder.display();
    // Each of these would else be made below /var/lib/nginx.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {here}/{name};\n"))
        .concat();
    let configuration = folder.join("nginx.conf");
    write(
        &configuration,
        &format!(
            "daemon off;\nuser root;\npid {here}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{temporary}    \
             access_log {here}/access;\n    server {{\n        listen {listen};\n        root {};\n    }}\n}}\n",
            root.display()
        ),
    )?;
    let mut command = server.guest_command("/usr/sbin/nginx")?;
    command.args(["-e", "stderr", "-c"]).arg(&configuration);
    let _server = Service::start(server, &mut command, &folder.join("log"), Port::Tcp(80))?;
    let (client, source) = ends.client;
    let mut command = client.guest_command("curl")?;
    command.args(["--silent", "--show-error", "--max-time", "10"]);
    command.args(["--interface", source]);
    let target = SocketAddr::new(ends.target.parse()?, 80);
    let output = outcome(command.arg(format!("http://{target}/page")))?;
    if !output.status.success() {
        return Ok(Seen::Fails(said(&output)));
    }
    let log = fs::read_to_string(folder.join("access")).context("nginx wrote no log")?;
    let visitor = log.split_whitespace().next().unwrap_or("nobody");
    Ok(Seen::when(
        output.stdout == page.as_bytes() && visitor == ends.seen_as,
        format!("{} bytes arrive at {visitor}", output.stdout.len()),
    ))
}
