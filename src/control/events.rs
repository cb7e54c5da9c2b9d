//! Follows the engine's events and turns them into inputs of the loop.
//!
//! Events are hints. A stream that broke is opened again, and whoever reads the inputs looks at everything anew then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::port::clock::Clock;
use crate::port::engine::ObserveEngine;

use super::input::Input;

/// The first wait after a break.
const RETRY: Duration = Duration::from_millis(100);
/// The longest wait after a break: a local engine that comes back should not have to wait for long.
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Runs until the loop is gone.
pub async fn follow(engine: Arc<dyn ObserveEngine>, clock: Arc<dyn Clock>, inputs: mpsc::Sender<Input>) {
    let mut failures = 0_u32;
    loop {
        let why = match engine.events().await {
            Ok(mut events) => {
                failures = 0;
                if inputs.send(Input::EventsConnected).await.is_err() {
                    return;
                }
                loop {
                    let next = tokio::select! {
                        next = events.next() => next,
                        () = inputs.closed() => return,
                    };
                    match next {
                        Some(Ok(event)) => {
                            if inputs.send(Input::Engine(event)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "the engine closed it".to_owned(),
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        if inputs.send(Input::EventsLost(why)).await.is_err() {
            return;
        }
        let ceiling = RETRY.saturating_mul(1 << failures.min(10)).min(RETRY_MOST);
        failures = failures.saturating_add(1);
        let wait = ceiling.mul_f64(0.5 + 0.5 * clock.chance());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = inputs.closed() => return,
        }
    }
}
