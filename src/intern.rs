//! Collections in which each item occurs once, and ids that name the items.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::error::Error;

/// Names an item of an [`Interned`] of this type. An id cannot name an item of another type.
pub struct Id<T> {
    number: usize,
    of: PhantomData<fn() -> T>,
}

/// Items in the order in which they were added, no two of them equal.
#[derive(Debug)]
pub struct Interned<T>(Vec<T>);

impl<T> Interned<T> {
    /// Returns the items with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.0.iter().enumerate().map(|(number, item)| (Id::new(number), item))
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the item that an id names.
    ///
    /// # Errors
    /// 70 for the id of another collection.
    pub fn get(&self, id: Id<T>) -> Result<&T, Error> {
        self.0.get(id.number).ok_or_else(|| Error::internal("an id that names nothing"))
    }
}

impl<T: PartialEq> Interned<T> {
    /// Returns the id of an item. Adds the item if it is new.
    pub fn intern(&mut self, item: T) -> Id<T> {
        let known = self.0.iter().position(|known| *known == item);
        Id::new(known.unwrap_or_else(|| {
            self.0.push(item);
            self.0.len() - 1
        }))
    }
}

impl<T> Default for Interned<T> {
    fn default() -> Interned<T> {
        Interned(Vec::new())
    }
}

impl<T: PartialEq> FromIterator<T> for Interned<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Interned<T> {
        let mut interned = Interned::default();
        for item in items {
            interned.intern(item);
        }
        interned
    }
}

impl<T> Id<T> {
    fn new(number: usize) -> Id<T> {
        Id { number, of: PhantomData }
    }
}

// Written by hand: the derived impl would require the same of T.

impl<T> Clone for Id<T> {
    fn clone(&self) -> Id<T> {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Id<T>) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Id<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Id<T>) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_have_one_id_and_each_id_names_its_item() {
        let mut items = Interned::default();
        let ids = ["a", "b", "a", "c", "b"].map(|item| items.intern(item));
        assert_eq!((ids[0], ids[1]), (ids[2], ids[4]));
        assert_eq!(
            items.iter().collect::<Vec<_>>(),
            [(ids[0], &"a"), (ids[1], &"b"), (ids[3], &"c")]
        );
        assert_eq!(items.get(ids[3]), Ok(&"c"));
        let other: Interned<&str> = ["a"].into_iter().collect();
        assert_eq!(other.get(ids[3]).expect_err("another's").code.status(), 70);
    }
}
