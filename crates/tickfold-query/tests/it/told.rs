//! What followed from a message: charges, decisions, labels, media, and what others did to it.

use tickfold_proto::query::v1::{self as pb, MessageView};

use crate::world::{World, after, message, price, reason, status, waba};

async fn get(world: &World, wamid: &str, view: MessageView) -> pb::Message {
    let request =
        pb::GetMessageRequest { wamid: wamid.into(), view: view.into(), ..Default::default() };
    world.query().get_message(request).await.unwrap().into_inner().message.unwrap()
}

async fn account(world: &World, month: &str) -> pb::Account {
    let (waba_id, month) = (waba(0), month.to_owned());
    let request = pb::GetAccountRequest { waba_id, month, ..Default::default() };
    world.query().get_account(request).await.unwrap().into_inner().account.unwrap()
}

fn kinds(decisions: &[pb::Decision]) -> Vec<&str> {
    decisions.iter().map(|one| one.kind.as_str()).collect()
}

#[tokio::test]
async fn a_delivered_message_has_its_charge_and_the_account_its_total() {
    let (world, mut writers) = World::open().await;
    let utility = price("utility", "regular");
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, &utility));
    assert_eq!(get(&world, "wamid.A", MessageView::Full).await.charge, None, "a quote");
    let absent = pb::GetAccountRequest { waba_id: "nobody".to_owned(), ..Default::default() };
    let error = world.query().get_account(absent).await.unwrap_err();
    assert_eq!(reason(&error).0, "ACCOUNT_NOT_FOUND");

    writers.post(&status(&waba(0), "wamid.A", "delivered", 2, &utility));
    writers.post(&status(&waba(0), "wamid.B", "read", 3, &price("marketing", "free_entry_point")));
    let charge = get(&world, "wamid.A", MessageView::Basic).await.charge.unwrap();
    assert_eq!(
        (charge.month.as_str(), charge.category.as_str(), charge.r#type.as_str()),
        ("2026-11", "utility", "regular")
    );
    assert_eq!((charge.billable, charge.conflicting, charge.sequence), (true, false, 1));
    assert_eq!((charge.charge_id.len(), after(charge.delivery_time.as_ref())), (32, Some(2)));
    // A better time is a correction with a sequence of its own.
    writers.post(&status(&waba(0), "wamid.A", "delivered", 1, ""));
    let corrected = get(&world, "wamid.A", MessageView::Basic).await.charge.unwrap();
    assert_eq!((corrected.sequence, corrected.charge_id), (3, charge.charge_id));

    let totals = account(&world, "").await.totals;
    let lines: Vec<_> = totals
        .iter()
        .map(|t| (t.category.as_str(), t.r#type.as_str(), t.charges, t.billable))
        .collect();
    assert_eq!(lines, [("marketing", "free_entry_point", 1, 0), ("utility", "regular", 1, 1)]);
    assert_eq!(account(&world, "2026-11").await.totals, totals);
    let other = account(&world, "2026-10").await;
    assert_eq!((other.totals.len(), other.state.as_str(), other.revision), (0, "active", 0));
    let bad =
        pb::GetAccountRequest { waba_id: waba(0), month: "November".into(), ..Default::default() };
    assert_eq!(reason(&world.query().get_account(bad).await.unwrap_err()).0, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn participants_of_a_group_are_charged_each_and_named_in_full_views_only() {
    let (world, mut writers) = World::open().await;
    for (participant, after) in [("4917", 1), ("4418", 2)] {
        let rest = format!(
            r#","recipient_type":"group","recipient_participant_id":"{participant}"{}"#,
            price("marketing", "regular")
        );
        writers.post(&status(&waba(0), "wamid.G", "delivered", after, &rest));
    }
    let full = get(&world, "wamid.G", MessageView::Full).await;
    assert!(full.group && full.charge.is_none());
    let told: Vec<_> = full
        .participants
        .iter()
        .map(|one| (one.participant.as_str(), one.charge.as_ref().unwrap().sequence))
        .collect();
    assert_eq!(told, [("4418", 1), ("4917", 0)]);
    let basic = get(&world, "wamid.G", MessageView::Basic).await;
    assert!(basic.participants.iter().all(|one| one.participant.is_empty()));
    assert!(
        basic.participants.iter().all(|one| one.charge.as_ref().unwrap().participant.is_empty())
    );
    assert_eq!(account(&world, "").await.totals[0].charges, 2);
}

#[tokio::test]
async fn what_was_decided_for_a_message_stands_with_it() {
    let (world, mut writers) = World::open().await;
    let failed = |code: i64| format!(r#","errors":[{{"code":{code}}}]"#);
    let labelled = r#","biz_opaque_callback_data":"intent=i-1""#;
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, &price("utility", "regular")));
    writers.post(&status(&waba(0), "wamid.A", "failed", 2, &failed(131_026)));
    let message = get(&world, "wamid.A", MessageView::Basic).await;
    assert_eq!((kinds(&message.actions), message.alerts.len()), (vec!["sms_fallback"], 0));
    let fallback = &message.actions[0];
    assert_eq!(fallback.source, Some(pb::SourcePosition { partition: 0, offset: 1 }));
    assert_eq!((fallback.id.len(), fallback.expired, fallback.superseded), (32, false, false));
    assert_eq!(after(fallback.decided_time.as_ref()), Some(60));

    // Delivered after all, and with an intent that was not known when it was decided.
    writers.post(&status(&waba(0), "wamid.A", "delivered", 3, ""));
    writers.post(&status(&waba(0), "wamid.A", "read", 4, labelled));
    let message = get(&world, "wamid.A", MessageView::Basic).await;
    assert_eq!(kinds(&message.actions), ["sms_fallback", "fallback_superseded"]);
    assert!(message.actions[0].superseded && !message.actions[1].superseded);

    // An action for the account is decided once and stands with every message that asked for it.
    writers.post(&status(&waba(0), "wamid.B", "failed", 5, &failed(131_031)));
    writers.post(&status(&waba(0), "wamid.C", "failed", 6, &failed(131_031)));
    for wamid in ["wamid.B", "wamid.C"] {
        let message = get(&world, wamid, MessageView::Basic).await;
        assert_eq!(kinds(&message.actions), ["halt_account"], "{wamid}");
        assert_eq!(kinds(&message.alerts), ["error_code"], "{wamid}");
        assert_eq!(message.actions[0].source.unwrap().offset, 4, "{wamid}");
    }
    // One that nobody asked anything for has nothing.
    writers.post(&status(&waba(0), "wamid.D", "read", 7, ""));
    let message = get(&world, "wamid.D", MessageView::Basic).await;
    assert!(message.actions.is_empty() && message.alerts.is_empty());
}

#[tokio::test]
async fn content_labels_and_what_others_did_are_told_within_the_view() {
    let (world, mut writers) = World::open().await;
    let image = r#""from":"49170","type":"image","context":{"id":"wamid.Q","forwarded":true},
        "image":{"id":"77","mime_type":"image/jpeg","sha256":"q/8=","filename":"me.jpg"}"#;
    writers.post(&message(&waba(1), "wamid.I", 1, image));
    let reaction = r#""from":"49170","type":"reaction",
        "reaction":{"message_id":"wamid.I","emoji":"+"}"#;
    writers.post(&message(&waba(1), "wamid.R", 2, reaction));
    let labels = r#","biz_opaque_callback_data":"campaign=spring;template=t","template_id":"9",
        "fbtrace_id":"TrAcE""#;
    writers.post(&status(&waba(1), "wamid.O", "sent", 3, labels));

    let full = get(&world, "wamid.I", MessageView::Full).await;
    let media = full.media.as_ref().unwrap();
    assert_eq!(
        (media.id.as_str(), media.mime_type.as_str(), media.sha256.as_str()),
        ("77", "image/jpeg", "q/8=")
    );
    assert_eq!(after(media.expire_time.as_ref()), Some(1 + 7 * 86_400));
    assert_eq!((full.reply_to.as_str(), full.forwarded), ("wamid.Q", true));
    let told = &full.reactions[0];
    assert_eq!(
        (told.party.as_str(), told.emoji.as_str(), told.wamid.as_str()),
        ("49170", "+", "wamid.R")
    );
    assert_eq!(get(&world, "wamid.R", MessageView::Full).await.target_wamid, "wamid.I");

    let basic = get(&world, "wamid.I", MessageView::Basic).await;
    assert_eq!((basic.reply_to.as_str(), basic.media.unwrap().filename.as_str()), ("", ""));
    let told = &basic.reactions[0];
    assert_eq!((told.party.as_str(), told.emoji.as_str(), told.wamid.as_str()), ("", "", ""));

    let ours = get(&world, "wamid.O", MessageView::Full).await;
    let labels = ours.labels.unwrap();
    assert_eq!((labels.campaign.as_str(), labels.template.as_str()), ("spring", "t"));
    assert_eq!(ours.template_id, "9");
    assert_eq!(get(&world, "wamid.O", MessageView::Basic).await.labels, None);
}
