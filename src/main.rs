//! The binary: parses the command line and hands over to [`portolan::cli`].

fn main() -> std::process::ExitCode {
    portolan::cli::main()
}
