//! Sums over one axis, in order of the index.
//!
//! Candle's own sum divides indices for every element unless the axis is the last. Over the lanes or the
//! presynaptic axis of a trace that costs more than the rest of a step.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

/// The sum over `axis`, which disappears.
pub(super) fn sum_axis(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = axis + 1 == x.rank();
    if last || !x.device().is_cpu() {
        return x.sum(axis);
    }
    x.contiguous()?.apply_op1_no_bwd(&SumRows { axis })
}

/// The sum of rows: `[outer, size, inner]` to `[outer, inner]`, for contiguous tensors on the CPU.
struct SumRows {
    axis: usize,
}

impl CustomOp1 for SumRows {
    fn name(&self) -> &'static str {
        "sum-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let size = dims.remove(self.axis);
        let inner: usize = dims[self.axis..].iter().product();
        let start = layout.start_offset();
        let range = start..start + layout.shape().elem_count();
        let sums = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(sum_rows(&x[range], size, inner)),
            CpuStorage::F64(x) => CpuStorage::F64(sum_rows(&x[range], size, inner)),
            _ => candle_core::bail!("sums are over f32 or f64"),
        };
        Ok((sums, dims.into()))
    }
}

fn sum_rows<T: WithDType>(x: &[T], size: usize, inner: usize) -> Vec<T> {
    let mut sums = Vec::with_capacity(x.len() / size);
    for block in x.chunks_exact(size * inner) {
        let (first, rest) = block.split_at(inner);
        let start = sums.len();
        sums.extend_from_slice(first);
        for row in rest.chunks_exact(inner) {
            for (sum, value) in sums[start..].iter_mut().zip(row) {
                *sum += *value;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn each_axis_sums_as_candle_does() -> Result<()> {
        let x = Tensor::arange(0.0_f64, 24.0, &Device::Cpu)?.reshape((2, 3, 4))?;
        for axis in 0..3 {
            let expected = x.sum(axis)?.flatten_all()?.to_vec1::<f64>()?;
            let sums = sum_axis(&x, axis)?;
            assert_eq!(sums.dims(), x.sum(axis)?.dims());
            assert_eq!(sums.flatten_all()?.to_vec1::<f64>()?, expected);
        }
        let part = x.narrow(1, 1, 2)?;
        let sums = sum_axis(&part, 1)?.flatten_all()?.to_vec1::<f64>()?;
        assert_eq!(sums, [12.0, 14.0, 16.0, 18.0, 36.0, 38.0, 40.0, 42.0]);
        Ok(())
    }
}
