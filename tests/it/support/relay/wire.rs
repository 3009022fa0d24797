//! The relay's threads. For one connection: `up` (client to server), `down` (server to client or to the queue), and
//! for the lane `forward` (queue to client).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::{Frame, Held, Lane, Pace, Sent, Shared, is};
use crate::support::resp::{self, Value};

pub fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let server = TcpStream::connect(shared.upstream);
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        let Ok(server) = server else { continue };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
            state
                .streams
                .push(stream.try_clone().expect("a second handle"));
        }
        let connection = Arc::new(Connection {
            shared: Arc::clone(shared),
            client,
            server,
            lane: Mutex::new(None),
        });
        let up = Arc::clone(&connection);
        state.threads.push(thread::spawn(move || up.up()));
        state.threads.push(thread::spawn(move || connection.down()));
    }
}

/// One connection of nearside's and the one to the server that belongs to it.
struct Connection {
    shared: Arc<Shared>,
    client: TcpStream,
    server: TcpStream,
    /// Its place among the lanes, once it is known for one.
    lane: Mutex<Option<usize>>,
}

impl Connection {
    fn lane(&self) -> Option<usize> {
        *self.lane.lock().expect("unpoisoned")
    }

    fn up(self: Arc<Self>) {
        let mut unparsed = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = (&self.client).read(&mut chunk) {
            unparsed.extend_from_slice(&chunk[..count]);
            let commands = take_commands(&mut unparsed);
            let tracks = |command: &Sent| {
                let [name, sub, on, ..] = command.as_slice() else {
                    return false;
                };
                is(name, "CLIENT") && is(sub, "TRACKING") && is(on, "ON")
            };
            if self.lane().is_none() && commands.iter().any(tracks) {
                self.become_lane();
            }
            let Some(lane) = self.lane() else {
                if (&self.server).write_all(&chunk[..count]).is_err() {
                    break;
                }
                continue;
            };
            let mut state = self.shared.lock();
            state.sent.extend(commands);
            if state.stalled {
                state.lanes[lane].pending.extend_from_slice(&chunk[..count]);
            } else if (&self.server).write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        let _ = self.server.shutdown(Shutdown::Both);
    }

    fn become_lane(self: &Arc<Self>) {
        let mut state = self.shared.lock();
        let lane = state.lanes.len();
        state.lanes.push(Lane {
            queue: VecDeque::new(),
            client: self.client.try_clone().expect("a second handle"),
            server: self.server.try_clone().expect("a second handle"),
            pending: Vec::new(),
            alive: true,
        });
        *self.lane.lock().expect("unpoisoned") = Some(lane);
        let shared = Arc::clone(&self.shared);
        state
            .threads
            .push(thread::spawn(move || forward(&shared, lane)));
    }

    fn down(self: Arc<Self>) {
        let mut unparsed = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = (&self.server).read(&mut chunk) {
            unparsed.extend_from_slice(&chunk[..count]);
            let frames = take_frames(&mut unparsed);
            if let Some(lane) = self.lane() {
                let mut state = self.shared.lock();
                if state.lanes[lane].alive {
                    state.lanes[lane].queue.extend(frames);
                }
                drop(state);
                self.shared.changed.notify_all();
            } else {
                let bytes: Vec<u8> = frames.into_iter().flat_map(|f| f.bytes).collect();
                if (&self.client).write_all(&bytes).is_err() {
                    break;
                }
            }
        }
        if let Some(lane) = self.lane() {
            self.shared.lock().lanes[lane].end();
            self.shared.changed.notify_all();
        }
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

fn take_commands(unparsed: &mut Vec<u8>) -> Vec<Sent> {
    let frames = take_frames(unparsed);
    let words = |value: &Value| match value {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("an argument is a bulk string, not {other:?}"),
    };
    let command = |frame: Frame| frame.value.elements().iter().map(words).collect();
    frames.into_iter().map(command).collect()
}

fn take_frames(unparsed: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut done = 0;
    while let Some((value, length)) = resp::parse(&unparsed[done..]) {
        frames.push(Frame {
            value,
            bytes: unparsed[done..done + length].to_vec(),
            arrived: Instant::now(),
        });
        done += length;
    }
    unparsed.drain(..done);
    frames
}

/// Forwards one lane's queue until the lane ends.
fn forward(shared: &Shared, lane: usize) {
    let mut state = shared.lock();
    loop {
        let held = match state.held {
            Held::None => false,
            Held::All => true,
            Held::Only(one) => one == lane,
        };
        let pace = state.pace;
        let this = &mut state.lanes[lane];
        if !this.alive {
            return;
        }
        let now = Instant::now();
        let due = match (this.queue.front(), pace) {
            (None, _) => None,
            (Some(front), Pace::Delayed(delay)) => Some(front.arrived + delay),
            (Some(_), _) => Some(now),
        };
        match due {
            Some(due) if !held && due <= now => {
                let ready = match pace {
                    Pace::Flowing => this.queue.len(),
                    Pace::Trickle(_) => 1,
                    Pace::Delayed(delay) => {
                        let due = |frame: &Frame| frame.arrived + delay <= now;
                        this.queue.iter().take_while(|frame| due(frame)).count()
                    }
                };
                let bytes: Vec<u8> = this.queue.drain(..ready).flat_map(|f| f.bytes).collect();
                if this.client.write_all(&bytes).is_err() {
                    this.end();
                }
                if let Pace::Trickle(pause) = pace {
                    drop(state);
                    thread::sleep(pause);
                    state = shared.lock();
                }
            }
            Some(due) if !held => {
                let wait = shared.changed.wait_timeout(state, due - now);
                state = wait.expect("unpoisoned").0;
            }
            _ => state = shared.changed.wait(state).expect("unpoisoned"),
        }
    }
}
