//! The table before the command. An object that is asked for several times in a row, as the rules
//! do, is read once.

use std::cell::RefCell;

use crate::model::{
    View,
    objects::{Association, Eip, Eni, Vpc},
};

/// A view, and the object of each kind that was read of it last.
pub(super) struct Base<'v> {
    /// All of it.
    pub(super) view: &'v dyn View,
    vpc: Last<Vpc>,
    eni: Last<Eni>,
    eip: Last<Eip>,
    association: Last<Association>,
}

/// What was read last, with its id.
type Last<T> = RefCell<Option<(String, Option<T>)>>;

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
    match &*last {
        Some((known, object)) if known == id => object.clone(),
        _ => {
            let object = read(id);
            *last = Some((id.to_owned(), object.clone()));
            object
        }
    }
}
