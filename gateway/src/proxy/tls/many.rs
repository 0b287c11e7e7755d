//! The same work for many things, over the cores there are.

use std::num::NonZero;
use std::thread;

/// Below this a thread costs more than it saves.
const FEW: usize = 32;

/// Does `work` for each item and returns what came of them in order.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    spread(items, cores, &work)
}

fn spread<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: &(impl Fn(&T) -> R + Sync),
) -> Vec<R> {
    let share = items.len().div_ceil(threads.max(1)).max(FEW);
    let Some((own, others)) = items
        .split_at_checked(share)
        .filter(|(_, rest)| !rest.is_empty())
    else {
        return items.iter().map(work).collect();
    };
    thread::scope(|scope| {
        let shares = others.chunks(share);
        let started: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<_>>()))
            .collect();
        let mut all: Vec<R> = own.iter().map(work).collect();
        for thread in started {
            match thread.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::thread;

    use super::{FEW, spread};

    #[test]
    fn all_is_done_once_and_in_order_however_many_threads_there_are() {
        for count in [0, 1, FEW, FEW + 1, 5 * FEW, 5 * FEW + 1] {
            let items: Vec<usize> = (0..count).collect();
            for threads in [0, 1, 2, 3, 64] {
                let doubled = spread(&items, threads, &|n| n * 2);
                let wanted: Vec<_> = items.iter().map(|n| n * 2).collect();
                assert_eq!(doubled, wanted, "{count} items, {threads} threads");
            }
        }
    }

    #[test]
    fn a_few_stay_on_one_thread_and_many_do_not() {
        let threads_of = |count: usize| {
            let seen = Mutex::new(HashSet::new());
            let items = vec![(); count];
            spread(&items, 4, &|()| {
                seen.lock().unwrap().insert(thread::current().id())
            });
            seen.into_inner().unwrap().len()
        };
        assert_eq!(threads_of(FEW), 1);
        assert_eq!(threads_of(4 * FEW), 4);
    }
}
