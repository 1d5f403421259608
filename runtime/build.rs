//! Tells the crate which instruction set the target's core has, where stable rustc does not.
//!
//! `skipstone_dsp`: Armv7E-M and Armv8-M Mainline cores with the DSP extension (Cortex-M4, M7, M33, M55).

fn main() {
    println!("cargo::rustc-check-cfg=cfg(skipstone_dsp)");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv7em") || target.starts_with("thumbv8m.main") {
        println!("cargo::rustc-cfg=skipstone_dsp");
    }
}
