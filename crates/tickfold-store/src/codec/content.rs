//! Parts of messages that are rare or shared: content, media, errors, annotations, words with times.

use std::collections::BTreeMap;

use tickfold_core::ids::{PartyId, Wamid};
use tickfold_core::state::{
    Annotations, BillingConversation, Content, Failure, Failures, Media, Reaction,
};
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::{Damage, from_ms, rising_map, to_ms};

pub(super) fn to_content(content: &Content) -> proto::Content {
    proto::Content {
        message_type: content.message_type.clone(),
        reply_to: content.reply_to.clone(),
        target: content.target.as_ref().map(|id| id.as_str().to_owned()),
        sender: content.sender.as_ref().map(|id| id.as_str().to_owned()),
        forwarded: content.forwarded,
        media: content.media.as_ref().map(to_media),
        errors: to_failures(&content.errors),
    }
}

pub(super) fn from_content(content: proto::Content) -> Result<Content, Damage> {
    Ok(Content {
        message_type: content.message_type,
        reply_to: content.reply_to,
        target: content.target.map(Wamid::new),
        sender: content.sender.map(PartyId::new),
        forwarded: content.forwarded,
        media: content.media.map(from_media),
        errors: from_failures(content.errors)?,
    })
}

pub(super) fn to_media(media: &Media) -> proto::Media {
    proto::Media {
        id: media.id.clone(),
        mime_type: media.mime_type.clone(),
        sha256: media.sha256.clone(),
        filename: media.filename.clone(),
        voice: media.voice,
        animated: media.animated,
    }
}

pub(super) fn from_media(media: proto::Media) -> Media {
    let proto::Media { id, mime_type, sha256, filename, voice, animated } = media;
    Media { id, mime_type, sha256, filename, voice, animated }
}

pub(super) fn to_billing(billing: &BillingConversation) -> proto::BillingConversation {
    proto::BillingConversation {
        id: billing.id.clone(),
        origin: billing.origin.clone(),
        expires_ms: to_ms(billing.expires),
    }
}

pub(super) fn from_billing(billing: proto::BillingConversation) -> BillingConversation {
    BillingConversation {
        id: billing.id,
        origin: billing.origin,
        expires: from_ms(billing.expires_ms),
    }
}

pub(super) fn to_annotations(annotations: &Annotations) -> proto::Annotations {
    let reactions = annotations.reactions.iter().map(|(party, reaction)| proto::Reaction {
        party: party.as_str().to_owned(),
        time_ms: to_ms(reaction.time),
        wamid: reaction.wamid.as_str().to_owned(),
        emoji: reaction.emoji.clone(),
    });
    proto::Annotations {
        edits: to_times(&annotations.edits, Wamid::as_str),
        revokes: to_times(&annotations.revokes, Wamid::as_str),
        reactions: reactions.collect(),
    }
}

pub(super) fn from_annotations(annotations: proto::Annotations) -> Result<Annotations, Damage> {
    let reactions = annotations.reactions.into_iter().map(|reaction| {
        let kept = Reaction {
            time: from_ms(reaction.time_ms),
            wamid: Wamid::new(reaction.wamid),
            emoji: reaction.emoji,
        };
        Ok((PartyId::new(reaction.party), kept))
    });
    Ok(Annotations {
        edits: from_times(annotations.edits, Wamid::new, "edits")?,
        revokes: from_times(annotations.revokes, Wamid::new, "revokes")?,
        reactions: rising_map(reactions, "reactions")?,
    })
}

pub(super) fn to_times<K>(
    times: &BTreeMap<K, Option<Timestamp>>,
    word: impl Fn(&K) -> &str,
) -> Vec<proto::TimedWord> {
    let times = times.iter();
    times
        .map(|(key, time)| proto::TimedWord { word: word(key).to_owned(), time_ms: to_ms(*time) })
        .collect()
}

pub(super) fn from_times<K: Ord>(
    times: Vec<proto::TimedWord>,
    key: impl Fn(String) -> K,
    what: &str,
) -> Result<BTreeMap<K, Option<Timestamp>>, Damage> {
    rising_map(times.into_iter().map(|time| Ok((key(time.word), from_ms(time.time_ms)))), what)
}

pub(super) fn to_failures(failures: &Failures) -> Vec<proto::Failure> {
    let failures = failures.iter();
    failures
        .map(|(code, failure)| proto::Failure {
            code: *code,
            time_ms: to_ms(failure.time),
            title: failure.title.clone(),
            message: failure.message.clone(),
            details: failure.details.clone(),
        })
        .collect()
}

pub(super) fn from_failures(failures: Vec<proto::Failure>) -> Result<Failures, Damage> {
    let failures = failures.into_iter().map(|failure| {
        let facts = Failure {
            time: from_ms(failure.time_ms),
            title: failure.title,
            message: failure.message,
            details: failure.details,
        };
        Ok((failure.code, facts))
    });
    rising_map(failures, "failures")
}
