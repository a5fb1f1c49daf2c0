//! What waits for the next flush, by group and pane.

use std::collections::HashMap;

use foldhash::quality::RandomState;

/// `B` is what events are gathered in.
pub(super) struct Panes<B> {
    waiting: Vec<Pane<B>>,
    places: HashMap<(u32, i64), usize, RandomState>,
    /// Of each group the pane last asked for, and its place: events mostly come in the order of their times.
    recent: Vec<Option<(i64, usize)>>,
}

pub(super) struct Pane<B> {
    /// Number of the group.
    pub group: u32,
    pub start: i64,
    pub body: B,
}

impl<B> Default for Panes<B> {
    fn default() -> Panes<B> {
        Panes { waiting: Vec::new(), places: HashMap::default(), recent: Vec::new() }
    }
}

impl<B> Panes<B> {
    /// Where the pane of a group is that begins at `start`.
    pub fn place(&mut self, group: u32, start: i64, empty: impl FnOnce() -> B) -> usize {
        match self.recent.get(group as usize) {
            Some(&Some((recent, at))) if recent == start => at,
            Some(_) | None => self.find(group, start, empty),
        }
    }

    /// What is gathered at a place.
    pub fn body(&mut self, place: usize) -> &mut B {
        &mut self.waiting[place].body
    }

    fn find(&mut self, group: u32, start: i64, empty: impl FnOnce() -> B) -> usize {
        let at = *self.places.entry((group, start)).or_insert_with(|| {
            self.waiting.push(Pane { group, start, body: empty() });
            self.waiting.len() - 1
        });
        let known = self.recent.len().max(group as usize + 1);
        self.recent.resize(known, None);
        self.recent[group as usize] = Some((start, at));
        at
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Hands out all of them, in no order that means anything.
    pub fn drain(&mut self) -> Vec<Pane<B>> {
        self.places.clear();
        self.recent.clear();
        std::mem::take(&mut self.waiting)
    }
}
