//! The `quorate` binary: the server and every operator command.
fn main() {}
