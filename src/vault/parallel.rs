//! Requests that do not wait for one another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::vault::client::Client;

/// Threads that wait for an answer need little: what is read is on the heap.
const STACK: usize = 256 << 10;

/// `work` on each item at once, as far as the connection allows, with the results in order. The first one goes alone
/// where nothing has been sent yet: its answer tells how many may follow at once, over a connection that is there then.
pub fn in_parallel<T: Sync, R: Send>(client: &Client, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Some((first, rest)) = items.split_first() else { return Vec::new() };
    if !client.is_connected() || rest.is_empty() {
        let first = work(first);
        return std::iter::once(first).chain(on_threads(client.parallel(), rest, &work)).collect();
    }
    on_threads(client.parallel(), items, &work)
}

fn on_threads<T: Sync, R: Send>(most: usize, items: &[T], work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(items.iter().map(|_| None).collect::<Vec<_>>());
    let take = || {
        while let Some((at, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
        {
            let result = work(item);
            if let Some(place) = done.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                *place = Some(result);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..most.min(items.len()) {
            // Where there can be no more threads, those that there are do the work.
            if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, take).is_err() {
                break;
            }
        }
        take();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_whatever_the_number_of_threads() {
        let items: Vec<usize> = (0..100).collect();
        for most in [1, 3, 64, 1000] {
            assert_eq!(on_threads(most, &items, &|item: &usize| item * 2), (0..200).step_by(2).collect::<Vec<_>>());
        }
        assert_eq!(on_threads(8, &[] as &[u8], &|_| 1), Vec::<i32>::new());
    }
}
