//! The source of a program's kernels, with the sizes of all they need.

use super::arena::Arena;
use super::cluster::Cluster;
use super::parameters::Sharing;
use super::text::Text;
use super::update::{write_update, UpdateSizes};
use super::writer::Writer;
use super::{sweeps, vectors, DeviceSource, Episode, Feed, Product, Sizes, Threads};
use crate::machine::device::BlockLimits;
use crate::program::code::{Instr, Place, RootKind, Sweep};
use crate::program::ir::Home;
use crate::program::{Program, Verified};
use std::collections::BTreeMap;

/// The largest number of lanes that share a multiprocessor.
const MOST_RESIDENT: usize = 8;

/// The bytes of shared memory that a device reserves in every block.
const RESERVED: usize = 1024;

/// The distribution of a lane over a device, in blocks without clusters.
struct Shape {
    /// The threads of a lane.
    threads: Threads,
    /// The number of blocks that share them.
    team: usize,
    /// The number of lanes that share a multiprocessor.
    resident: usize,
}

impl Shape {
    /// Blocks of kernels between episodes, where these run on clusters.
    const ALONE: Shape = Shape {
        threads: Threads(256),
        team: 1,
        resident: 1,
    };
}

impl Verified<Program> {
    /// The program as CUDA C.
    pub fn device_source(&self, episode: &Episode<'_>, limits: BlockLimits) -> DeviceSource {
        let (sums, own_sums) = self.own_sums();
        let cluster = Cluster::choose(self, episode, limits, &sums);
        let Shape {
            threads,
            team,
            resident,
        } = match cluster {
            Ok(_) => Shape::ALONE,
            Err(_) => self.shape(episode, limits),
        };
        // Blocks cannot access each other's shared memory.
        let shared_bytes = if team > 1 { 0 } else { limits.shared_bytes };
        let blocks: Vec<usize> = self
            .blocks
            .iter()
            .scan(0, |next, layout| {
                let at = *next;
                *next += layout.size();
                Some(at)
            })
            .collect();
        let traces: usize = self.blocks.iter().map(|b| b.size()).sum();
        let sum_names: BTreeMap<usize, usize> =
            sums.iter().map(|(at, own, _)| (*at, *own)).collect();
        let mut products = Vec::new();
        let mut outers = 0;
        for outer in &self.outers {
            products.push(Product {
                sum: outer.sum,
                rows: outer.rows,
                cols: outer.cols,
                a: outers,
                b: outers + outer.rows,
            });
            outers += outer.rows + outer.cols;
        }
        let mut carried = vec![None; episode.graph.states.len()];
        let mut carried_size = 0;
        for (slot, state) in episode.graph.states.iter().enumerate() {
            let all = episode.passage || episode.carries;
            if all || state.outlives() {
                let n = state.dims.iter().product();
                carried[slot] = Some((carried_size, n));
                carried_size += n;
            }
        }
        let [forward, backward] = self.arenas(threads);
        let (forward, shared_forward, arena_forward) = forward.place(shared_bytes);
        let (backward, shared_backward, arena_backward) = backward.place(shared_bytes);
        let places = episode.places.as_ref();
        let sharing = places.map(|places| Sharing::new(self, episode.graph, places));
        let inputs = episode.graph.inputs.iter().zip(&episode.feeds);
        let mut sizes = Sizes {
            threads: threads.0,
            team,
            resident,
            arena: arena_forward.max(arena_backward),
            record: self.record_size,
            traces,
            checkpoints: episode.steps.div_ceil(episode.interval),
            interval: episode.interval,
            sums: own_sums,
            outers,
            inputs: inputs
                .filter(|(_, feed)| matches!(feed, Feed::Given(_)))
                .filter(|_| !episode.passage)
                .map(|(slot, _)| slot.dims.iter().product::<usize>())
                .sum(),
            outputs: match episode.passage {
                true => 0,
                false => episode.read.iter().map(|(k, _)| self.outputs[*k].1).sum(),
            },
            values: sharing.as_ref().map_or(0, Sharing::computed),
            trained: places.map_or(0, |places| places.trained),
            widest: sharing.as_ref().map_or(0, Sharing::widest),
            computes: sharing.as_ref().map_or([false; 2], Sharing::computes),
            carried: carried_size,
            task: episode.task.as_ref().map_or(0, |task| task.words),
            steps: episode.steps,
            shared_forward: shared_forward * 4,
            shared_backward: shared_backward * 4,
            cluster: None,
        };
        let mut writer = Writer {
            program: self,
            episode,
            threads,
            blocks,
            sums: sum_names,
            text: Text::default(),
        };
        writer.definitions(&sizes);
        writer.text.raw(include_str!("prelude.h"));
        writer.context();
        if let Some(task) = &episode.task {
            writer.text.raw("\n");
            writer.text.raw(&task.settings);
            writer.text.raw(task.source);
        }
        writer.text.raw("\n");
        writer.text.raw(include_str!("objective.h"));
        let form = match &cluster {
            Ok(cluster) => cluster.describe(),
            Err(why) => format!("one block a lane, not a cluster: {why}"),
        };
        writer.text.raw(&format!("/* {form} */\n"));
        match cluster {
            Ok(cluster) => {
                let text = &mut writer.text;
                let places = (&products[..], &sums[..], &carried[..]);
                sizes.cluster = Some(cluster.write(self, episode, places, text));
                (sizes.arena, sizes.traces, sizes.interval) = (0, 0, 1);
            }
            Err(_) => {
                writer.memory("forward_memory", &forward);
                writer.memory("backward_memory", &backward);
                writer.products(&products);
                writer.states(&carried);
                writer.observe();
                writer.outputs();
                writer.sweeps();
                writer.steps();
                writer.text.raw("\n");
                writer.text.raw(include_str!("kernels.h"));
            }
        }
        writer.text.raw("\n");
        writer.text.raw(include_str!("reduce.h"));
        if let Some(sharing) = &sharing {
            writer.sharing(sharing, &products);
            if let Some(update) = &episode.update {
                let slots = (&episode.graph.params[..], sharing.places);
                let sizes = UpdateSizes::new(sharing.places, update, threads.0);
                write_update(update, &sizes, slots, "a.lanes", &mut writer.text);
            }
        }
        let update = sharing.as_ref().zip(episode.update.as_ref());
        DeviceSource {
            form,
            text: writer.text.finish(),
            sizes,
            products,
            sums,
            carried,
            update: update
                .map(|(sharing, update)| UpdateSizes::new(sharing.places, update, threads.0)),
        }
    }

    /// The arrays of a lane in a forward step and in a backward step.
    fn arenas(&self, threads: Threads) -> [Arena; 2] {
        let traces: usize = self.blocks.iter().map(|layout| layout.size()).sum();
        let (_, own_sums) = self.own_sums();
        let moved = self.moved().map(|(_, _, n)| n).sum();
        let ahead = [&self.ahead.instrs[..]];
        let scratch = self.scratch(&ahead, &[&self.ahead.sweeps, &self.ahead.updates], threads);
        let forward = Arena {
            items: vec![
                ("L", self.lane.size),
                ("scratch", scratch.max(moved)),
                ("traces", traces),
            ],
        };
        let lists = [
            &self.back.early[..],
            &self.back.late[..],
            &self.back.main[..],
        ];
        let sweeps = [&self.back.sweeps, &self.ahead.updates];
        let backward = Arena {
            items: vec![
                ("L", self.adjoint.size),
                ("B", self.adjoint.size),
                ("scratch", self.scratch(&lists, &sweeps.map(|s| s), threads)),
                ("adj", traces),
                ("sums", own_sums),
            ],
        };
        [forward, backward]
    }

    /// Threads of a lane, enough groups to share the panels of the largest block of connections, and the blocks they are in:
    /// more than one where there are too few lanes to keep the device busy with connections that do not fit in shared
    /// memory. Only passages: the kernels between episodes have more blocks than can be there at once. Where there are more
    /// lanes than multiprocessors, several lanes of fewer threads share one, so that some work while others wait, as far as all
    /// that they have fits in its shared memory.
    fn shape(&self, episode: &Episode<'_>, limits: BlockLimits) -> Shape {
        let most = limits.threads / 32 * 32;
        let alone = |threads: usize| Shape {
            threads: Threads(threads),
            team: 1,
            resident: 1,
        };
        let Some(widest) = self.blocks.iter().map(|layout| layout.size()).max() else {
            return alone(256.min(most));
        };
        // Each thread gets about sixteen elements.
        let wanted = (widest / 16).next_multiple_of(32);
        let traces: usize = self.blocks.iter().map(|layout| layout.size()).sum();
        let room = limits.blocks / episode.lanes.max(1);
        let team = (wanted / most.max(1)).min(room).max(1);
        if episode.passage && 4 * traces > limits.shared_bytes && team > 1 {
            let team = 1 << team.ilog2();
            return Shape {
                threads: Threads(most * team),
                team,
                resident: 1,
            };
        }
        let least = 64.min(most);
        let crowd = episode.lanes.div_ceil(limits.blocks.max(1));
        for resident in (2..=crowd.min(MOST_RESIDENT)).rev() {
            let threads = (wanted / resident).next_multiple_of(32).max(least);
            let arenas = self.arenas(Threads(threads));
            let largest = arenas.iter().map(Arena::bytes).max().unwrap_or(0);
            let fits = resident * (largest + RESERVED) <= limits.shared_bytes;
            if fits && resident * threads <= most {
                return Shape {
                    threads: Threads(threads),
                    team: 1,
                    resident,
                };
            }
        }
        alone(wanted.clamp(least, most))
    }

    /// The gradient sums that a lane adds up itself: offset in all sums, offset in its own, length; and the
    /// number of its own.
    fn own_sums(&self) -> (Vec<(usize, usize, usize)>, usize) {
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        let back = &self.back;
        for instr in back.early.iter().chain(&back.late).chain(&back.main) {
            match *instr {
                Instr::AddTo { sum, n, .. } => {
                    found.insert(sum, n);
                }
                Instr::AddOuter {
                    sum, rows, cols, ..
                } => {
                    found.insert(sum, rows * cols);
                }
                _ => {}
            }
        }
        for sweep in &back.sweeps {
            for root in &sweep.roots {
                if let RootKind::Gradient(sum) = root.kind {
                    found.insert(sum, sweep.layout.size());
                }
            }
        }
        let mut next = 0;
        let own = found
            .into_iter()
            .map(|(at, n)| {
                let own = next;
                next += n;
                (at, own, n)
            })
            .collect();
        (own, next)
    }

    /// The floats of scratch memory that any of these needs.
    fn scratch(&self, lists: &[&[Instr]], sweeps: &[&Vec<Sweep>], threads: Threads) -> usize {
        let instrs = lists.iter().flat_map(|list| list.iter());
        let sweeps = sweeps.iter().flat_map(|list| list.iter());
        instrs
            .map(|instr| vectors::scratch(instr, threads))
            .chain(sweeps.map(|sweep| sweeps::scratch(sweep, threads)))
            .max()
            .unwrap_or(0)
    }

    /// The vector states that the next step reads: target, source, number of elements.
    pub(super) fn moved(&self) -> impl Iterator<Item = (usize, Place, usize)> + '_ {
        self.nexts
            .iter()
            .filter_map(|(slot, place, n)| match self.homes[*slot] {
                Home::Vector { step: Some(at), .. } => Some((at, *place, *n)),
                Home::Vector { step: None, .. } | Home::Block { .. } => None,
            })
    }
}
