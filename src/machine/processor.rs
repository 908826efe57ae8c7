//! The vector features of the CPU.

use std::sync::OnceLock;

/// The kind of a CPU, by its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 512-bit vectors (AVX-512).
    Avx512,
    /// 256-bit vectors with fused multiply-adds (AVX2).
    Avx2,
    /// Any other CPU.
    Other,
}

/// The variable that makes bpmc use less of the CPU than there is: `avx2`, or `any` for no vectors of x86-64.
const LIMIT: &str = "BPMC_CPU";

/// The kind of this CPU, or the lesser one that `BPMC_CPU` names.
pub fn processor() -> Processor {
    static FOUND: OnceLock<Processor> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = found();
        limited(found, std::env::var(LIMIT).ok().as_deref()).unwrap_or(found)
    })
}

/// Checks the kind of CPU that `BPMC_CPU` names.
///
/// # Errors
/// A message where it is none that this CPU can be.
pub fn check_limit() -> Result<(), String> {
    limited(found(), std::env::var(LIMIT).ok().as_deref()).map(drop)
}

/// The kind of CPU to use on a CPU of the kind `found`.
fn limited(found: Processor, name: Option<&str>) -> Result<Processor, String> {
    let known = [
        ("avx512", Processor::Avx512),
        ("avx2", Processor::Avx2),
        ("any", Processor::Other),
    ];
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(found);
    };
    let from = known.iter().position(|(_, kind)| *kind == found);
    let possible = &known[from.unwrap_or(0)..];
    match possible.iter().find(|(one, _)| *one == name) {
        Some((_, kind)) => Ok(*kind),
        None => {
            let names: Vec<&str> = possible.iter().map(|(one, _)| *one).collect();
            Err(format!(
                "`{LIMIT}` is `{name}`, but this CPU can be {}",
                names.join(", ")
            ))
        }
    }
}

fn found() -> Processor {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let fma = has!("avx2") && has!("fma");
        let wide = has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
        if fma && wide {
            return Processor::Avx512;
        }
        if fma {
            return Processor::Avx2;
        }
    }
    Processor::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_can_be_less_than_it_is_but_not_more() {
        for found in [Processor::Avx512, Processor::Avx2, Processor::Other] {
            assert_eq!(limited(found, None), Ok(found));
            assert_eq!(limited(found, Some("")), Ok(found));
            assert_eq!(limited(found, Some("any")), Ok(Processor::Other));
            assert!(limited(found, Some("sse")).is_err());
        }
        assert_eq!(
            limited(Processor::Avx512, Some("avx2")),
            Ok(Processor::Avx2)
        );
        let message = limited(Processor::Avx2, Some("avx512")).unwrap_err();
        assert_eq!(
            message,
            "`BPMC_CPU` is `avx512`, but this CPU can be avx2, any"
        );
    }
}
