//! Lays the program out at addresses that a plugin of the emulator can be told, where it has marks for one.

fn main() {
    if std::env::var_os("CARGO_FEATURE_LAYERS").is_some() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
