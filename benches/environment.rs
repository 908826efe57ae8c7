//! The cost of the protocol: steps of lanes whose environment, a Python program, works 20 µs a lane and step and does nothing else,
//! against that work alone: `cargo bench --bench environment`. It needs `python3`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use bpmc::lang::settings::{SettingValue, Settings};
use bpmc::learn::tasks::{find, EpisodeKey};
use std::time::Instant;

/// Works for 20 µs a lane, and sends the same answer each time.
const PROGRAM: &str = "
import json, struct, sys, time
lanes = json.loads(sys.stdin.buffer.readline())['lanes']
print(json.dumps({'version': 1, 'inputs': {'obs': 8}, 'actions': 4}), flush=True)
size = lanes * (4 * 9 + 1)
answer = struct.pack('<I', size) + bytes(size)
read, write, now = sys.stdin.buffer.read, sys.stdout.buffer.write, time.perf_counter
while True:
    head = read(4)
    if len(head) < 4: break
    read(struct.unpack('<I', head)[0])
    end = now() + 20e-6 * lanes
    while now() < end: pass
    write(answer); sys.stdout.flush()
";

const STEPS: usize = 2000;

fn main() {
    let folder = std::env::temp_dir().join(format!("bpmc-environment-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("world.py"), PROGRAM).unwrap();
    let entry = find("process").unwrap();
    let mut settings = Settings::defaults(entry.info.settings);
    settings.set(
        "command",
        SettingValue::Text(Some("python3 world.py".into())),
    );
    settings.set(
        "directory",
        SettingValue::Folder(Some(folder.as_path().into())),
    );
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
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let started = Instant::now();
            for step in 0..STEPS / 5 {
                for lane in &mut company.lanes {
                    lane.observe(&mut inputs);
                    lane.act(step % 4);
                }
                together.exchange(Some(step)).unwrap();
            }
            best = best.min(started.elapsed().as_secs_f64() / (STEPS / 5) as f64);
        }
        let work = 20e-6 * lanes as f64;
        println!(
            "{lanes:>3} lanes: {:8.1} us a step, of which the environment works {:7.1} us: overhead {:.1} %",
            1e6 * best,
            1e6 * work,
            100.0 * (best / work - 1.0)
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
}
