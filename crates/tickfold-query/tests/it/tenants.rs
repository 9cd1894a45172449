//! What is another tenant's is answered exactly as what is nobody's, and what a tenant is told of its own is
//! the same whether there are others or not.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::RecordOutcome::Decided;
use tickfold_proto::query::v1::explain_message_response::Part;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_query::{Accounts, QueryOptions, QueryState, Scope};
use tonic::{Status, Streaming};

use crate::callers::{Tenant, auth, entry, only, signed, tenants};
use crate::world::{T0, World, Writers, message, price, reason, status};

/// Somebody who was never seen, with an account in the same partition.
fn nobody(of: &Tenant) -> Tenant {
    let partition = |id: &str| {
        tickfold_core::raw::partition_of(&tickfold_core::ids::WabaId::from(id), crate::world::P)
    };
    let mut ids = (215_589_900_000_900..).map(|n: u64| n.to_string());
    Tenant {
        waba: ids.find(|id| partition(id) == partition(&of.waba)).unwrap(),
        number: "318840000000009",
        party: "491709900099",
        user_id: "DE.UN",
        wamid: "wamid.NNNN",
        template: "600100000009",
        display: "15550000009",
    }
}

/// What a watch tells until its first mark, or its end.
pub(crate) async fn until_mark<R>(
    opened: Result<tonic::Response<Streaming<R>>, Status>,
    is_mark: fn(&R) -> bool,
) -> Result<Vec<R>, Status> {
    let (mut stream, mut all) = (opened?.into_inner(), Vec::new());
    while !all.last().is_some_and(is_mark) {
        let response = tokio::time::timeout(Duration::from_secs(30), stream.message());
        all.push(response.await.expect("a mark")?.expect("no end"));
    }
    Ok(all)
}

/// The answers to one call of each method about a tenant, as text in which its ids have no values.
async fn answers(world: &World, token: &str, of: &Tenant) -> Vec<(&'static str, String)> {
    let (mut query, mut watch) = (world.query(), world.watch());
    let mut all = Vec::new();
    let wamid = format!("{}1", of.wamid);
    let (number, party) = (of.number.to_owned(), of.party.to_owned());
    let unnamed = |text: String| {
        let marks = of.marks().into_iter().map(|mark| (mark.len(), mark));
        let mut marks: Vec<_> = marks.collect();
        marks.sort_unstable_by(|a, b| b.cmp(a));
        marks.into_iter().fold(text, |text, (_, mark)| text.replace(&mark, "ID"))
    };
    let refused = |status: Status| {
        let absent = status.metadata().get_bin("tickfold-as-of-bin").map(|as_of| as_of.to_bytes());
        format!("{:?} {} {:?} {absent:?}", status.code(), status.message(), reason(&status))
    };
    macro_rules! ask {
        ($method:ident, $request:expr) => {{
            let answered = query.$method(signed(token, $request)).await;
            let text = match answered {
                Ok(reply) => format!("{:?}", reply.into_inner()),
                Err(status) => refused(status),
            };
            all.push((stringify!($method), unnamed(text)));
        }};
    }
    macro_rules! watched {
        ($method:ident, $request:expr, $item:path) => {{
            let opened = watch.$method(signed(token, $request)).await;
            let text = match until_mark(opened, |one| matches!(one.item, Some($item(_)))).await {
                Ok(told) => {
                    let items: Vec<_> = told.into_iter().map(|one| one.item).collect();
                    format!("{items:?}")
                }
                Err(status) => refused(status),
            };
            all.push((stringify!($method), unnamed(text)));
        }};
    }
    ask!(get_message, pb::GetMessageRequest { wamid: wamid.clone(), ..Default::default() });
    let wamids = vec![wamid.clone(), format!("{}in", of.wamid)];
    ask!(
        lookup_messages,
        pb::LookupMessagesRequest { wamids: wamids.clone(), ..Default::default() }
    );
    let (phone_number_id, of_party) = (number.clone(), party.clone());
    ask!(
        list_messages,
        pb::ListMessagesRequest { phone_number_id, party: of_party, ..Default::default() }
    );
    let phone_number_id = number.clone();
    ask!(list_messages, pb::ListMessagesRequest { phone_number_id, ..Default::default() });
    let (phone_number_id, of_party) = (number.clone(), party.clone());
    ask!(
        get_conversation,
        pb::GetConversationRequest {
            phone_number_id,
            party: of_party,
            message_count: 3,
            ..Default::default()
        }
    );
    let (waba_id, template_id) = (of.waba.clone(), of.template.to_owned());
    let language = "en_US".to_owned();
    ask!(
        get_template,
        pb::GetTemplateRequest { waba_id, template_id, language, ..Default::default() }
    );
    ask!(get_account, pb::GetAccountRequest { waba_id: of.waba.clone(), ..Default::default() });
    ask!(
        get_number,
        pb::GetNumberRequest { phone_number_id: number.clone(), ..Default::default() }
    );
    ask!(
        list_templates,
        pb::ListTemplatesRequest { waba_id: of.waba.clone(), ..Default::default() }
    );
    ask!(list_numbers, pb::ListNumbersRequest { waba_id: of.waba.clone(), ..Default::default() });
    for party in [of.party, of.user_id] {
        let (waba_id, party) = (of.waba.clone(), party.to_owned());
        ask!(get_user, pb::GetUserRequest { waba_id, party, ..Default::default() });
    }
    let intent = format!("i-{wamid}");
    let what = Some(What::Labels(pb::Labels { intent, ..Default::default() }));
    ask!(find_messages, pb::FindMessagesRequest { what, ..Default::default() });
    let filter = format!("fbtrace_id = Shared AND waba_id = {}", of.waba);
    ask!(find_messages, pb::FindMessagesRequest { filter, ..Default::default() });
    let explain = pb::ExplainMessageRequest { wamid, ..Default::default() };
    let explained = match query.explain_message(signed(token, explain)).await {
        Ok(_) => "a stream".to_owned(),
        Err(status) => refused(status),
    };
    all.push(("explain_message", unnamed(explained)));
    watched!(
        watch_messages,
        pb::WatchMessagesRequest { wamids, ..Default::default() },
        pb::watch_messages_response::Item::Mark
    );
    let (phone_number_id, resume_token) = (number.clone(), String::new());
    watched!(
        watch_conversation,
        pb::WatchConversationRequest { phone_number_id, party, resume_token },
        pb::watch_conversation_response::Item::Mark
    );
    watched!(
        watch_number,
        pb::WatchNumberRequest { phone_number_id: number, ..Default::default() },
        pb::watch_number_response::Item::Mark
    );
    watched!(
        watch_account,
        pb::WatchAccountRequest { waba_id: of.waba.clone(), ..Default::default() },
        pb::watch_account_response::Item::Mark
    );
    let (waba_id, from_beginning) = (of.waba.clone(), true);
    watched!(
        watch_transitions,
        pb::WatchTransitionsRequest { waba_id, from_beginning, ..Default::default() },
        pb::watch_transitions_response::Item::Mark
    );
    let waba_id = of.waba.clone();
    watched!(
        watch_actions,
        pb::WatchActionsRequest { waba_id, from_beginning, ..Default::default() },
        pb::watch_actions_response::Item::Mark
    );
    let waba_id = of.waba.clone();
    watched!(
        watch_alerts,
        pb::WatchAlertsRequest { waba_id, from_beginning, ..Default::default() },
        pb::watch_alerts_response::Item::Mark
    );
    all
}

async fn world_of(told: &[&Tenant], own: &Tenant) -> (World, Writers) {
    let scopes = [Scope::Query, Scope::PersonalData];
    let (auth, _) = auth(vec![
        entry("own", &scopes, only(&[&own.waba])),
        entry("everybody", &scopes, Accounts::All),
    ]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    told.iter().for_each(|tenant| tenant.post(&mut writers));
    world.append(&mut writers).await;
    world.publish(&mut writers).await;
    (world, writers)
}

#[tokio::test]
async fn what_is_anothers_is_answered_like_what_is_nobodys() {
    let all = tenants();
    let (world, _writers) = world_of(&all.each_ref(), &all[0]).await;
    // One in the partition of the caller's own account, one in the other.
    for other in &all[1..] {
        let nobody = nobody(other);
        let theirs = answers(&world, "own", other).await;
        let nobodys = answers(&world, "own", &nobody).await;
        assert_eq!(theirs.len(), 22);
        for (theirs, nobodys) in theirs.iter().zip(&nobodys) {
            assert_eq!(theirs, nobodys);
        }
        // Whoever may see them is answered otherwise by every method.
        let seen = answers(&world, "everybody", other).await;
        for (seen, theirs) in seen.iter().zip(&theirs) {
            assert_ne!(seen, theirs, "{}", seen.0);
        }
    }
}

#[tokio::test]
async fn lists_of_a_tenant_are_cut_as_if_there_were_no_other() {
    let all = tenants();
    let (alone, _alone) = world_of(&[&all[0]], &all[0]).await;
    // Posted after its own, as their offsets are told.
    let (among, _among) = world_of(&all.each_ref(), &all[0]).await;
    let mut pages_seen = 0;
    for page_size in [1, 2, 3, 100] {
        for what in [
            What::Labels(pb::Labels { campaign: "spring".to_owned(), ..Default::default() }),
            What::FbtraceId("Shared".to_owned()),
        ] {
            for filter in ["", "state = FAILED", "state = SENT"] {
                let mut request = pb::FindMessagesRequest {
                    what: Some(what.clone()),
                    page_size,
                    filter: filter.to_owned(),
                    ..Default::default()
                };
                loop {
                    let [own, same] = [&alone, &among].map(|world| {
                        let (mut query, request) = (world.query(), signed("own", request.clone()));
                        async move { query.find_messages(request).await.unwrap().into_inner() }
                    });
                    let (own, same) = (own.await, same.await);
                    assert_eq!(own.messages, same.messages, "{request:?}");
                    assert_eq!(own.next_page_token, same.next_page_token, "{request:?}");
                    pages_seen += 1;
                    request.page_token = own.next_page_token;
                    if request.page_token.is_empty() {
                        break;
                    }
                }
            }
        }
        macro_rules! list {
            ($method:ident, $request:ident, $entries:ident) => {{
                let mut request = pb::$request { page_size, ..Default::default() };
                loop {
                    let own = alone.query().$method(signed("own", request.clone())).await;
                    let same = among.query().$method(signed("own", request.clone())).await;
                    let (own, same) = (own.unwrap().into_inner(), same.unwrap().into_inner());
                    assert_eq!(own.$entries, same.$entries);
                    assert_eq!(own.next_page_token, same.next_page_token);
                    pages_seen += own.$entries.len();
                    request.page_token = own.next_page_token;
                    if request.page_token.is_empty() {
                        break;
                    }
                }
            }};
        }
        list!(list_templates, ListTemplatesRequest, templates);
        list!(list_accounts, ListAccountsRequest, accounts);
        list!(list_numbers, ListNumbersRequest, numbers);
    }
    assert!(pages_seen > 50, "{pages_seen}");
}

/// Many messages of another tenant with the label of the caller's, and newer: looked at, counted, not told, and
/// passed by pages that are empty and have tokens which name none of them.
#[tokio::test]
async fn lines_of_others_are_counted_and_end_a_page() {
    let all = tenants();
    let (own, other) = (&all[0], &all[1]);
    let (world, mut writers) = world_of(&[own], own).await;
    for part in 0..3 {
        let statuses: Vec<_> = (0..4_000)
            .map(|n| {
                let time = T0 + 10 + part * 10 + n / 400;
                format!(
                    r#"{{"id":"{}x{part}x{n}","status":"sent","timestamp":"{time}","recipient_id":
                    "{}","biz_opaque_callback_data":"campaign=spring"}}"#,
                    other.wamid, other.party
                )
            })
            .collect();
        let value = format!(
            r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"{}",
            "phone_number_id":"{}"}},"statuses":[{}]}}"#,
            other.display,
            other.number,
            statuses.join(",")
        );
        writers.post(&crate::world::change(&other.waba, "messages", &value));
    }
    let labels = pb::Labels { campaign: "spring".to_owned(), ..Default::default() };
    let mut request = pb::FindMessagesRequest {
        what: Some(What::Labels(labels)),
        page_size: 2,
        ..Default::default()
    };
    let (mut found, mut empty) = (Vec::new(), 0);
    loop {
        let page = world.query().find_messages(signed("own", request.clone())).await;
        let page = page.unwrap().into_inner();
        empty += usize::from(page.messages.is_empty());
        found.extend(page.messages.into_iter().map(|message| message.wamid));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let token = URL_SAFE_NO_PAD.decode(&request.page_token).unwrap();
        let token = String::from_utf8_lossy(&token).into_owned();
        let leaks: Vec<_> = other.marks().into_iter().filter(|mark| token.contains(mark)).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
    assert_eq!(empty, 1, "12,000 lines of others, of 10,000 on a page");
    found.sort();
    let wanted: Vec<_> = (0..5).map(|n| format!("{}{n}", own.wamid)).collect();
    assert_eq!(found, wanted);
    // Whoever sees both is told all of it.
    let request =
        pb::FindMessagesRequest { page_token: String::new(), page_size: 1_000, ..request };
    let page = world.query().find_messages(signed("everybody", request)).await.unwrap();
    assert_eq!(page.into_inner().messages.len(), 1_000);
}

/// A number that two accounts of one partition and one of the other had, one after the other.
#[tokio::test]
async fn a_number_lists_to_each_tenant_its_own_messages_alone() {
    let [own, near, far] = tenants().map(|tenant| tenant.waba);
    let scopes = [Scope::Query];
    let mut told = Vec::new();
    for accounts in [vec![&own], vec![&own, &near, &far]] {
        let (auth, _) = auth(vec![
            entry("own", &scopes, only(&[&own])),
            entry("everybody", &scopes, Accounts::All),
        ]);
        let world = World::guarded(auth, QueryOptions::default()).await;
        let mut writers = Writers::open(&world.stores);
        world.state(&QueryState::Serving).await;
        for n in 0..5 {
            for (nth, account) in accounts.iter().enumerate() {
                writers.post(&status(account, &format!("wamid.{n}{nth}"), "sent", n, ""));
            }
        }
        let list = async |token: &str, page_size: i32| {
            let (mut pages, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = pb::ListMessagesRequest {
                    phone_number_id: "1".to_owned(),
                    page_size,
                    page_token,
                    filter: format!("list_time > {}", Timestamp::from_millis(T0 * 1_000)),
                    ..Default::default()
                };
                let reply = world.query().list_messages(signed(token, request)).await;
                let page = reply.unwrap().into_inner();
                let wamids = page.messages.into_iter().map(|message| message.wamid);
                page_token = page.next_page_token;
                pages.push((wamids.collect::<Vec<_>>(), page_token.clone()));
                if page_token.is_empty() {
                    return pages;
                }
            }
        };
        let all: usize = list("everybody", 3).await.iter().map(|(page, _)| page.len()).sum();
        assert_eq!(all, 4 * accounts.len());
        told.push([list("own", 1).await, list("own", 3).await, list("own", 100).await]);
    }
    assert_eq!(told[0], told[1], "as if there were no other");
    let wamids: Vec<_> = told[1][1].iter().flat_map(|(page, _)| page).collect();
    assert_eq!(wamids, ["wamid.40", "wamid.30", "wamid.20", "wamid.10"]);
}

#[tokio::test]
async fn tokens_of_others_open_nothing() {
    let all = tenants();
    let (world, _writers) = world_of(&all.each_ref(), &all[0]).await;
    let foreign: Vec<String> = all[1..].iter().flat_map(Tenant::marks).collect();
    let told = |asked: String, answer: String| {
        let leaks = foreign.iter().filter(|mark| answer.contains(*mark) && !asked.contains(*mark));
        leaks.cloned().collect::<Vec<_>>()
    };
    let mut tried = 0;
    macro_rules! pages {
        ($method:ident, $request:expr) => {{
            let mut request = $request;
            loop {
                let page = world.query().$method(signed("everybody", request.clone())).await;
                request.page_token = page.unwrap().into_inner().next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
                let asked = format!("{request:?}");
                let own = world.query().$method(signed("own", request.clone())).await;
                let leaks = told(asked.clone(), format!("{:?}", own.unwrap().into_inner()));
                assert!(leaks.is_empty(), "{asked}: {leaks:?}");
                tried += 1;
            }
        }};
    }
    macro_rules! resumed {
        ($method:ident, $request:expr, $item:path) => {{
            let mut request = $request;
            let opened = world.watch().$method(signed("everybody", request.clone())).await;
            let first = until_mark(opened, |one| matches!(one.item, Some($item(_)))).await;
            for response in first.unwrap() {
                request.resume_token = response.resume_token;
                let asked = format!("{request:?}");
                let opened = world.watch().$method(signed("own", request.clone())).await;
                let again = until_mark(opened, |one| matches!(one.item, Some($item(_)))).await;
                let items: Vec<_> = again.unwrap().into_iter().map(|one| one.item).collect();
                let leaks = told(asked.clone(), format!("{items:?}"));
                assert!(leaks.is_empty(), "{asked}: {leaks:?}");
                tried += 1;
            }
        }};
    }
    let page_size = 1;
    let campaign = pb::Labels { campaign: "spring".to_owned(), ..Default::default() };
    let labels = Some(What::Labels(campaign));
    pages!(
        find_messages,
        pb::FindMessagesRequest { what: labels, page_size, ..Default::default() }
    );
    let trace = Some(What::FbtraceId("Shared".to_owned()));
    pages!(find_messages, pb::FindMessagesRequest { what: trace, page_size, ..Default::default() });
    pages!(list_templates, pb::ListTemplatesRequest { page_size, ..Default::default() });
    pages!(list_accounts, pb::ListAccountsRequest { page_size, ..Default::default() });
    pages!(list_numbers, pb::ListNumbersRequest { page_size, ..Default::default() });
    for other in &all[1..] {
        let (phone_number_id, party) = (other.number.to_owned(), other.party.to_owned());
        pages!(
            list_messages,
            pb::ListMessagesRequest { phone_number_id, party, page_size, ..Default::default() }
        );
        let phone_number_id = other.number.to_owned();
        pages!(
            list_messages,
            pb::ListMessagesRequest { phone_number_id, page_size, ..Default::default() }
        );
        let wamids = (0..5).map(|n| format!("{}{n}", other.wamid)).collect();
        resumed!(
            watch_messages,
            pb::WatchMessagesRequest { wamids, ..Default::default() },
            pb::watch_messages_response::Item::Mark
        );
        for waba_id in [String::new(), other.waba.clone()] {
            let request = pb::WatchTransitionsRequest {
                waba_id: waba_id.clone(),
                from_beginning: true,
                ..Default::default()
            };
            let resumed = pb::WatchTransitionsRequest { from_beginning: false, ..request.clone() };
            let opened = world.watch().watch_transitions(signed("everybody", request)).await;
            use pb::watch_transitions_response::Item;
            let is_mark: fn(&pb::WatchTransitionsResponse) -> bool =
                |one| matches!(one.item, Some(Item::Mark(_)));
            for response in until_mark(opened, is_mark).await.unwrap() {
                let resume_token = response.resume_token;
                let request = pb::WatchTransitionsRequest { resume_token, ..resumed.clone() };
                let opened = world.watch().watch_transitions(signed("own", request)).await;
                let items: Vec<_> = until_mark(opened, is_mark)
                    .await
                    .unwrap()
                    .into_iter()
                    .map(|one| one.item)
                    .collect();
                let leaks = told(waba_id.clone(), format!("{items:?}"));
                assert!(leaks.is_empty(), "{leaks:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[tokio::test]
async fn an_explanation_has_no_item_and_no_record_of_another_tenant() {
    let all = tenants();
    let (own, other) = (&all[0], &all[1]);
    let (world, mut writers) = world_of(&[own], own).await;
    let wamid = format!("{}1", own.wamid);
    // Another tenant of the same partition answers the message, once by itself and once in one body with
    // a status of the tenant's own.
    let answer = |wamid_of_answer: &str| {
        let rest =
            format!(r#""from":"{}","type":"text","context":{{"id":"{wamid}"}}"#, other.party);
        message(&other.waba, wamid_of_answer, 70, &rest)
    };
    let read = status(&own.waba, &wamid, "read", 71, "");
    let entry = |body: &str| {
        let start = body.find(r#"{"id""#).unwrap();
        body[start..body.rfind("]}").unwrap()].to_owned()
    };
    let entries = [entry(&answer("wamid.Y")), entry(&read)].join(",");
    let both = format!(r#"{{"object":"whatsapp_business_account","entry":[{entries}]}}"#);
    let answered = writers.post(&answer("wamid.X"))[0];
    let mixed = writers.post(&both)[0];
    assert_eq!(answered.0, mixed.0, "one partition");
    world.append(&mut writers).await;
    let explained = async |token: &str| {
        let request = pb::ExplainMessageRequest { wamid: wamid.clone(), ..Default::default() };
        let mut parts =
            world.query().explain_message(signed(token, request)).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            if let Some(Part::Record(record)) = part.part {
                let namings = record.items.iter().map(|item| item.naming.clone());
                told.push((record.source.unwrap().offset, namings.collect::<Vec<_>>()));
            }
        }
        told
    };
    let all_told = explained("everybody").await;
    let own_told = explained("own").await;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(all_told.contains(&(answered.1, words(&["answers"]))), "{all_told:?}");
    assert!(all_told.contains(&(mixed.1, words(&["answers", "itself"]))), "{all_told:?}");
    assert!(own_told.iter().all(|(offset, _)| *offset != answered.1), "{own_told:?}");
    assert!(own_told.contains(&(mixed.1, words(&["itself"]))), "{own_told:?}");
    assert_eq!(own_told.len() + 1, all_told.len());
}

#[tokio::test]
async fn what_is_decided_with_a_record_of_another_tenant_is_told_without_how_that_came() {
    let all = tenants();
    let (own, other) = (&all[0], &all[1]);
    let (world, mut writers) = world_of(&[], own).await;
    let sent = status(&own.waba, "wamid.T", "sent", 50, &price("authentication", "regular"));
    let begun = writers.post(&sent)[0];
    // Its deadline passes with one of the webhooks of the other.
    for _ in 0..400 {
        writers.now_ms += 5_000;
        writers.post(&status(&other.waba, "wamid.U", "sent", 60, ""));
    }
    world.append(&mut writers).await;
    for (token, request_id) in [("everybody", "r"), ("own", "")] {
        let request = pb::ExplainMessageRequest { wamid: "wamid.T".into(), ..Default::default() };
        let opened = world.query().explain_message(signed(token, request)).await;
        let told = until_mark(opened, |one| matches!(one.part, Some(Part::End(_)))).await.unwrap();
        let mut records = told.into_iter().filter_map(|one| match one.part {
            Some(Part::Record(record)) => Some(record),
            _ => None,
        });
        let decided = records.next_back().unwrap();
        assert!(decided.source.unwrap().offset > begun.1);
        assert_eq!((decided.outcome(), decided.kind.as_str()), (Decided, "webhook"));
        assert_eq!(decided.actions[0].kind, "sms_fallback");
        assert_eq!(decided.request_id, request_id, "{token}");
        assert_eq!(decided.received_time.is_some(), token == "everybody");
    }
}
