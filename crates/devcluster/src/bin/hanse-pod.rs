//! The supervisor as a program of its own, for tests and for programs that embed the development
//! cluster without calling `supervise_main` themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == hanse_devcluster::SUPERVISE) {
        return hanse_devcluster::supervise_main(args);
    }
    eprintln!("hanse-pod is started by the development cluster and has no use of its own");
    ExitCode::from(2)
}
