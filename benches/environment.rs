//! The cost of the protocol: steps of lanes whose environment, a Python program, works 20 µs a lane and step and does nothing else,
//! against that work alone: `cargo bench --bench environment`. It needs `python3`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use bpmc::lang::settings::{SettingValue, Settings};
use bpmc::learn::tasks::{find, EpisodeKey};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Works for 20 µs a lane, and sends the same answer each time. It looks for frames as the adapter of Gymnasium does.
const PROGRAM: &str = "
import json, os, struct, time
from gym import Frames
frames = Frames(0, 1)
hello = json.loads(frames.line())
lanes, frames.watch = hello['lanes'], hello['watch']
frames.send(json.dumps({'version': 1, 'inputs': {'obs': 8}, 'actions': 4}).encode() + b'\\n')
size = lanes * (4 * 9 + 1)
answer = struct.pack('<I', size) + bytes(size)
now = time.perf_counter
while True:
    try: frames.frame()
    except EOFError: break
    end = now() + 20e-6 * lanes
    while now() < end: pass
    frames.send(answer)
";

/// The same with the adapter of Gymnasium: a world that works for 20 µs a step, and its steps alone, timed.
const WORLD: &str = "
import sys, time
import gymnasium, numpy as np
class World(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (8,))
    action_space = gymnasium.spaces.Discrete(4)
    shown = np.zeros(8, np.float32)
    def reset(self, seed=None, options=None):
        return self.shown, {}
    def step(self, action, now=time.perf_counter):
        end = now() + 20e-6
        while now() < end: pass
        return self.shown, 0.0, False, False, {}
gymnasium.register('World-v0', World)
if __name__ == '__main__':
    world, best = gymnasium.make('World-v0'), 1.0
    world.reset()
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(500): world.step(0)
        best = min(best, (time.perf_counter() - start) / 500)
    print(best)
";

const STEPS: usize = 2000;

fn main() {
    let folder = std::env::temp_dir().join(format!("bpmc-environment-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("plain.py"), PROGRAM).unwrap();
    std::fs::write(folder.join("world.py"), WORLD).unwrap();
    std::fs::write(folder.join("gym.py"), include_str!("../python/bpmc/gym.py")).unwrap();
    println!("a program that answers with the same bytes");
    measure(&folder, "python3 plain.py", 20e-6);
    let python = std::env::var("BPMC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut alone = Command::new(&python);
    let alone = alone.arg("world.py").current_dir(&folder).output();
    match alone.map(|ran| String::from_utf8(ran.stdout).unwrap()) {
        Ok(text) if !text.is_empty() => {
            println!("an environment of Gymnasium");
            measure(
                &folder,
                &format!("{python} gym.py world:World-v0"),
                text.trim().parse().unwrap(),
            );
        }
        _ => println!("{python} has no gymnasium"),
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Steps lanes of an environment that works so many seconds a lane.
fn measure(folder: &Path, command: &str, work: f64) {
    let entry = find("process").unwrap();
    let mut settings = Settings::defaults(entry.info.settings);
    settings.set("command", SettingValue::Text(Some(command.into())));
    settings.set("directory", SettingValue::Folder(Some(folder.into())));
    let ports = (entry.info.ports)(&settings, &Default::default());
    let task = ports.and_then(|ports| (entry.build)(&settings, &ports));
    let task = task.map_err(|conflict| conflict.message).unwrap();
    for lanes in [1, 4, 16, 64] {
        let mut company = task.companies(&[lanes]).unwrap().remove(0);
        let mut together = company.together.take().unwrap();
        let mut inputs = vec![0.0; task.inputs().iter().map(|port| port.size).sum()];
        for (k, lane) in company.lanes.iter_mut().enumerate() {
            lane.reset(EpisodeKey {
                lane: k as u32,
                ..EpisodeKey::default()
            });
        }
        together.exchange(None).unwrap();
        let mut rounds: Vec<f64> = (0..10)
            .map(|_| {
                let started = Instant::now();
                for step in 0..STEPS / 10 {
                    for lane in &mut company.lanes {
                        lane.observe(&mut inputs);
                        lane.act(step % 4);
                    }
                    together.exchange(Some(step)).unwrap();
                }
                started.elapsed().as_secs_f64() / (STEPS / 10) as f64
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let work = work * lanes as f64;
        println!(
            "{lanes:>3} lanes: {:8.1} us a step (median {:.1}), of which the environment works {:7.1} us: overhead {:.1} % (median {:.1} %)",
            1e6 * rounds[0],
            1e6 * rounds[5],
            1e6 * work,
            100.0 * (rounds[0] / work - 1.0),
            100.0 * (rounds[5] / work - 1.0)
        );
    }
}
