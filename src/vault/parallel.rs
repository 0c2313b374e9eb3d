//! Requests that do not wait for one another.

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::yield_now;

use crate::vault::client::Client;

/// This many requests are made before they are sent, so the server begins with the first ones while
/// the next ones are made. Each part is one packet, and TCP sends no more than ten of them before
/// an answer comes (RFC 6928).
const PART: usize = 12;

/// Runs `work` on all items at once, as far as the connection allows, and returns the results in
/// order. If nothing has been sent yet, the first item goes alone: its answer tells how many may
/// follow at once, over the connection that then exists.
pub(crate) async fn in_parallel<T, R>(
    client: &Client,
    items: &[T],
    work: &impl AsyncFn(&T) -> R,
) -> Vec<R> {
    let alone = usize::from(!client.is_connected()).min(items.len());
    let (first, rest) = items.split_at(alone);
    let mut done = at_once(1, first, work).await;
    done.extend(at_once(client.parallel(), rest, work).await);
    done
}

/// Runs `work` on one item after the other.
pub(crate) async fn in_turn<T, R>(items: &[T], work: &impl AsyncFn(&T) -> R) -> Vec<R> {
    at_once(1, items, work).await
}

async fn at_once<T, R>(most: usize, items: &[T], work: &impl AsyncFn(&T) -> R) -> Vec<R> {
    let mut done: Vec<(usize, R)> = Vec::with_capacity(items.len());
    let mut left = items.iter().enumerate();
    let mut under_way = FuturesUnordered::new();
    loop {
        let part = left.by_ref().take(PART.min(most - under_way.len()));
        let before = under_way.len();
        under_way.extend(part.map(async |(at, item)| (at, work(item).await)));
        let is_none_new = under_way.len() == before;
        // Makes the new requests and collects the results that have arrived.
        while let Some(Some(result)) = under_way.next().now_or_never() {
            done.push(result);
        }
        if !is_none_new {
            // Lets the connection send them.
            yield_now().await;
        } else if let Some(result) = under_way.next().await {
            done.push(result);
        } else {
            break;
        }
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn results_keep_their_order_and_no_more_than_so_many_are_under_way() {
        let items: Vec<usize> = (0..100).collect();
        for (most, expected) in [(1, 1), (3, 3), (64, 64), (1000, 100)] {
            let (under_way, peak) = (Cell::new(0), Cell::new(0));
            let work = async |item: &usize| {
                under_way.set(under_way.get() + 1);
                peak.set(peak.get().max(under_way.get()));
                // Later items finish earlier.
                for _ in *item..200 {
                    yield_now().await;
                }
                under_way.set(under_way.get() - 1);
                item * 2
            };
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let done = runtime.block_on(at_once(most, &items, &work));
            assert_eq!(done, (0..200).step_by(2).collect::<Vec<_>>());
            assert_eq!(peak.get(), expected, "{most}");
            assert!(runtime.block_on(at_once(most, &[] as &[usize], &work)).is_empty());
        }
    }

    #[test]
    fn others_get_their_turn_after_each_part_also_where_results_are_there_at_once() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let begun = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&begun);
        let connection = runtime.spawn(async move {
            let mut turns = vec![0];
            while turns.last().is_some_and(|last| *last < 100) {
                turns.push(seen.load(Ordering::Relaxed));
                yield_now().await;
            }
            turns
        });
        let work = async |_: &u8| begun.fetch_add(1, Ordering::Relaxed);
        let turns = runtime.block_on(async {
            at_once(1000, &[0; 100], &work).await;
            connection.await.expect("its turns")
        });
        assert!(turns.windows(2).all(|turn| turn[1] - turn[0] <= PART), "{turns:?}");
    }
}
