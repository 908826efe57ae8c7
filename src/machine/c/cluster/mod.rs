//! Lane programs for clusters of blocks, which devices of compute capability 9.0 and later have.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | how many blocks and warps share a lane |
//! | `memory` | the shared memory of a block |
//! | `kernels` | what the passes of an episode share |
//! | `forward`, `backward` | the passes |
//! | `kept` | what the forward pass keeps of a step |
//! | `task`, `act.h` | the task beside the forward pass |
//! | `sweeps` | sweeps over the connections of a warp |
//! | `exchange` | what they add up, on its way to all blocks |
//! | `ops`, `vectors`, `unit`, `products` | vector code between them |
//! | `cluster.h` | exchanges between blocks, sums over a warp |

mod backward;
mod exchange;
mod forward;
mod kept;
mod kernels;
mod memory;
mod ops;
mod plan;
mod products;
mod sweeps;
mod task;
mod unit;
mod vectors;

use super::text::Text;
use super::{Episode, Product};
use crate::machine::device::BlockLimits;
use crate::program::{Program, Verified};
use kernels::Kernels;
use plan::{Held, Shape};

/// The sizes of a cluster's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSizes {
    /// The number of blocks of a cluster.
    pub blocks: usize,
    /// The threads of all blocks of a cluster, forward and back.
    pub threads: [usize; 2],
    /// The bytes of shared memory per block, forward and back.
    pub shared_bytes: [usize; 2],
    /// The number of lanes whose traces are stored at once.
    pub wave: usize,
    /// True if these are not all lanes.
    pub waves: bool,
    /// The floats of a lane's traces at one step.
    pub traces: usize,
}

/// The products over steps, the gradient sums (offset in all, offset in a lane's own, number) and the position of each state
/// among those that outlive an episode, with its number of elements.
type Places<'a> = (
    &'a [Product],
    &'a [(usize, usize, usize)],
    &'a [Option<(usize, usize)>],
);

/// A program laid out for clusters.
pub(super) struct Cluster {
    shape: Shape,
    held: Held,
}

impl Cluster {
    /// Chooses a cluster.
    ///
    /// # Errors
    /// The reason why the program runs in one block per lane.
    pub(super) fn choose(
        program: &Verified<Program>,
        episode: &Episode<'_>,
        limits: BlockLimits,
        sums: &[(usize, usize, usize)],
    ) -> Result<Cluster, String> {
        let source = program.source();
        let copied = memory::copied(source);
        let (shape, held) = plan::choose(program, episode, limits, |blocks, warps| {
            memory::vector_bytes(source, episode, &copied, sums, (blocks, warps))
        })?;
        let stored: usize = held
            .blocks
            .iter()
            .map(|layout| shape.blocks * shape.tile(*layout).stored(shape.threads()))
            .sum();
        let carries = episode.passage
            || episode.carries
            || episode.graph.states.iter().any(|state| state.outlives());
        if carries && wave(episode, stored, shape.at_once) < episode.lanes {
            return Err(
                "the traces of all lanes do not fit in memory, and lanes continue from states"
                    .to_owned(),
            );
        }
        Ok(Cluster { shape, held })
    }

    /// The shape in words.
    pub(super) fn describe(&self) -> String {
        let Shape {
            blocks,
            warps,
            matrices_shared: [matrices_ahead, matrices_back],
            sums_shared,
            registers: [ahead, back],
            ..
        } = self.shape;
        let tile = self.held.blocks.iter().map(|layout| {
            let tile = self.shape.tile(*layout);
            format!("{} rows by {} columns", tile.rows, tile.columns)
        });
        let tile: Vec<String> = tile.collect();
        let place = |shared: bool| if shared { "shared memory" } else { "registers" };
        format!(
            "clusters of {blocks}, {warps} warps with connections, {} a thread; about {ahead} registers forward, {back} back; \
             matrices in {} forward, in {} back, gradient sums in {}",
            tile.join(" and "),
            place(matrices_ahead),
            place(matrices_back),
            place(sums_shared)
        )
    }

    /// Writes the kernels.
    pub(super) fn write(
        &self,
        program: &Verified<Program>,
        episode: &Episode<'_>,
        (products, sums, carried): Places<'_>,
        text: &mut Text,
    ) -> ClusterSizes {
        let source = program.source();
        let kernels = Kernels {
            program: source,
            episode,
            held: &self.held,
            shape: &self.shape,
            products,
            sums,
            carried,
            copied: memory::copied(source),
            task_memory: task::TaskMemory::of(source, episode),
        };
        text.raw(&format!(
            "\n#define CLUSTER {}\n#define TILE_THREADS {}\n",
            self.shape.blocks,
            self.shape.threads() + 32
        ));
        text.raw(include_str!("cluster.h"));
        let forward = kernels.forward(text);
        let backward = kernels.backward(text);
        let traces = kernels.traces().0;
        let wave = wave(episode, traces, self.shape.at_once);
        ClusterSizes {
            blocks: self.shape.blocks,
            threads: [
                self.shape.blocks * (self.shape.threads() + 32),
                self.shape.blocks * self.shape.threads(),
            ],
            shared_bytes: [forward, backward],
            wave,
            waves: wave < episode.lanes,
            traces,
        }
    }
}

/// The bytes of traces that are stored at once.
const MOST_TRACES: usize = 8 << 30;

/// The number of lanes whose traces are stored at once: all, or as many full rounds as fit.
fn wave(episode: &Episode<'_>, traces: usize, at_once: usize) -> usize {
    let of_lane = 4 * traces * episode.steps.max(1);
    let fit = MOST_TRACES / of_lane.max(1);
    if fit >= episode.lanes {
        return episode.lanes.max(1);
    }
    (fit / at_once * at_once).max(at_once.min(episode.lanes))
}
