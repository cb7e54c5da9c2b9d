//! What the engine says when it does not do as asked, in the port's words.
//!
//! In: status codes and texts. Out: [`EngineError`]. The status decides; the text only where one status means two
//! things: an engine answers 500 for a full disk and for a capability that the kernel refuses alike, and the first is
//! worth another try while the second is not.

use std::error::Error as StdError;

use bollard::errors::Error;

use super::transport::NoWay;
use crate::edge::ssh::SshError;
use crate::model::time::Span;
use crate::port::engine::EngineError;

/// The surroundings failed, whatever the status says: the same request may succeed later.
const SURROUNDINGS: [&str; 14] = [
    "no space left on device",
    "disk quota exceeded",
    "address already in use",
    "port is already allocated",
    "cannot allocate memory",
    "too many open files",
    "resource temporarily unavailable",
    "read-only file system: unknown",
    "input/output error",
    "context deadline exceeded",
    "context canceled",
    "connection refused",
    "removal of container",
    "is marked for removal",
];

/// Kernel or runtime refused this container, and would again.
const REFUSALS: [&str; 17] = [
    "oci runtime create failed",
    "oci runtime start failed",
    "failed to create shim",
    "failed to create task",
    "invalid argument",
    "not permitted",
    "permission denied",
    "executable file not found",
    "no such file or directory",
    "exec format error",
    "unknown or invalid runtime name",
    "invalid",
    "not supported",
    "unable to apply",
    "unable to find",
    "could not select device driver",
    "is supported only",
];

/// The text of an error reply: `{"message": "..."}`, or as it is.
pub(super) fn message(body: &str) -> String {
    let text = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|value| value.get("message").and_then(|text| text.as_str().map(str::to_owned)))
        .unwrap_or_else(|| body.to_owned());
    text.trim().to_owned()
}

/// By the status of the reply.
pub(super) fn from_status(status: u16, text: &str) -> EngineError {
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let text = if text.is_empty() { format!("the engine answered {status}") } else { text.to_owned() };
    match status {
        // The image is there, but not for this machine.
        404 if says(&["does not match the specified platform"]) => EngineError::Refused(text),
        404 => EngineError::NotFound(text),
        // A container that another one shares something with.
        400 if says(&["no such container"]) => EngineError::NotFound(text),
        409 => EngineError::Conflict(text),
        400..500 if says(&SURROUNDINGS) => EngineError::Failed(text),
        400..500 | 501 => EngineError::Refused(text),
        // podman's way of saying that a name is taken.
        _ if says(&["name is already in use", "is already in use by", "network already exists", "already used"]) => {
            EngineError::Conflict(text)
        }
        _ if says(&SURROUNDINGS) => EngineError::Failed(text),
        500 if says(&REFUSALS) => EngineError::Refused(text),
        _ => EngineError::Failed(text),
    }
}

/// Nobody answered. The causes are spelled out: "client error (Connect)" alone helps nobody.
pub(super) fn unreachable(address: &str, error: &(dyn StdError + 'static)) -> EngineError {
    let mut text = format!("{address}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        // It says all there is to say; what HTTP makes of it does not help.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(ssh) = error.downcast_ref::<SshError>().or_else(|| inner?.downcast_ref()) {
            return EngineError::Unreachable(ssh.to_string());
        }
        if let Some(none) = inner.and_then(|inner| inner.downcast_ref::<NoWay>()) {
            return EngineError::Unreachable(none.to_string());
        }
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    // With TLS 1.3 a server says only after the handshake that it does not want us, and who writes meanwhile may learn
    // no more than that the connection is gone.
    if text.ends_with("connection was not ready") {
        text.push_str("; it ended as soon as it was made: does the engine accept our certificate?");
    }
    EngineError::Unreachable(text)
}

/// What bollard makes of it.
pub(super) fn from_bollard(address: &str, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => from_status(status_code, message.trim()),
        Error::DockerStreamError { error } => from_status(500, error.trim()),
        Error::RequestTimeoutError => EngineError::Timeout(Span::ZERO),
        Error::HyperLegacyError { err } => unreachable(address, &err),
        Error::HyperResponseError { err } => unreachable(address, &err),
        Error::IOError { err } => unreachable(address, &err),
        other => EngineError::Failed(other.to_string()),
    }
}

/// A pull that failed: the registry's fault, unless the engine itself was the obstacle.
pub(super) fn from_pull(error: EngineError) -> EngineError {
    let full = |text: &str| ["no space left on device", "disk quota exceeded"].iter().any(|word| text.contains(word));
    match error {
        EngineError::Failed(text) if full(&text) => EngineError::Failed(text),
        EngineError::Refused(text) if text.contains("invalid reference format") => EngineError::Refused(text),
        EngineError::NotFound(text)
        | EngineError::Conflict(text)
        | EngineError::Refused(text)
        | EngineError::Failed(text) => EngineError::Registry(text),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::port::engine::Blame;

    #[test]
    fn the_status_decides_first() {
        assert!(matches!(from_status(404, "No such container: x"), EngineError::NotFound(_)));
        assert!(matches!(from_status(409, "Conflict"), EngineError::Conflict(_)));
        assert!(matches!(from_status(400, "invalid mount config"), EngineError::Refused(_)));
        assert!(matches!(from_status(403, "endpoint with name x already exists"), EngineError::Refused(_)));
        assert!(matches!(from_status(501, ""), EngineError::Refused(_)));
        assert!(matches!(from_status(503, "This node is not a swarm manager"), EngineError::Failed(_)));
    }

    #[test]
    fn a_500_is_the_specs_fault_only_where_kernel_or_runtime_refused() {
        let blame = |status, text| from_status(status, text).blame();
        for text in [
            "OCI runtime create failed: runc create failed: unable to start container process: error setting rlimit type 7: operation not permitted: unknown",
            "failed to create shim task: OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown",
            "unable to apply caps: operation not permitted",
        ] {
            assert_eq!(blame(500, text), Blame::Spec, "{text}");
        }
        for text in [
            "write /var/lib/docker/x: no space left on device",
            "driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
            "OCI runtime create failed: cannot allocate memory",
            "some mishap of the storage driver",
        ] {
            assert_eq!(blame(500, text), Blame::Environment, "{text}");
        }
    }

    #[test]
    fn podman_calls_a_taken_name_an_internal_error() {
        let text = "creating container storage: the container name \"x\" is already in use by 1b2c. You have to remove that container to be able to reuse that name: that name is already in use";
        assert!(matches!(from_status(500, text), EngineError::Conflict(_)));
    }

    #[test]
    fn a_failed_pull_is_the_registrys_unless_the_disk_is_full() {
        let of = |status, text| from_pull(from_status(status, text));
        assert!(matches!(of(404, "manifest for x:1 not found"), EngineError::Registry(_)));
        assert!(matches!(of(500, "Get \"https://x/v2/\": unauthorized"), EngineError::Registry(_)));
        assert!(matches!(of(500, "failed to register layer: no space left on device"), EngineError::Failed(_)));
        assert!(matches!(of(400, "invalid reference format"), EngineError::Refused(_)));
    }

    #[test]
    fn the_message_is_taken_out_of_its_wrapping() {
        assert_eq!(message("{\"message\":\"no\\n\"}"), "no");
        assert_eq!(message("{\"cause\":\"c\",\"message\":\"m\",\"response\":500}"), "m");
        assert_eq!(message("plain\n"), "plain");
    }
}
