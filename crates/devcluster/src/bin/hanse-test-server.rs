//! A small HTTP server for trying out the development cluster and for its tests. It listens on
//! `$HANSE_POD_IP:$PORT` (default 8080) and answers
//! `/` with the pod's name and `$VERSION`, `/env/NAME` with a variable, `/file/PATH` with a file below
//! `$HANSE_POD_ROOT`, `/spawn` after leaving a background process in a session of its own, and `/exit/CODE` by
//! exiting. `$START_DELAY_MS` delays listening. It ends on SIGTERM as any program does.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let delay = variable("START_DELAY_MS").parse().unwrap_or(0);
    // It is started to be slow.
    #[expect(clippy::disallowed_methods)]
    std::thread::sleep(Duration::from_millis(delay));
    let port = variable("PORT").parse().unwrap_or(8080);
    let listener = match TcpListener::bind((variable("HANSE_POD_IP"), port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {}:{port}: {error}", variable("HANSE_POD_IP"));
            return ExitCode::FAILURE;
        }
    };
    println!("{} listens on port {port}", variable("HOSTNAME"));
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
    ExitCode::SUCCESS
}

/// Answers one request; a connection that breaks is the client's affair.
fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(match stream.try_clone() {
        Ok(clone) => clone,
        Err(_) => return,
    });
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
        header.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, body) = page(path);
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

fn page(path: &str) -> (&'static str, String) {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if path == "/" {
        return ("200 OK", format!("{} {}", variable("HOSTNAME"), variable("VERSION")));
    }
    if let Some(name) = path.strip_prefix("/env/") {
        return ("200 OK", variable(name));
    }
    if let Some(file) = path.strip_prefix("/file/") {
        let file = std::path::Path::new(&variable("HANSE_POD_ROOT")).join(file);
        return std::fs::read_to_string(file)
            .map_or_else(|error| ("404 Not Found", error.to_string()), |text| ("200 OK", text));
    }
    if path == "/spawn" {
        // `setsid` leaves the process group, as a daemon would.
        let spawned = Command::new("setsid")
            .args(["sleep", "1000"])
            .stdin(Stdio::null())
            .spawn();
        return spawned.map_or_else(
            |error| ("500 Internal Server Error", error.to_string()),
            |child| ("200 OK", child.id().to_string()),
        );
    }
    if let Some(code) = path.strip_prefix("/exit/") {
        println!("exits with {code}");
        // It is asked to end like a program that crashes.
        #[expect(clippy::disallowed_methods)]
        std::process::exit(code.parse().unwrap_or(1));
    }
    ("404 Not Found", String::new())
}
