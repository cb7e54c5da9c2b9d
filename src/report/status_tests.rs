#![allow(clippy::unwrap_used, reason = "tests")]

use super::samples;
use super::status::{DriftKind, InstanceState, JobPhase, SiteStatus, WaitingReason, Wanted};
use crate::model::names::SiteName;

#[test]
fn the_json_is_stable() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&samples::troubled()).unwrap(), @r#"
    {
      "site": "demo",
      "generation": 4,
      "ready": false,
      "converged": false,
      "source_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      "observed_at": "2023-11-14T22:13:18Z",
      "bad_site_file": {
        "since": "2023-11-14T21:11:40Z",
        "errors": 1,
        "message": "error: unknown key `imgae`\n --> site.yaml:7:7\nhelp: did you mean `image`?"
      },
      "pending": {
        "kind": "removal",
        "plan_id": null,
        "generation": 5,
        "changes": 4,
        "message": "generation 5 removes 4 of 6 services",
        "since": "2023-11-14T22:12:30Z"
      },
      "last_error": "the state directory cannot be written: No space left on device",
      "holds": [
        {
          "kind": "stop",
          "service": "memcached",
          "user": "ann",
          "reason": "moving the rack",
          "since": "2023-11-13T21:12:19Z",
          "until": "2023-11-15T00:14:20Z"
        }
      ],
      "slots": [
        {
          "service": "hello",
          "host": "here",
          "generation": 4,
          "since": "2023-11-14T22:13:00Z"
        }
      ],
      "roles": [],
      "hosts": [
        {
          "name": "here",
          "reachable": true,
          "engine": {
            "engine": "docker",
            "version": "20.10.24",
            "api_version": "1.41",
            "events_connected": true,
            "error": null
          },
          "observed_at": "2023-11-14T22:13:18Z",
          "conditions": [],
          "instances": [
            {
              "service": "hello",
              "role": null,
              "container": "hello",
              "image": "busybox:1",
              "wanted": "running",
              "ready": true,
              "state": "running",
              "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
              "generation": 3,
              "observed_generation": 3,
              "restarts": 1,
              "drift": [
                "image",
                "config"
              ],
              "waiting": null,
              "next_step": null,
              "last_error": null,
              "quarantined": {
                "spec_hash": "1:d4735e3a265e16eee03f59718b9b5d03",
                "generation": 4,
                "reason": "exited with 3",
                "at": "2023-11-14T22:12:40Z"
              },
              "conditions": [
                {
                  "type": "Ready",
                  "status": "True",
                  "reason": "Ready",
                  "message": "",
                  "lastTransitionTime": "2023-11-14T22:08:20Z"
                },
                {
                  "type": "RolledBack",
                  "status": "True",
                  "reason": "GateFailed",
                  "message": "generation 4 exited with 3 within 60s; generation 3 was put back",
                  "lastTransitionTime": "2023-11-14T22:12:40Z"
                },
                {
                  "type": "Stalled",
                  "status": "True",
                  "reason": "Quarantined",
                  "message": "not tried again until the spec changes or somebody says so",
                  "lastTransitionTime": "2023-11-14T22:12:40Z"
                }
              ]
            },
            {
              "service": "memcached",
              "role": null,
              "container": "memcached",
              "image": "busybox:1",
              "wanted": "stopped",
              "ready": false,
              "state": "exited",
              "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
              "generation": 1,
              "observed_generation": 1,
              "restarts": 0,
              "drift": [],
              "waiting": null,
              "next_step": null,
              "last_error": null,
              "quarantined": null,
              "conditions": [
                {
                  "type": "Ready",
                  "status": "False",
                  "reason": "Stopped",
                  "message": "",
                  "lastTransitionTime": "2023-11-13T21:13:20Z"
                },
                {
                  "type": "Paused",
                  "status": "True",
                  "reason": "Stop",
                  "message": "stopped by ann: moving the rack",
                  "lastTransitionTime": "2023-11-13T21:13:20Z"
                }
              ]
            },
            {
              "service": "web",
              "role": null,
              "container": "web",
              "image": "busybox:1",
              "wanted": "running",
              "ready": false,
              "state": "restarting",
              "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
              "generation": 4,
              "observed_generation": 4,
              "restarts": 7,
              "drift": [
                "stopped"
              ],
              "waiting": "CrashLoopBackOff",
              "next_step": "start",
              "last_error": "exited with 137",
              "quarantined": null,
              "conditions": [
                {
                  "type": "Ready",
                  "status": "False",
                  "reason": "NotRunning",
                  "message": "restarting, last exit code 137",
                  "lastTransitionTime": "2023-11-14T22:01:40Z"
                },
                {
                  "type": "CrashLooping",
                  "status": "True",
                  "reason": "Died",
                  "message": "died 7 times within 10m",
                  "lastTransitionTime": "2023-11-14T22:01:40Z"
                }
              ]
            },
            {
              "service": "cache",
              "role": null,
              "container": "cache",
              "image": "busybox:1",
              "wanted": "running",
              "ready": false,
              "state": "missing",
              "spec_hash": "",
              "generation": 0,
              "observed_generation": 0,
              "restarts": 0,
              "drift": [
                "missing"
              ],
              "waiting": "ImagePullBackOff",
              "next_step": null,
              "last_error": null,
              "quarantined": null,
              "conditions": [
                {
                  "type": "Ready",
                  "status": "False",
                  "reason": "ImagePullFailed",
                  "message": "no such image",
                  "lastTransitionTime": "2023-11-14T22:12:20Z"
                }
              ]
            }
          ],
          "jobs": [
            {
              "job": "migrate",
              "role": null,
              "state": "failed",
              "attempts": 1,
              "exit_code": 3,
              "since": "2023-11-14T22:11:50Z",
              "next_run": "2023-11-14T22:13:50Z",
              "message": "exited with 3"
            }
          ]
        },
        {
          "name": "there",
          "reachable": false,
          "engine": {
            "engine": "docker",
            "version": "20.10.24",
            "api_version": "1.41",
            "events_connected": false,
            "error": "connection refused"
          },
          "observed_at": "2023-11-14T22:13:18Z",
          "conditions": [],
          "instances": [
            {
              "service": "hello",
              "role": null,
              "container": "hello",
              "image": "busybox:1",
              "wanted": "running",
              "ready": false,
              "state": "unknown",
              "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
              "generation": 3,
              "observed_generation": 3,
              "restarts": 0,
              "drift": [
                "unknown"
              ],
              "waiting": null,
              "next_step": null,
              "last_error": null,
              "quarantined": null,
              "conditions": []
            }
          ],
          "jobs": []
        }
      ]
    }
    "#);
}

#[test]
fn the_json_can_be_read_back() {
    for status in [samples::converged(), samples::troubled(), SiteStatus::new(SiteName::new("demo").unwrap())] {
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<SiteStatus>(&text).unwrap(), status);
    }
}

#[test]
fn one_line_says_how_far_it_is() {
    let new = SiteStatus::new(SiteName::new("demo").unwrap());
    assert_eq!(new.line(), "observing, generation 0");
    assert_eq!(samples::converged().line(), "converged 2/2, generation 3");
    assert_eq!(
        samples::troubled().line(),
        "1/4 ready, generation 4, 1 unknown, 1 held stopped, 1 quarantined, bad site file, \
         removals wait for --allow-prune"
    );
}

#[test]
fn unknown_is_not_ready() {
    let mut status = samples::converged();
    status.hosts[0].reachable = false;
    status.settle();
    assert!(!status.ready && !status.converged);
}

#[test]
fn what_is_left_to_do_is_not_converged() {
    let mut status = samples::converged();
    status.hosts[0].instances[0].drift.insert(DriftKind::Config);
    status.settle();
    assert!(status.ready && !status.converged);
    let mut status = samples::converged();
    status.hosts[0].jobs[0].state = JobPhase::Failed;
    status.settle();
    assert!(status.ready && !status.converged);
}

#[test]
fn a_held_instance_does_not_make_a_site_unready() {
    let mut status = samples::converged();
    let instance = &mut status.hosts[0].instances[0];
    (instance.wanted, instance.ready, instance.state) = (Wanted::Stopped, false, InstanceState::Exited);
    status.settle();
    assert!(status.ready && status.converged);
}

#[test]
fn words_agree_with_the_json() {
    for kind in DriftKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    for reason in WaitingReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    for phase in JobPhase::ALL {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
    }
}
