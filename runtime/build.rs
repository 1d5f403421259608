//! Tells the crate which instruction set the target's core has, where stable rustc does not.
//!
//! `skipstone_dsp`: cores with dual 16-bit multiply-accumulates. Every Armv7E-M core has them (Cortex-M4, M7); an Armv8-M
//! Mainline core (M33, M55) may, and does where the program says so by the feature `dsp`.
//! `skipstone_mve`: cores with Helium (Cortex-M55, M85), where the program says so by the feature `mve`.
//! `skipstone_armv8m`: Armv8-M.
//! `skipstone_thumb`: all Cortex-M cores.
//! `skipstone_armv6m`: those that have little more than Armv6-M: it, and Armv8-M Baseline.

fn main() {
    println!(
        "cargo::rustc-check-cfg=cfg(skipstone_dsp, skipstone_mve, skipstone_armv8m, skipstone_thumb, skipstone_armv6m)"
    );
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let told = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if target.starts_with("thumbv8m") {
        println!("cargo::rustc-cfg=skipstone_armv8m");
    }
    let thumb = ["thumbv6m", "thumbv7m", "thumbv7em", "thumbv8m"];
    if thumb.iter().any(|name| target.starts_with(name)) {
        println!("cargo::rustc-cfg=skipstone_thumb");
    }
    if target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo::rustc-cfg=skipstone_armv6m");
    }
    if target.starts_with("thumbv7em") || (target.starts_with("thumbv8m.main") && told("DSP")) {
        println!("cargo::rustc-cfg=skipstone_dsp");
    }
    if target.starts_with("thumbv8m.main") && told("MVE") {
        println!("cargo::rustc-cfg=skipstone_mve");
    }
}
