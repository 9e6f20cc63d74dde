//! nginx as a reverse proxy without tracing: the floor.
//!
//! In: addresses. Out: its configuration.
//! Left out on purpose: the access log. Connections are kept alive for as long as a turn lasts, to clients and to the service.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::proxies::WORKERS;

/// The command that serves `config`; what it writes lies in `scratch`.
pub(crate) fn command(nginx: &Path, config: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(nginx);
    command
        .arg("-p")
        .arg(scratch)
        .arg("-c")
        .arg(config)
        .arg("-e")
        .arg("stderr");
    command
}

/// Its configuration: one address for each protocol, because it does not tell them apart without TLS.
pub(crate) fn config(http1: SocketAddr, http2: SocketAddr, upstream: SocketAddr, scratch: &Path) -> String {
    let scratch = scratch.display();
    format!(
        "daemon off;\nworker_processes {WORKERS};\nworker_rlimit_nofile 20000;\npid {scratch}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n\
         client_body_temp_path {scratch}/body;\n  proxy_temp_path {scratch}/proxy;\n  fastcgi_temp_path {scratch}/fastcgi;\n\
         uwsgi_temp_path {scratch}/uwsgi;\n  scgi_temp_path {scratch}/scgi;\n\
         upstream service {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}\n\
         server {{\n    listen {http1} backlog=4096;\n    listen {http2} http2 backlog=4096;\n\
         location / {{\n      proxy_pass http://service;\n      proxy_http_version 1.1;\n\
         proxy_set_header Host $http_host;\n      proxy_set_header Connection '';\n    }}\n  }}\n}}\n"
    )
}
