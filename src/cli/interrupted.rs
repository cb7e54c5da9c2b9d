//! That somebody wants the program to end.

use tokio::signal::unix::{SignalKind, signal};

/// Ends when somebody presses Ctrl-C, or asks the program to end.
pub async fn interrupted() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}
