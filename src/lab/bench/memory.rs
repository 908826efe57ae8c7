//! The peak memory of this process.

/// The largest resident size of this process so far, in bytes; `None` outside Linux.
pub fn peak() -> Option<u64> {
    high_water(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{high_water, peak};

    #[test]
    fn the_high_water_mark_is_read_in_kibibytes() {
        let status = "VmPeak:\t  900 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(high_water(status), Some(1234 * 1024));
        assert_eq!(high_water("VmHWM: many kB\n"), None);
        assert_eq!(high_water(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_never_falls() {
        let before = peak().unwrap();
        let block = std::hint::black_box(vec![1u8; 1 << 20]);
        drop(block);
        assert!(peak().unwrap() >= before && before > 1 << 20);
    }
}
