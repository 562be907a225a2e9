//! On a terminal there is a bar. `script` provides one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::{log, spanbridge};

#[test]
fn a_bar_is_drawn_on_a_terminal_and_gone_in_the_end() {
    // 1. The log comes from a pipe, which is kept open so that the import cannot be over first.
    // 2. The bar says how much was read of what.
    // 3. The rest arrives; problems and the summary stand above an empty line, the bar is gone.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let fifo = folder.join(format!("terminal-{}.fifo", std::process::id()));
    let made = Command::new("mkfifo").arg(&fifo).status().expect("there is mkfifo");
    assert!(made.success());
    let text = std::fs::read(log("upstream-exact.log")).unwrap();
    let import = "stty cols 120; exec \"$IMPORTER\" import --to tree \"$FIFO\" >/dev/null";
    let importer = spanbridge();
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", import, "/dev/null"])
        .env("IMPORTER", importer.get_program())
        .env("FIFO", &fifo)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is script, of util-linux");
    let mut stdout = child.stdout.take().unwrap();
    let mut fifo_end = File::options().write(true).open(&fifo).unwrap();
    std::fs::remove_file(&fifo).unwrap();
    let (first, rest) = text.split_at(text.len() / 2);
    fifo_end.write_all(first).unwrap();

    let mut shown = Vec::new();
    let bar = format!("{} B ", first.len());
    while !String::from_utf8_lossy(&shown).contains(&bar) {
        let mut buffer = [0; 4_096];
        let read = stdout.read(&mut buffer).unwrap();
        assert!(read > 0, "no bar: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&buffer[..read]);
    }
    assert!(String::from_utf8_lossy(&shown).contains(".fifo"));
    fifo_end.write_all(rest).unwrap();
    fifo_end.write_all(b"Trace[5\n").unwrap();
    drop(fifo_end);
    let mut end = String::new();
    stdout.read_to_string(&mut end).unwrap();
    assert!(child.wait().unwrap().success(), "{end}");
    let (_, after) = end.split_once("is cut off after").expect(&end);
    let (_, summary) = after.split_once("1 block as 2 spans").expect(&end);
    assert!(!summary.contains("B/s"), "the bar is gone: {end}");
}
