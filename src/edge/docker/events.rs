//! The engine's events.
//!
//! In: one JSON object a line. Out: [`EngineEvent`]s. The engine itself leaves out what nobody here acts on, above all
//! the three events that each run of each health check makes.

use bytes::{Buf, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

use super::transport::{escape, read_json};
use super::{convert, errors, wire};
use crate::observe::observed::EngineEvent;
use crate::port::engine::{Answer, EngineError};

/// Of containers, networks, volumes and images; podman's words among them (`died`, `remove`).
const ACTIONS: [&str; 26] = [
    "create",
    "start",
    "restart",
    "die",
    "died",
    "stop",
    "kill",
    "destroy",
    "remove",
    "oom",
    "rename",
    "update",
    "pause",
    "unpause",
    "health_status",
    "connect",
    "disconnect",
    "pull",
    "tag",
    "untag",
    "delete",
    "load",
    "import",
    "prune",
    "cleanup",
    "init",
];

/// No event is longer; a line without end is no engine's.
const LONGEST: usize = 1 << 20;

/// What to ask for.
pub(super) fn path() -> String {
    let filters = json!({"type": ["container", "network", "volume", "image"], "event": ACTIONS});
    format!("/events?filters={}", escape(&filters.to_string()))
}

/// The events of a reply as they come. The stream ends with the connection.
pub(super) fn stream(address: &str, response: Response<Incoming>) -> BoxStream<'static, Answer<EngineEvent>> {
    let address = address.to_owned();
    let mut buffer = BytesMut::new();
    response
        .into_body()
        .into_data_stream()
        .flat_map(move |part| {
            let items = match part {
                Ok(bytes) => {
                    buffer.extend_from_slice(&bytes);
                    take_lines(&mut buffer)
                }
                Err(error) => vec![Err(errors::unreachable(&address, &error))],
            };
            stream::iter(items)
        })
        .boxed()
}

fn take_lines(buffer: &mut BytesMut) -> Vec<Answer<EngineEvent>> {
    let mut events = Vec::new();
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let line = buffer.split_to(end);
        buffer.advance(1);
        if !line.iter().all(u8::is_ascii_whitespace) {
            events.push(read_json::<wire::Event>(&line).map(event));
        }
    }
    if buffer.len() > LONGEST {
        buffer.clear();
        events.push(Err(EngineError::Failed("the engine sent an event without end".to_owned())));
    }
    events
}

fn event(reply: wire::Event) -> EngineEvent {
    let (action, detail) = match reply.action.split_once(':') {
        Some((action, detail)) => (action.to_owned(), detail.trim().to_owned()),
        None => (reply.action, String::new()),
    };
    let mut attributes = reply.actor.attributes;
    // podman has it as an attribute.
    let health = attributes.remove("health_status").unwrap_or(detail);
    EngineEvent {
        name: match (attributes.remove("name"), reply.kind.as_str()) {
            (Some(name), _) => name,
            (None, "volume") => reply.actor.id.clone(),
            (None, _) => String::new(),
        },
        container: attributes.remove("container").filter(|_| reply.kind == "network"),
        health: convert::health(if action == "health_status" { &health } else { "" }),
        kind: reply.kind,
        action,
        id: reply.actor.id,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::observe::observed::Health;

    fn read(text: &str) -> Vec<EngineEvent> {
        take_lines(&mut BytesMut::from(text)).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn events_are_read_line_by_line() {
        let events = read(concat!(
            r#"{"status":"health_status: unhealthy","id":"ab","Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"ab","Attributes":{"image":"x","name":"web"}},"scope":"local","time":1,"timeNano":1}"#,
            "\n",
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"n1","Attributes":{"container":"ab","name":"net","type":"bridge"}}}"#,
            "\n",
            r#"{"Type":"volume","Action":"create","Actor":{"ID":"data","Attributes":{"driver":"local"}}}"#,
            "\n",
            r#"{"Type":"image","Action":"untag","Actor":{"ID":"sha256:1","Attributes":null}}"#,
            "\n{\"Type\":",
        ));
        let text: Vec<String> = events
            .iter()
            .map(|e| format!("{} {} {} {:?} {:?} {:?}", e.kind, e.action, e.id, e.name, e.container, e.health))
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        container health_status ab "web" None Unhealthy
        network connect n1 "net" Some("ab") None
        volume create data "data" None None
        image untag sha256:1 "" None None
        "#);
        assert_eq!(events[1].health, Health::None);
    }

    #[test]
    fn health_check_execs_are_not_asked_for() {
        assert!(!path().contains("exec_"));
        assert!(path().contains("health_status"));
    }
}
