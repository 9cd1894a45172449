//! Labels: what the sender wrote into `biz_opaque_callback_data` about a message.
//!
//! The text is the sender's own and opaque to Meta. Two forms are read: a JSON object with scalar
//! members, and `key=value` pairs between `;`, `,`, `&` or white space. Of either only the names
//! below; anything else stays in the text.

use crate::json::Document;

/// What the sender says of a message. A function of the text, never stored beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// `template`: name of the template it was sent with.
    pub template: Option<String>,
    /// `language`: of that template.
    pub language: Option<String>,
    /// `campaign`.
    pub campaign: Option<String>,
    /// `intent`: the business intent a fallback or a resend belongs to.
    pub intent: Option<String>,
}

/// Names of the labels, in the order of [`Labels::iter`].
pub const LABEL_NAMES: [&str; 4] = ["template", "language", "campaign", "intent"];

/// The longest label, in bytes. Meta's own limit for the whole text is 512 characters.
pub const LABEL_BYTES_MAX: usize = 512;

impl Labels {
    /// Reads the text. Never fails: a text of another form has no labels.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let mut labels = Self::default();
        if text.starts_with('{') {
            let document = Document::parse(text.as_bytes()).ok();
            let object = document.as_ref().and_then(|document| document.root().object());
            for name in LABEL_NAMES {
                let value = object.as_ref().and_then(|object| object.get(name)?.scalar_text());
                if let Some(value) = value {
                    labels.set(name, &value);
                }
            }
            return labels;
        }
        if !text.contains('=') {
            return labels;
        }
        let separates = |c: char| matches!(c, ';' | ',' | '&') || c.is_whitespace();
        for pair in text.split(separates) {
            if let Some((name, value)) = pair.split_once('=') {
                labels.set(name, value);
            }
        }
        labels
    }

    /// The labels that are there, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [&self.template, &self.language, &self.campaign, &self.intent];
        LABEL_NAMES
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Sets a label, unless the name is none, the value is empty or too long, or it is there: the
    /// first of two wins.
    fn set(&mut self, name: &str, value: &str) {
        let label = match name {
            "template" => &mut self.template,
            "language" => &mut self.language,
            "campaign" => &mut self.campaign,
            "intent" => &mut self.intent,
            _ => return,
        };
        if label.is_none() && !value.is_empty() && value.len() <= LABEL_BYTES_MAX {
            *label = Some(value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let labels = Labels::parse(text);
        assert_eq!(labels.iter().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn json_objects_and_pairs_are_read() {
        let all = [("template", "otp"), ("language", "de"), ("campaign", "7"), ("intent", "i-1")];
        check(r#" {"intent":"i-1","campaign":7,"template":"otp","language":"de","n":[1]}"#, &all);
        check("template=otp;language=de;campaign=7;intent=i-1", &all);
        check("template=otp&language=de campaign=7,\nintent=i-1,n=2", &all);
    }

    #[test]
    fn other_texts_have_none() {
        for text in ["", "order 17", "{", "{\"campaign\":", "[1]", "campaign", "=x", "campaign="] {
            check(text, &[]);
        }
        check(r#"{"campaign":{"a":1},"intent":null,"template":true}"#, &[]);
    }

    #[test]
    fn the_first_of_two_pairs_and_the_last_of_two_members_win() {
        check("campaign=a;campaign=b", &[("campaign", "a")]);
        check(r#"{"campaign":"a","campaign":"b"}"#, &[("campaign", "b")]);
        check(&format!("campaign={};intent=x", "y".repeat(513)), &[("intent", "x")]);
    }
}
