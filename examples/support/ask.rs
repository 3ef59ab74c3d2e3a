//! A request as a proxy on this machine would send it, written by hand.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Gets `path` with these header lines. Gives back all that the server answers.
pub(crate) async fn ask(server: SocketAddr, path: &str, lines: &[&str]) -> io::Result<String> {
    let mut socket = TcpStream::connect(server).await?;
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    for line in lines {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// Whether `--once` was said: then an example asks itself, checks the answers, and ends.
pub(crate) fn is_once() -> bool {
    std::env::args().any(|argument| argument == "--once")
}
