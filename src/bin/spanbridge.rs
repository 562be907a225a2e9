//! The command; all of it is in the library's module `cli`.

fn main() -> std::process::ExitCode {
    spanbridge::cli::main()
}
