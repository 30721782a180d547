//! What other servers answered when they were asked the same, replayed.

use std::collections::HashMap;

use super::super::world::World;
use super::Asker;

/// A server's answers to every unit in every state of health it was asked in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The server's name.
    pub name: String,
    /// For the datacenters that were down, in ascending order: by unit, the datacenters it was sent
    /// to, of which each answer takes the next.
    pub answers: HashMap<Vec<usize>, Vec<Vec<u16>>>,
}

/// A recording at work.
pub(in super::super) struct Replay {
    recording: Recording,
    down: Vec<usize>,
    turns: Vec<u32>,
    datacenters: usize,
}

impl Replay {
    pub(super) fn new(recording: Recording, world: &World) -> Replay {
        Replay {
            recording,
            down: Vec::new(),
            turns: Vec::new(),
            datacenters: world.datacenters.len(),
        }
    }

    pub(super) fn health(&mut self, datacenter: usize, up: bool) {
        self.down.retain(|down| *down != datacenter);
        if !up {
            self.down.push(datacenter);
            self.down.sort_unstable();
        }
    }

    /// # Panics
    ///
    /// If the server was not asked for that unit in that state.
    pub(super) fn answer(&mut self, asker: Asker) -> usize {
        let Some(answers) = self.recording.answers.get(&self.down) else {
            panic!("{}: no recording with {:?} down", self.recording.name, self.down);
        };
        if self.turns.len() < answers.len() {
            self.turns.resize(answers.len(), 0);
        }
        let taken = &answers[asker.unit];
        let turn = &mut self.turns[asker.unit];
        *turn = turn.wrapping_add(1);
        let datacenter = usize::from(taken[*turn as usize % taken.len()]);
        assert!(
            datacenter < self.datacenters,
            "{}: no datacenter {datacenter}",
            self.recording.name
        );
        datacenter
    }
}
