//! How far a pull is: told by the engine line by line for each layer, told on as one short text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::port::engine::PullProgress;
use crate::report::event::Severity;

use super::command::Progress;
use super::reconciler::Reconciler;

/// So often those who wait without a live view are told how far a pull is.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// One pull under way. Its step writes, the loop reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulling(Arc<Mutex<BTreeMap<String, Layer>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    fetched: u64,
    size: u64,
    is_there: bool,
}

impl Pulling {
    /// The engine says something. Lines that are about no layer (the tag, the digest) have no size and are passed over.
    pub(super) fn take(&self, line: PullProgress) {
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match line.status.as_str() {
            "Already exists" | "Pull complete" => {
                let layer = layers.entry(line.layer).or_default();
                (layer.fetched, layer.is_there) = (layer.size, true);
            }
            "Pulling fs layer" | "Waiting" => {
                layers.entry(line.layer).or_default();
            }
            "Downloading" => {
                let layer = layers.entry(line.layer).or_default();
                (layer.fetched, layer.size) = (line.current, line.total.max(line.current));
            }
            "Verifying Checksum" | "Download complete" | "Extracting" => {
                let layer = layers.entry(line.layer).or_default();
                layer.fetched = layer.size;
            }
            _ => {}
        }
    }

    /// `2 of 7 layers, 31.0 of 120.4 MB`; none before the engine has said anything. Layers whose size is not known yet
    /// are not in the sum of bytes.
    pub(super) fn text(&self) -> Option<String> {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if layers.is_empty() {
            return None;
        }
        let there = layers.values().filter(|layer| layer.is_there).count();
        let (fetched, size) =
            layers.values().fold((0, 0), |(fetched, size), layer| (fetched + layer.fetched, size + layer.size));
        let count = format!("{there} of {} layers", layers.len());
        if size == 0 { Some(count) } else { Some(format!("{count}, {} of {} MB", megabytes(fetched), megabytes(size))) }
    }
}

impl Reconciler {
    /// Tells those who wait how far long pulls are.
    pub(super) fn tell_pulls(&mut self) {
        let (now, at) = (Instant::now(), self.now());
        let mut news = Vec::new();
        for (subject, step) in &mut self.in_flight {
            let text = step.pull.as_ref().and_then(Pulling::text);
            if let Some(message) = text.filter(|_| now.duration_since(step.told) >= TOLD_EVERY) {
                step.told = now;
                let (severity, reason, subject) = (Severity::Normal, "Pulling".to_owned(), subject.to_string());
                news.push(Progress { at, severity, reason, subject, message });
            }
        }
        for progress in news {
            self.tell_listeners(&progress);
        }
    }
}

/// In tenths.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(pulling: &Pulling, layer: &str, status: &str, current: u64, total: u64) -> Option<String> {
        pulling.take(PullProgress { layer: layer.to_owned(), status: status.to_owned(), current, total });
        pulling.text()
    }

    #[test]
    fn lines_about_layers_become_one_text() {
        let pulling = Pulling::default();
        assert_eq!(say(&pulling, "12", "Pulling from library/debian", 0, 0), None);
        assert_eq!(say(&pulling, "aaaa", "Pulling fs layer", 0, 0).as_deref(), Some("0 of 1 layers"));
        assert_eq!(say(&pulling, "bbbb", "Already exists", 0, 0).as_deref(), Some("1 of 2 layers"));
        let half = say(&pulling, "aaaa", "Downloading", 60_240_000, 120_480_000);
        assert_eq!(half.as_deref(), Some("1 of 2 layers, 60.2 of 120.4 MB"));
        let extracting = say(&pulling, "aaaa", "Extracting", 1_000, 120_480_000);
        assert_eq!(extracting.as_deref(), Some("1 of 2 layers, 120.4 of 120.4 MB"), "what is unpacked was fetched");
        assert_eq!(say(&pulling, "aaaa", "Pull complete", 0, 0).as_deref(), Some("2 of 2 layers, 120.4 of 120.4 MB"));
        let end = say(&pulling, "", "Digest: sha256:1234", 0, 0);
        assert_eq!(end.as_deref(), Some("2 of 2 layers, 120.4 of 120.4 MB"));
    }
}
