//! A million objects: what they cost, and what a stop or a kill leaves of them. One contender after the other, so that the
//! disk holds one store at a time.

use std::time::Duration;

use super::restart::Ready;
use super::{Case, Scene, Turns, memory, restart};
use crate::peers::contenders::Contender;
use crate::peers::figures::Figure;

const OBJECTS: u32 = 1_000_000;

pub(super) struct Million;

impl Case for Million {
    fn name(&self) -> &'static str {
        "million"
    }

    fn what(&self) -> String {
        format!("{}; then stopped in order, started, asked; then killed (-9), started, asked", memory::what(OBJECTS))
    }

    fn rows(&self) -> Vec<Figure> {
        let mut rows = memory::rows();
        // The first one's store is removed when the second one's is filled, which an ext4 file system makes it pay for.
        rows.iter_mut().filter(|row| row.name == memory::CPU).for_each(|row| row.target = None);
        rows.extend(restart::rows(OBJECTS));
        rows
    }

    /// It takes many minutes, and some 8 GB of the disk.
    fn is_usual(&self) -> bool {
        false
    }

    fn rounds(&self, _wished: u32) -> u32 {
        1
    }

    fn limit(&self, _seconds: f64) -> Duration {
        memory::limit(OBJECTS)
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        Ok(Box::new(Turn { scene: *scene, contender }))
    }
}

struct Turn<'a> {
    scene: Scene<'a>,
    contender: Contender,
}

impl Turns for Turn<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let (full, mut values) = memory::fill_and_weigh(&self.scene, self.contender, OBJECTS)?;
        values.extend(Ready::new(&self.scene, full, OBJECTS).turn()?);
        Ok(values)
    }
}
