//! Questions that are asked before anybody needs the answers: the engine already looks while a command reads its site.
//!
//! In: a beginning. Out: the list of containers and what each of ours is, once, to whoever asks for the same first. All
//! other questions are asked as ever, so that nobody is told of the past.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use super::transport::Transport;
use super::wire;
use crate::model::labels;
use crate::model::names::{HostName, SiteName};
use crate::port::engine::Answer;

type Asked<T> = JoinHandle<Answer<T>>;

/// What was asked ahead and has not been fetched.
#[derive(Clone, Default)]
pub(super) struct Ahead(Arc<Mutex<Questions>>);

#[derive(Default)]
struct Questions {
    list: Option<Asked<Vec<wire::ListedContainer>>>,
    containers: HashMap<String, Asked<wire::Container>>,
    /// Until the list is there: what somebody has asked for without it.
    without: Option<HashSet<String>>,
}

impl Ahead {
    /// Asks for the list, and then for each container on it that belongs to this host of this site.
    pub(super) fn begin(&self, transport: &Transport, site: SiteName, host: HostName) {
        let is_ours = move |entry: &&wire::ListedContainer| {
            let says = |label: &str, name: &str| entry.labels.get(label).is_some_and(|value| value == name);
            says(labels::SITE, site.as_str()) && says(labels::HOST, host.as_str())
        };
        let (shared, transport) = (self.clone(), transport.clone());
        let mut questions = self.questions();
        questions.without = Some(HashSet::new());
        questions.list = Some(tokio::spawn(async move {
            let list = transport.list().await;
            let mut questions = shared.questions();
            let without = questions.without.take().unwrap_or_default();
            for entry in list.iter().flatten().filter(is_ours) {
                let (transport, id) = (transport.clone(), entry.id.clone());
                if !without.contains(&id) {
                    let asked = tokio::spawn(async move { transport.inspect(&id).await });
                    questions.containers.insert(entry.id.clone(), asked);
                }
            }
            list
        }));
    }

    /// The list, if it was asked for ahead.
    pub(super) async fn list(&self) -> Option<Answer<Vec<wire::ListedContainer>>> {
        let asked = self.questions().list.take()?;
        asked.await.ok()
    }

    /// One container, if it was asked for ahead. If not, it will not be any more.
    pub(super) async fn container(&self, id: &str) -> Option<Answer<wire::Container>> {
        let asked = {
            let mut questions = self.questions();
            let asked = questions.containers.remove(id);
            if asked.is_none()
                && let Some(without) = &mut questions.without
            {
                without.insert(id.to_owned());
            }
            asked?
        };
        asked.await.ok()
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
