//! Something that one asks for while the others wait: its answer is for all who wait.

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Failure;

/// What was got, or how that failed.
enum State<T> {
    Nothing,
    Is(T),
    Failed(Instant, Failure),
}

/// See above. A failure is for those who waited for it; who comes later asks again.
pub(super) struct Single<T>(Mutex<State<T>>);

impl<T> Default for Single<T> {
    fn default() -> Self {
        Self(Mutex::new(State::Nothing))
    }
}

impl<T: Clone> Single<T> {
    /// What is there and good, or what asking brings.
    pub(super) async fn get(
        &self,
        is_good: impl Fn(&T) -> bool,
        ask: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let arrived = Instant::now();
        let mut state = self.0.lock().await;
        match &*state {
            State::Is(value) if is_good(value) => return Ok(value.clone()),
            State::Failed(at, failure) if *at >= arrived => return Err(failure.clone()),
            _ => *state = State::Nothing,
        }
        let found = ask.await;
        *state = match &found {
            Ok(value) => State::Is(value.clone()),
            Err(failure) => State::Failed(Instant::now(), failure.clone()),
        };
        found
    }

    /// What is there; nothing while somebody asks.
    pub(super) fn known(&self) -> Option<T> {
        match &*self.0.try_lock().ok()? {
            State::Is(value) => Some(value.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn one_asks_for_all_who_wait_and_a_failure_is_not_kept() {
        let (single, asked) = (Single::default(), AtomicUsize::new(0));
        let get = async |result: Result<u32, Failure>| {
            let ask = async {
                asked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(20)).await;
                result
            };
            single.get(|value| *value < 7, ask).await.ok()
        };
        let all = join_all((0..8).map(|_| get(Err(Failure::Broke)))).await;
        assert_eq!((all, asked.load(Ordering::SeqCst)), (vec![None; 8], 1));
        sleep(Duration::from_millis(5)).await;
        let all = join_all((0..8).map(|_| get(Ok(1)))).await;
        assert_eq!((all, asked.load(Ordering::SeqCst)), (vec![Some(1); 8], 2));
        assert_eq!(get(Ok(2)).await, Some(1), "it is kept");
        let single = Single::default();
        let get = async |value: u32| {
            single
                .get(|value| *value < 7, async { Ok(value) })
                .await
                .ok()
        };
        assert_eq!(get(9).await, Some(9));
        assert_eq!(
            get(3).await,
            Some(3),
            "what is no longer good is asked for again"
        );
    }
}
