//! Runs the binary.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What the command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The path of one of the sample logs.
pub(crate) fn log(name: &str) -> String {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "import", "logs", name].iter().collect();
    path.to_str().expect("the checkout's path is UTF-8").to_owned()
}

/// The binary with nothing of this process's environment that decides what is sent where.
pub(crate) fn spanbridge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanbridge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.arg("import").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `spanbridge import` with these arguments.
pub(crate) fn import(args: &[&str]) -> Ran {
    ran(spanbridge().args(args).output().expect("the binary starts"))
}

/// The same with this on its standard input.
pub(crate) fn import_from(args: &[&str], input: &[u8]) -> Ran {
    let mut command = spanbridge();
    command.args(args);
    run_with_input(command, input)
}

/// Runs any command with this on its standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // One that has seen enough may leave before the end.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic");
    ran(output)
}

/// Runs it and closes its standard output after one byte, as `head -c 1` does.
pub(crate) fn import_and_leave(args: &[&str]) -> Ran {
    let mut child = spanbridge().args(args).spawn().expect("the binary starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut first = [0];
    stdout.read_exact(&mut first).expect("there is output");
    drop(stdout);
    ran(child.wait_with_output().expect("it ends"))
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran {
        code: output.status.code().expect("it is not killed"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The trees of a log that has no problems, without where each block was found.
pub(crate) fn tree(args: &[&str]) -> String {
    let ran = import(&[&["--to", "tree", "--strict"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    without_place(&ran.stdout)
}

/// Drops the attributes that only say where a block was found.
pub(crate) fn without_place(tree: &str) -> String {
    let mut out = String::new();
    for line in tree.lines() {
        match (line.find("log.file.path="), line.find("log.file.line=")) {
            (Some(start), Some(last)) => {
                let end = last + line[last..].find([',', '}']).expect("attributes end");
                let rest = &line[end..];
                let before = line[..start].trim_end_matches(", ");
                out.push_str(before);
                out.push_str(rest);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}
