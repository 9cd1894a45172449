//! Personal data on watches: who lacks its scope opens none that would tell it, and is told nothing of it by
//! those that it may open.

use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::MessageView;
use tickfold_query::{Accounts, QueryOptions, QueryState, Scope};
use tonic::{Code, Status, Streaming};

use crate::callers::{Tenant, auth, entry, signed, tenants};
use crate::tenants::until_mark;
use crate::world::{World, Writers, reason};

/// A server that knows somebody who may see persons and somebody who may not, with the story of a tenant.
async fn world_of(tenant: &Tenant) -> World {
    let (auth, _) = auth(vec![
        entry("query", &[Scope::Query], Accounts::All),
        entry("pii", &[Scope::Query, Scope::PersonalData], Accounts::All),
    ]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    tenant.post(&mut writers);
    world.append(&mut writers).await;
    world.publish(&mut writers).await;
    world
}

/// What a watch told, or why it was refused.
async fn told<R: std::fmt::Debug>(
    opened: Result<tonic::Response<Streaming<R>>, Status>,
    is_mark: fn(&R) -> bool,
) -> Result<String, String> {
    match until_mark(opened, is_mark).await {
        Ok(responses) => Ok(format!("{responses:?}")),
        Err(status) => {
            assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
            Err(reason(&status).0)
        }
    }
}

#[tokio::test]
async fn watches_tell_persons_to_whom_may_see_them_only() {
    let all = tenants();
    let Tenant { waba, party, user_id, wamid, .. } = &all[0];
    let world = world_of(&all[0]).await;
    let may_and_may_not = ["pii", "query"];
    for view in [MessageView::Basic, MessageView::Full, MessageView::History] {
        for token in may_and_may_not {
            let view_name = view.as_str_name();
            let view: i32 = view.into();
            let mut watches = Vec::new();
            macro_rules! watch {
                ($method:ident, $request:expr, $item:path) => {{
                    let opened = world.watch().$method(signed(token, $request)).await;
                    let told = told(opened, |one| matches!(one.item, Some($item(_)))).await;
                    watches.push((stringify!($method), told));
                }};
            }
            let waba_id = || waba.clone();
            {
                use pb::watch_messages_response::Item;
                let wamids = vec![format!("{wamid}1")];
                let request = pb::WatchMessagesRequest { wamids, view, ..Default::default() };
                watch!(watch_messages, request, Item::Mark);
            }
            {
                use pb::watch_transitions_response::Item;
                let request = pb::WatchTransitionsRequest {
                    waba_id: waba_id(),
                    view,
                    from_beginning: true,
                    ..Default::default()
                };
                watch!(watch_transitions, request, Item::Mark);
            }
            {
                use pb::watch_actions_response::Item;
                let request = pb::WatchActionsRequest {
                    waba_id: waba_id(),
                    view,
                    from_beginning: true,
                    ..Default::default()
                };
                watch!(watch_actions, request, Item::Mark);
            }
            {
                use pb::watch_alerts_response::Item;
                let request = pb::WatchAlertsRequest {
                    waba_id: waba_id(),
                    view,
                    from_beginning: true,
                    ..Default::default()
                };
                watch!(watch_alerts, request, Item::Mark);
            }
            let is_basic = view == i32::from(MessageView::Basic);
            for (method, told) in &watches {
                match told {
                    Ok(told) => {
                        assert!(token == "pii" || is_basic, "{method} {view_name} of {token}");
                        let names = [party, user_id].iter().any(|id| told.contains(**id));
                        assert!(!is_basic || !names, "{method}: {told}");
                    }
                    Err(reason) => {
                        assert!(token == "query" && !is_basic, "{method} {view_name} of {token}");
                        assert_eq!(reason, "SCOPE_MISSING", "{method} {view_name}");
                    }
                }
            }
            // The same search finds a person where one is told.
            if token == "pii" && !is_basic {
                for id in [party, user_id] {
                    let told = watches.iter().map(|(_, told)| told.as_ref().unwrap());
                    let found = told.filter(|told| told.contains(*id)).count();
                    assert!(found >= if id == party { 2 } else { 1 }, "{view_name}: {watches:#?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_watched_conversation_names_nobody_but_by_the_identifier_that_was_asked_with() {
    use pb::watch_conversation_response::Item;
    let all = tenants();
    let Tenant { number, party, user_id, .. } = &all[0];
    let world = world_of(&all[0]).await;
    for (token, asked, parties, referred) in [
        ("query", party, vec![*party], false),
        ("query", user_id, vec![*user_id], false),
        ("pii", party, vec![*party, *user_id], true),
    ] {
        let request = pb::WatchConversationRequest {
            phone_number_id: (*number).to_owned(),
            party: (*asked).to_owned(),
            ..Default::default()
        };
        let opened = world.watch().watch_conversation(signed(token, request)).await;
        let is_mark: fn(&pb::WatchConversationResponse) -> bool =
            |one| matches!(one.item, Some(Item::Mark(_)));
        let told = until_mark(opened, is_mark).await.unwrap();
        let Some(Item::Conversation(told)) = &told[0].item else { panic!("{token}: {told:?}") };
        assert_eq!(told.parties, parties, "{token} by {asked}");
        assert_eq!(told.referral.is_some(), referred, "{token} by {asked}");
    }
}
