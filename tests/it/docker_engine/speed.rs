//! Connections are kept and shared; streams do not hold up questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mastic::edge::docker::{ConnectOptions, Endpoint};
use mastic::model::settings::ContainerSettings;
use mastic::port::engine::{Answer, ObserveEngine};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};

use super::{Bench, engine_at};

/// The most connections that questions may take, with some room for one that closes while the next opens.
const CONNECTIONS: usize = 40;

fn all_well<T: std::fmt::Debug>(answers: &[Answer<T>]) {
    let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answers.len(), failed[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_questions_at_once_share_a_few_connections() {
    let bench = Bench::new().await;
    let id = bench.run("asked", ContainerSettings::default()).await;
    let options = ConnectOptions::from_environment(|name| std::env::var(name).ok()).unwrap();
    let Endpoint::Unix(socket) = options.endpoint.clone() else { panic!("this test needs the engine's socket") };
    let path = bench.sandbox.path().join("counted.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut engine = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut engine).await });
        }
    });
    let engine = engine_at(&ConnectOptions { endpoint: Endpoint::Unix(path), ..options });
    for _ in 0..2 {
        all_well(&join_all((0..200).map(|_| engine.inspect_container(&id))).await);
    }
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened <= CONNECTIONS, "{opened} connections for 400 questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_leave_room_for_questions() {
    let bench = Bench::new().await;
    let id = bench.run("followed", ContainerSettings::default()).await;
    let events = join_all((0..30).map(|_| bench.engine.events())).await;
    let logs = join_all((0..30).map(|_| bench.engine.logs(&id, true, None))).await;
    assert!(events.iter().all(Result::is_ok) && logs.iter().all(Result::is_ok));
    let questions = join_all((0..100).map(|_| bench.engine.inspect_container(&id)));
    all_well(&tokio::time::timeout(Duration::from_secs(30), questions).await.expect("questions are not held up"));
}
