//! The table before the command. An object that is asked for several times, as the rules do, is read once.

use std::{cell::RefCell, collections::HashMap};

use foldhash::fast::FixedState;

use crate::model::{
    View,
    objects::{Association, Eip, Eni, Vpc},
};

/// A view, and the objects that were read of it last.
pub(super) struct Base<'v> {
    /// All of it.
    pub(super) view: &'v dyn View,
    vpc: Last<Vpc>,
    eni: Last<Eni>,
    eip: Last<Eip>,
    association: Last<Association>,
}

/// What was read last, by id.
type Last<T> = RefCell<HashMap<String, Option<T>, FixedState>>;

/// So many objects of a kind are remembered: a document of more is gone through several times, and reading an object again is
/// cheaper than a million in memory.
const REMEMBERED: usize = 1 << 17;

impl<'v> Base<'v> {
    pub(super) fn new(view: &'v dyn View) -> Self {
        Self {
            view,
            vpc: Last::default(),
            eni: Last::default(),
            eip: Last::default(),
            association: Last::default(),
        }
    }

    pub(super) fn vpc(&self, id: &str) -> Option<Vpc> {
        once(&self.vpc, id, |id| self.view.vpc(id))
    }

    pub(super) fn eni(&self, id: &str) -> Option<Eni> {
        once(&self.eni, id, |id| self.view.eni(id))
    }

    pub(super) fn eip(&self, id: &str) -> Option<Eip> {
        once(&self.eip, id, |id| self.view.eip(id))
    }

    pub(super) fn association(&self, eip: &str) -> Option<Association> {
        once(&self.association, eip, |eip| self.view.association(eip))
    }
}

fn once<T: Clone>(last: &Last<T>, id: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut last = last.borrow_mut();
    if let Some(object) = last.get(id) {
        return object.clone();
    }
    let object = read(id);
    if last.len() == REMEMBERED {
        last.clear();
    }
    last.insert(id.to_owned(), object.clone());
    object
}
