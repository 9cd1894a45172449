//! Who is in a consumer group, for commands that must not run beside it.

use rdkafka::{
    consumer::Consumer,
    groups::{GroupInfo, GroupMemberInfo},
};

use super::{calls::apart, convert::unavailable, survey::KafkaTopics};
use crate::Error;

/// A member of a group, as its coordinator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The coordinator's id of it; of a static member it begins with its instance name.
    pub id: String,
    /// From where it joined.
    pub host: String,
}

impl KafkaTopics {
    /// Members of a group; none if there is no such group. One that died, or stopped to come back,
    /// is listed until its session is over.
    pub async fn members(&self, group: &str) -> Result<Vec<GroupMember>, Error> {
        let (consumer, timeout) = (self.consumer(), self.options().call_timeout);
        let name = group.to_owned();
        let ask = move || {
            let groups = consumer.fetch_group_list(Some(&name), timeout);
            let groups =
                groups.map_err(|error| unavailable(format!("list members of {name}"), &error))?;
            let found = groups.groups().iter().find(|found| found.name() == name);
            let members = found.map(GroupInfo::members).unwrap_or_default();
            let member = |member: &GroupMemberInfo| GroupMember {
                id: member.id().to_owned(),
                host: member.client_host().trim_start_matches('/').to_owned(),
            };
            Ok(members.iter().map(member).collect())
        };
        apart("tickfold-kafka-group", ask).await?
    }
}
