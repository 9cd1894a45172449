//! Nodes that own different partitions: either answers for both, says whose answer it is, and says so
//! when it cannot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::explain_message_response::Part;
use tickfold_query::{Owners, Peers, QueryOptions, QueryState, Role};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::{Code, Request, Status};

use crate::world::{P, World, Writers, after, inbound, reason, status, waba};

/// Who has which partition, and whom the log names as owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    has: Arc<Mutex<BTreeMap<u32, SocketAddr>>>,
    named: Arc<Mutex<Vec<Option<String>>>>,
}

impl Cluster {
    pub(crate) fn peers(&self, own: SocketAddr) -> Peers {
        let (has, named) = (Arc::clone(&self.has), Arc::clone(&self.named));
        let is_here = move |partition| has.lock().unwrap().get(&partition) == Some(&own);
        let owners = Owners::new(move || {
            let named = named.lock().unwrap().clone();
            Box::pin(std::future::ready(Some(named)))
        });
        Peers::new(own.to_string(), P, is_here, owners)
    }

    /// The node has the partition, and said so.
    pub(crate) fn give(&self, partition: u32, to: SocketAddr) {
        self.has.lock().unwrap().insert(partition, to);
        let mut named = self.named.lock().unwrap();
        named.resize(P as usize, None);
        named[partition as usize] = Some(to.to_string());
    }

    /// Nobody has the partition.
    pub(crate) fn take(&self, partition: u32) {
        self.has.lock().unwrap().remove(&partition);
        self.named.lock().unwrap()[partition as usize] = None;
    }

    async fn node(&self) -> World {
        self.node_with(QueryOptions::default()).await
    }

    async fn node_with(&self, options: QueryOptions) -> World {
        World::among(|own| self.peers(own), options).await
    }
}

pub(crate) fn cluster() -> Cluster {
    Cluster::default()
}

/// Two nodes, of which each has one partition.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: [World; 2],
    pub(crate) writers: [Writers; 2],
}

pub(crate) async fn pair() -> Pair {
    pair_with(QueryOptions::default()).await
}

/// With these options of the second one.
async fn pair_with(options: QueryOptions) -> Pair {
    let cluster = Cluster::default();
    let nodes = [cluster.node().await, cluster.node_with(options).await];
    let writers = [0, 1].map(|partition: u32| {
        cluster.give(partition, nodes[partition as usize].address);
        Writers::open_only(&nodes[partition as usize].stores, partition)
    });
    for node in &nodes {
        node.state(&QueryState::Serving).await;
    }
    Pair { cluster, nodes, writers }
}

async fn get(node: &World, wamid: &str) -> Result<pb::GetMessageResponse, Status> {
    get_at(node, wamid, &[], Duration::from_secs(5)).await
}

async fn get_at(
    node: &World,
    wamid: &str,
    positions: &[(u32, u64)],
    timeout: Duration,
) -> Result<pb::GetMessageResponse, Status> {
    let position = |&(partition, offset): &(u32, u64)| pb::Position { partition, offset };
    let mut request = Request::new(pb::GetMessageRequest {
        wamid: wamid.to_owned(),
        min_position: positions.iter().map(position).collect(),
        ..Default::default()
    });
    request.set_timeout(timeout);
    Ok(node.query().get_message(request).await?.into_inner())
}

fn positions(as_of: Option<pb::AsOf>) -> Vec<(u32, u64)> {
    let positions = as_of.unwrap().positions.into_iter();
    positions.map(|position| (position.partition, position.offset)).collect()
}

#[tokio::test]
async fn either_node_answers_for_both() {
    let Pair { nodes, mut writers, .. } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    writers[1].post(&status(&waba(1), "wamid.B", "delivered", 2, ""));
    writers[1].post(&inbound(&waba(1), "wamid.C", 3));
    for node in &nodes {
        for (wamid, word) in [("wamid.A", "sent"), ("wamid.B", "delivered")] {
            let reply = get(node, wamid).await.unwrap();
            assert_eq!(reply.message.unwrap().state_text, word);
            assert_eq!(positions(reply.as_of.clone()), [(0, 1), (1, 2)]);
            // The world calls partition 0 owned and partition 1 followed.
            assert_eq!(reply.as_of.unwrap().role(), pb::Role::Follower);
        }
        let unknown = get(node, "wamid.X").await.unwrap_err();
        assert_eq!(reason(&unknown).0, "MESSAGE_NOT_FOUND");

        let request = pb::LookupMessagesRequest {
            wamids: ["wamid.C", "wamid.X", "wamid.A"].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let reply = node.query().lookup_messages(request).await.unwrap().into_inner();
        let found: Vec<_> = reply.found.iter().map(|message| message.wamid.as_str()).collect();
        assert_eq!(
            (found, reply.missing),
            (vec!["wamid.C", "wamid.A"], vec!["wamid.X".to_owned()])
        );

        // The same number and party in both accounts: a number that moved.
        let request = pb::ListMessagesRequest {
            phone_number_id: "1".to_owned(),
            party: "49170".to_owned(),
            page_size: 2,
            ..Default::default()
        };
        let first = node.query().list_messages(request.clone()).await.unwrap().into_inner();
        let page_token = first.next_page_token.clone();
        let request = pb::ListMessagesRequest { page_token, ..request };
        let second = node.query().list_messages(request).await.unwrap().into_inner();
        let pages = [first, second].map(|page| {
            let wamids = page.messages.into_iter().map(|message| message.wamid);
            (wamids.collect::<Vec<_>>(), page.next_page_token.is_empty())
        });
        let wanted = [
            (vec!["wamid.C".to_owned(), "wamid.B".to_owned()], false),
            (vec!["wamid.A".to_owned()], true),
        ];
        assert_eq!(pages, wanted);

        // Nor does it need the party.
        for (page_size, filter, wanted) in [
            (2, "", [&["wamid.C", "wamid.B"][..], &["wamid.A"]]),
            (1, "direction = OUTBOUND", [&["wamid.B"], &["wamid.A"]]),
        ] {
            let (mut pages, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = pb::ListMessagesRequest {
                    phone_number_id: "1".to_owned(),
                    page_size,
                    page_token,
                    filter: filter.to_owned(),
                    ..Default::default()
                };
                let page = node.query().list_messages(request).await.unwrap().into_inner();
                let wamids = page.messages.into_iter().map(|message| message.wamid);
                pages.push(wamids.collect::<Vec<_>>());
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            pages.retain(|page| !page.is_empty());
            assert_eq!(pages, wanted, "{filter}");
        }

        let waba_id = "nobody".to_owned();
        let request = pb::GetAccountRequest { waba_id, ..Default::default() };
        let unknown = node.query().get_account(request).await.unwrap_err();
        assert_eq!(reason(&unknown).0, "ACCOUNT_NOT_FOUND");
        let request = pb::GetConversationRequest {
            phone_number_id: "1".to_owned(),
            party: "49170".to_owned(),
            ..Default::default()
        };
        let reply = node.query().get_conversation(request).await.unwrap().into_inner();
        let conversation = reply.conversation.unwrap();
        assert_eq!((conversation.inbound_count, conversation.outbound_count), (1, 2));
        assert_eq!(after(conversation.last_inbound_time.as_ref()), Some(3));
    }
}

#[tokio::test]
async fn positions_are_waited_for_where_the_partition_is() {
    let Pair { nodes, mut writers, .. } = pair().await;
    let mut client = nodes[0].query();
    let asked = tokio::spawn(async move {
        let mut request = Request::new(pb::GetMessageRequest {
            wamid: "wamid.B".to_owned(),
            min_position: vec![pb::Position { partition: 1, offset: 1 }],
            ..Default::default()
        });
        request.set_timeout(Duration::from_secs(20));
        client.get_message(request).await
    });
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    assert!(asked.await.unwrap().unwrap().into_inner().message.is_some());
    // One that does not come is told as such, by whoever waited for it.
    let late =
        get_at(&nodes[0], "wamid.B", &[(1, 9)], Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    let bad = get_at(&nodes[0], "wamid.B", &[(1, 0), (1, 1)], Duration::from_secs(5)).await;
    assert_eq!(bad.unwrap_err().code(), Code::InvalidArgument);
}

/// One connection has so many calls at a time. When all of them wait, the node is as alive as before.
#[tokio::test]
async fn a_node_of_which_very_many_calls_wait_is_not_called_silent() {
    const CALLS: usize = 200;
    let Pair { nodes: [first, second], mut writers, .. } = pair().await;
    let first = Arc::new(first);
    let waiting: Vec<_> = (0..CALLS)
        .map(|_| {
            let node = Arc::clone(&first);
            tokio::spawn(async move {
                get_at(&node, "wamid.B", &[(1, 1)], Duration::from_secs(30)).await
            })
        })
        .collect();
    // Long enough for each to ask several times whether the node lives.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(waiting.iter().all(|call| !call.is_finished()), "nobody has an answer yet");
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    for call in waiting {
        let answer = call.await.unwrap().unwrap_or_else(|status| panic!("{status:?}"));
        assert!(answer.message.is_some());
    }
    drop(second);
}

/// A node says goodbye to old connections, also to those of other nodes, on which calls may be open.
#[tokio::test]
async fn a_connection_between_nodes_that_grows_old_costs_no_call() {
    let age = Duration::from_millis(500);
    let options = QueryOptions { connection_age_max: age, ..QueryOptions::default() };
    let Pair { nodes: [first, second], mut writers, .. } = pair_with(options).await;
    let posted = writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    let (partition, offset) = posted[0];
    for round in 0..4 {
        // Open on the connection from the first node to the second for all of its life.
        let waits = async {
            let wanted = [(partition, offset + 100)];
            get_at(&first, "wamid.B", &wanted, Duration::from_secs(2)).await
        };
        let asks = async {
            tokio::time::sleep(age * 2).await;
            get_at(&first, "wamid.B", &[], Duration::from_secs(5)).await
        };
        let (waited, asked) = tokio::join!(waits, asks);
        assert_eq!(reason(&waited.unwrap_err()).0, "POSITION_NOT_REACHED", "round {round}");
        asked.unwrap_or_else(|status| panic!("round {round}: {status:?}"));
    }
    drop(second);
}

#[tokio::test]
async fn a_call_of_another_node_is_answered_from_what_is_here_and_travels_no_further() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    let ask = async |wamid: &str, partitions: &'static str| {
        let mut request =
            Request::new(pb::GetMessageRequest { wamid: wamid.to_owned(), ..Default::default() });
        request.metadata_mut().insert("tickfold-partitions", partitions.parse().unwrap());
        nodes[0].query().get_message(request).await
    };
    let reply = ask("wamid.A", "0,1").await.unwrap();
    assert_eq!(reply.metadata().get("tickfold-partitions").unwrap(), "0");
    assert_eq!(positions(reply.into_inner().as_of), [(0, 1)]);
    let absent = ask("wamid.B", "0,1").await.unwrap_err();
    assert_eq!(reason(&absent).0, "MESSAGE_NOT_FOUND");
    assert_eq!(absent.metadata().get("tickfold-partitions").unwrap(), "0");
    let elsewhere = ask("wamid.B", "1").await.unwrap_err();
    assert_eq!(
        (elsewhere.code(), reason(&elsewhere).0.as_str()),
        (Code::Unavailable, "PARTITION_ELSEWHERE")
    );

    // Two nodes that each take the other for the owner: the question ends, unanswered.
    let [a, b] = [nodes[0].address, nodes[1].address];
    cluster.has.lock().unwrap().clear();
    *cluster.named.lock().unwrap() = vec![Some(b.to_string()), Some(a.to_string())];
    let nobody = get(&nodes[0], "wamid.X").await.unwrap_err();
    assert_eq!(reason(&nobody).0, "PARTITION_UNREACHABLE");
}

#[tokio::test]
async fn a_partition_that_moved_is_found_by_a_new_map() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    assert!(get(&nodes[1], "wamid.A").await.is_ok());
    // Node 1 takes it over, folds further, and says so; a third node has the old map.
    let third = cluster.node().await;
    third.state(&QueryState::Serving).await;
    let mut taken = Writers::open_only(&nodes[1].stores, 0);
    taken.post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    taken.post(&status(&waba(0), "wamid.A", "read", 2, ""));
    cluster.give(0, nodes[1].address);
    let reply = get(&third, "wamid.A").await.unwrap();
    assert_eq!(reply.message.unwrap().state_text, "read");
    assert_eq!(positions(reply.as_of), [(0, 2), (1, 0)]);
}

/// The next owner may fold for hours before it has a state. Until it has, and says so, the newest one is that
/// of the node that had the partition before.
#[tokio::test]
async fn while_a_partition_moves_whoever_had_it_answers() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    let third = cluster.node().await;
    third.state(&QueryState::Serving).await;
    assert!(get(&third, "wamid.A").await.is_ok());

    cluster.has.lock().unwrap().insert(0, nodes[1].address);
    nodes[0].stands(0, Some(Role::Frozen));
    nodes[1].stands(0, Some(Role::NoState));
    let mut taken = Writers::open_only(&nodes[1].stores, 0);
    let not_open = get(&nodes[1], "wamid.A").await.unwrap_err();
    assert_eq!(reason(&not_open).0, "STORE_NOT_OPEN");
    let reply = get(&third, "wamid.A").await.unwrap();
    assert_eq!(positions(reply.as_of.clone()), [(0, 1), (1, 0)]);
    assert_eq!(reply.as_of.unwrap().role(), pb::Role::Frozen);

    // What it will never have is not waited for there.
    let waits = get_at(&third, "wamid.A", &[(0, 2)], Duration::from_secs(10));
    let gets_live = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        taken.post(&status(&waba(0), "wamid.A", "sent", 1, ""));
        taken.post(&status(&waba(0), "wamid.A", "read", 2, ""));
        nodes[1].stands(0, None);
        cluster.give(0, nodes[1].address);
    };
    let (reply, ()) = tokio::join!(waits, gets_live);
    assert_eq!(reply.unwrap().message.unwrap().state_text, "read");
    assert_eq!(positions(get(&third, "wamid.A").await.unwrap().as_of), [(0, 2), (1, 0)]);
}

#[tokio::test]
async fn without_the_owner_an_earlier_store_answers_or_nobody_does() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    assert!(get(&nodes[1], "wamid.A").await.is_ok());
    // An owner that is connected to and says nothing, as one that was stopped in its tracks.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.give(0, silent.local_addr().unwrap());
    let begun = std::time::Instant::now();
    let nobody = get(&nodes[1], "wamid.A").await.unwrap_err();
    let (word, metadata) = reason(&nobody);
    assert_eq!((nobody.code(), word.as_str()), (Code::Unavailable, "PARTITION_UNREACHABLE"));
    assert_eq!(metadata, [("partitions".to_owned(), "0".to_owned())]);
    assert!(tonic_types::StatusExt::get_details_retry_info(&nobody).is_some());
    assert!(
        begun.elapsed() < Duration::from_millis(2_500),
        "a share of 5 s: {:?}",
        begun.elapsed()
    );
    let begun = std::time::Instant::now();
    assert!(get(&nodes[1], "wamid.A").await.is_err());
    assert!(
        begun.elapsed() < Duration::from_millis(600),
        "it is not asked again: {:?}",
        begun.elapsed()
    );
    // What is here is told all the same, without a word on what is not.
    let found = get(&nodes[1], "wamid.B").await.unwrap();
    assert_eq!(positions(found.as_of), [(1, 1)]);
    let lookup = |wamids: &[&str]| pb::LookupMessagesRequest {
        wamids: wamids.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    assert!(nodes[1].query().lookup_messages(lookup(&["wamid.B"])).await.is_ok());
    let some = nodes[1].query().lookup_messages(lookup(&["wamid.B", "wamid.A"])).await;
    assert_eq!(reason(&some.unwrap_err()).0, "PARTITION_UNREACHABLE");
    // Of a conversation what is found is told, of a number there may be more with who is away.
    let list = |party: &str| pb::ListMessagesRequest {
        phone_number_id: "1".to_owned(),
        party: party.to_owned(),
        ..Default::default()
    };
    let told = nodes[1].query().list_messages(list("49170")).await.unwrap().into_inner();
    assert_eq!(told.messages.len(), 1);
    let some = nodes[1].query().list_messages(list("")).await;
    assert_eq!(reason(&some.unwrap_err()).0, "PARTITION_UNREACHABLE");
    let unwaited = get_at(&nodes[1], "wamid.B", &[(0, 1)], Duration::from_secs(5)).await;
    assert_eq!(reason(&unwaited.unwrap_err()).0, "PARTITION_UNREACHABLE");

    // Node 0 had it before, and has its store still.
    let reply = get(&nodes[0], "wamid.A").await.unwrap();
    assert_eq!(reply.message.unwrap().state_text, "sent");
    assert_eq!(positions(reply.as_of.clone()), [(0, 1), (1, 1)]);
    assert!(reply.as_of.unwrap().age.is_some());
}

/// As a firewall that forgets connections: nothing comes through those that there are any more, and neither side
/// is told. New ones it lets through.
async fn forgetful(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (forgets, forgotten) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut forgotten = forgotten.clone();
            tokio::spawn(async move {
                forgotten.mark_unchanged();
                let mut to = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    _ = forgotten.changed() => std::future::pending().await,
                }
            });
        }
    });
    (address, forgets)
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_replaced() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 1, ""));
    let (address, forgets) = forgetful(nodes[1].address).await;
    cluster.named.lock().unwrap()[1] = Some(address.to_string());
    while nodes[0].peers.owner(1) != Some(address.to_string()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(get(&nodes[0], "wamid.B").await.is_ok());
    forgets.send_modify(|times| *times += 1);
    assert!(get(&nodes[0], "wamid.B").await.is_err());
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while let Err(status) = get(&nodes[0], "wamid.B").await {
        assert!(std::time::Instant::now() < until, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What is told of a message: the places of records, and the end.
async fn explain(
    node: &World,
    wamid: &str,
    limit: u32,
) -> Result<(Vec<(u32, u64)>, pb::Explanation), Status> {
    let wamid = wamid.to_owned();
    let mut request =
        Request::new(pb::ExplainMessageRequest { wamid, limit, ..Default::default() });
    request.set_timeout(Duration::from_secs(20));
    let mut parts = node.query().explain_message(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(part) = parts.message().await? {
        match part.part.unwrap() {
            Part::Record(record) => {
                let source = record.source.unwrap();
                told.push((source.partition, source.offset));
            }
            Part::End(end) => {
                assert!(parts.message().await?.is_none(), "nothing follows the end");
                return Ok((told, end));
            }
        }
    }
    panic!("no end");
}

#[tokio::test]
async fn either_node_explains_what_both_have() {
    let Pair { cluster, nodes, mut writers } = pair().await;
    writers[0].post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    writers[1].post(&status(&waba(1), "wamid.B", "sent", 2, ""));
    writers[1].post(&status(&waba(1), "wamid.B", "delivered", 3, ""));
    // One that both have: its number moved.
    writers[0].post(&status(&waba(0), "wamid.C", "sent", 4, ""));
    writers[1].post(&status(&waba(1), "wamid.C", "delivered", 5, ""));
    writers[1].post(&status(&waba(1), "wamid.C", "read", 6, ""));
    for (node, writers) in nodes.iter().zip(&mut writers) {
        node.append(writers).await;
    }
    for (here, node) in nodes.iter().enumerate() {
        let (told, end) = explain(node, "wamid.A", 0).await.unwrap();
        assert_eq!((told, end.complete), (vec![(0, 0)], true));
        assert_eq!(positions(end.as_of), [(0, 2), (1, 4)]);
        let (told, end) = explain(node, "wamid.B", 0).await.unwrap();
        assert_eq!((told, end.complete, end.ranges.len()), (vec![(1, 0), (1, 1)], true, 1));
        let (told, end) = explain(node, "wamid.B", 1).await.unwrap();
        assert_eq!((told, end.complete, end.ranges[0].until_offset), (vec![(1, 0)], false, 1));

        let (mut told, end) = explain(node, "wamid.C", 0).await.unwrap();
        assert_eq!(told[0].0 as usize, here, "what is here comes first");
        told.sort_unstable();
        assert_eq!((told, end.complete), (vec![(0, 1), (1, 2), (1, 3)], true));
        let ranges: Vec<_> = end.ranges.iter().map(|range| range.partition).collect();
        assert_eq!((ranges, positions(end.as_of)), (vec![0, 1], vec![(0, 2), (1, 4)]));
        let (told, end) = explain(node, "wamid.C", 2).await.unwrap();
        assert_eq!((told.len(), end.complete), (2, false));

        let unknown = explain(node, "wamid.X", 0).await.unwrap_err();
        assert_eq!(
            (unknown.code(), reason(&unknown).0.as_str()),
            (Code::NotFound, "MESSAGE_NOT_FOUND")
        );
        assert!(unknown.metadata().get_bin("tickfold-as-of-bin").is_some());
    }

    // Another node's question is answered from what is here, and travels no further.
    let mut request = Request::new(pb::ExplainMessageRequest {
        wamid: "wamid.B".to_owned(),
        ..Default::default()
    });
    request.metadata_mut().insert("tickfold-partitions", "0,1".parse().unwrap());
    let absent = nodes[0].query().explain_message(request).await.unwrap_err();
    assert_eq!(reason(&absent).0, "MESSAGE_NOT_FOUND");
    assert_eq!(absent.metadata().get("tickfold-partitions").unwrap(), "0");

    // Without the owner of the other partition half an explanation does not call itself whole, and
    // absence is not known.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.give(0, silent.local_addr().unwrap());
    let (told, end) = explain(&nodes[1], "wamid.C", 0).await.unwrap();
    assert_eq!((told, end.complete), (vec![(1, 2), (1, 3)], false));
    let nobody = explain(&nodes[1], "wamid.X", 0).await.unwrap_err();
    assert_eq!(reason(&nobody).0, "PARTITION_UNREACHABLE");
}
