//! The stream of events.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc::unbounded_channel;

use crate::observe::observed::EngineEvent;
use crate::port::engine::Answer;
use crate::sim::state::{HostState, Subscriber};

impl HostState {
    /// What happens from now on; the stream ends when the engine goes away or the stream is cut.
    pub(in crate::sim) fn subscribe(&mut self) -> BoxStream<'static, Answer<EngineEvent>> {
        let (sender, receiver) = unbounded_channel();
        self.subscribers.push(Subscriber { sender, late: None });
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) })
            .boxed()
    }
}
