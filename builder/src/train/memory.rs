//! Peak memory of the process.

/// The most bytes of the process that were resident at once, by Linux's account (`VmHWM` in `/proc/self/status`);
/// `None` on other systems.
pub fn peak_bytes() -> Option<u64> {
    peak_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_high_water_mark() {
        assert_eq!(peak_in("Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(peak_in("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn counts_what_was_given_back() {
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        drop(block);
        assert!(peak_bytes().unwrap() > 64 << 20);
    }
}
