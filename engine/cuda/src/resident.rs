//! Which coded pages lie in which slots of the GPU's memory.
//!
//! In: the pages that are about to be attended to. Out: those that must be brought, each with its slot, and what leaves it.
//! A page is one layer's part of a block.
//!
//! Cost: a look-up a page; a pass over all slots where something must make room.

use std::collections::HashMap;

/// A page of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageId {
    /// Of the model.
    pub layer: usize,
    /// From the start of the document.
    pub page: usize,
}

/// The slots and what lies in them.
#[derive(Debug)]
pub struct Resident {
    slots: Vec<Option<PageId>>,
    /// When a slot was last asked for.
    used: Vec<u64>,
    places: HashMap<PageId, usize>,
    now: u64,
}

/// What makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// What was not asked for for longest: pages that are asked for often stay.
    Oldest,
    /// What was asked for last, but for the very last pages: of pages that come round in turn as many as possible stay.
    Newest,
}

/// A page that is to be brought into a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// What is to be brought.
    pub id: PageId,
    /// Where to.
    pub slot: usize,
    /// What lay there until now; it is no longer on the GPU.
    pub leaves: Option<PageId>,
}

impl Resident {
    /// So many empty slots.
    pub fn new(slots: usize) -> Resident {
        Resident {
            slots: vec![None; slots],
            used: vec![0; slots],
            places: HashMap::new(),
            now: 0,
        }
    }

    /// How many pages there is room for.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    #[cfg(test)]
    fn slot(&self, id: PageId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Makes these pages stay, and gives places to those that are not there; `None` if there are more pages than slots.
    /// What it returns counts as brought.
    pub fn ask(&mut self, ids: &[PageId], leaving: Leaving) -> Option<Vec<Arrival>> {
        self.now += 1;
        let mut missing = Vec::new();
        for id in ids {
            match self.places.get(id) {
                Some(slot) => self.used[*slot] = self.now,
                None => missing.push(*id),
            }
        }
        missing.sort_unstable_by_key(|id| (id.layer, id.page));
        missing.dedup();
        if missing.is_empty() {
            return Some(Vec::new());
        }
        let mut free: Vec<usize> = (0..self.slots.len())
            .filter(|slot| self.used[*slot] < self.now)
            .collect();
        if missing.len() > free.len() {
            return None;
        }
        // Empty slots were never used and come first.
        free.sort_by_key(|slot| match (leaving, self.used[*slot]) {
            (Leaving::Oldest, used) => used,
            (Leaving::Newest, 0) => 0,
            // What was asked for last may be read at this moment.
            (Leaving::Newest, used) if used + 1 == self.now => self.now,
            (Leaving::Newest, used) => self.now - used,
        });
        let arrivals = missing.into_iter().zip(free).map(|(id, slot)| {
            let leaves = self.slots[slot].replace(id);
            if let Some(leaves) = leaves {
                self.places.remove(&leaves);
            }
            self.places.insert(id, slot);
            self.used[slot] = self.now;
            Arrival { id, slot, leaves }
        });
        Some(arrivals.collect())
    }

    /// Forgets all pages.
    pub fn clear(&mut self) {
        *self = Resident::new(self.slots.len());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ids(pages: &[usize]) -> Vec<PageId> {
        pages
            .iter()
            .map(|page| PageId {
                layer: 0,
                page: *page,
            })
            .collect()
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut resident = Resident::new(3);
        let first = resident.ask(&ids(&[4, 5, 4]), Leaving::Oldest).unwrap();
        assert_eq!(first.len(), 2);
        assert!(first.iter().all(|arrival| arrival.leaves.is_none()));
        assert!(
            resident
                .ask(&ids(&[5]), Leaving::Oldest)
                .unwrap()
                .is_empty()
        );
        // The third slot is empty, then page 4 is the oldest.
        assert_eq!(
            resident.ask(&ids(&[6]), Leaving::Oldest).unwrap()[0].leaves,
            None
        );
        let arrival = resident.ask(&ids(&[7, 5]), Leaving::Oldest).unwrap();
        assert_eq!(arrival.len(), 1);
        assert_eq!(arrival[0].leaves, Some(PageId { layer: 0, page: 4 }));
        assert_eq!(resident.slot(PageId { layer: 0, page: 4 }), None);
        assert_eq!(resident.slot(arrival[0].id), Some(arrival[0].slot));
    }

    #[test]
    fn more_pages_than_slots_are_refused_and_nothing_is_lost() {
        let mut resident = Resident::new(2);
        resident.ask(&ids(&[1, 2]), Leaving::Oldest).unwrap();
        assert!(resident.ask(&ids(&[1, 3, 4]), Leaving::Oldest).is_none());
        assert!(resident.slot(PageId { layer: 0, page: 1 }).is_some());
        assert!(resident.slot(PageId { layer: 0, page: 2 }).is_some());
        let other_layer = PageId { layer: 1, page: 1 };
        assert_eq!(
            resident.ask(&[other_layer], Leaving::Oldest).unwrap().len(),
            1
        );
    }

    #[test]
    fn of_pages_that_come_round_in_turn_most_stay() {
        let mut resident = Resident::new(6);
        let rounds: Vec<usize> = (0..10).collect();
        let mut round = || -> usize {
            let turns = rounds.chunks(1);
            turns
                .map(|turn| resident.ask(&ids(turn), Leaving::Newest).unwrap().len())
                .sum()
        };
        let arrived: Vec<usize> = (0..5).map(|_| round()).collect();
        // Four of six slots keep their pages, the others pass two slots; the oldest leaving first none would stay.
        assert_eq!(arrived[0], 10);
        assert!(
            arrived[1..].iter().all(|arrived| *arrived <= 6),
            "{arrived:?}"
        );
    }
}
