//! Edits wait for their time, and healing does not.

use std::time::Duration;

use mastic::control::command::{Command, OutcomeCode, Reconcile, Wait};
use mastic::model::hold::HoldKind;
use mastic::model::time::Span;
use mastic::port::clock::Clock as _;
use mastic::sim::operator::Deed;

use super::world::{Fleet, site};

/// A site whose edits wait for so long from now on.
fn denied(fleet: &Fleet, image: &str, lasts: Span) -> String {
    let now = fleet.host("h1").clock().now();
    let time = |time: mastic::model::time::Timestamp| time.to_string().trim_end_matches('Z').to_owned();
    let window = format!("{}/{}", time(now.stepped(-2000)), time(now.plus(lasts)));
    let sync = format!("  sync: {{windows: [{{deny: \"{window}\"}}]}}\n  services:");
    site(image, "{}").replace("  services:", &sync)
}

#[tokio::test(start_paused = true)]
async fn an_edit_outside_of_its_windows_waits_and_what_dies_is_healed_meanwhile() {
    let fleet = Fleet::start(3, &site("app:1", "{}"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    fleet.write(&denied(&fleet, "app:2", Span::seconds(3600)));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("h1, h2, h3: 1 changes: the edit waits until "), "{}", outcome.message);
    fleet.host("h2").does(&Deed::Remove("web".to_owned())).unwrap();
    fleet.until("h2 is healed", |fleet| fleet.images("web") == vec!["app:1"; 3]).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(fleet.images("web"), vec!["app:1"; 3]);
    fleet.until("its time has come", |fleet| fleet.images("web") == vec!["app:2"; 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_holds_edits_back_until_it_ends_or_somebody_says_why_not() {
    let fleet = Fleet::start(2, &site("app:1", "{}"));
    fleet.apply().await;
    let (kind, user, reason) = (HoldKind::Freeze, "ann".to_owned(), "sale".to_owned());
    let freeze = Command::Hold { kind, service: None, user: user.clone(), reason, lasts: None };
    assert_eq!(fleet.ask(freeze).await.code, OutcomeCode::Done);
    fleet.write(&site("app:2", "{}"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.message, "h1, h2: 1 changes: the edit waits: edits are frozen by ann: sale");
    let wait = Some(Wait::default());
    let now = Reconcile { user: user.clone(), wait, now: Some("a hole".to_owned()), ..Reconcile::default() };
    assert_eq!(fleet.ask(Command::Reconcile(now)).await.code, OutcomeCode::Done);
    assert_eq!(fleet.images("web"), vec!["app:2"; 2]);
    fleet.write(&site("slow:1", "{}"));
    fleet.edited().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fleet.images("web"), vec!["app:2"; 2]);
    fleet.ask(Command::ReleaseHold { kind, service: None, user }).await;
    fleet.until("it goes on", |fleet| fleet.images("web") == vec!["slow:1"; 2]).await;
}
