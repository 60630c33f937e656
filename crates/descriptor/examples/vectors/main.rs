//! Writes `schema/vectors/`: what the protocol accepts and refuses, for implementations in any
//! language. `cargo run -p mcp-connect-descriptor --example vectors`.

mod generator;

fn main() -> std::io::Result<()> {
    for (name, text) in generator::files() {
        std::fs::write(generator::folder().join(name), text)?;
    }
    Ok(())
}
