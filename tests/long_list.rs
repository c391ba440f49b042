//! What a window asks for when the list is long: the first rows at once, the rest in portions.

use std::collections::BTreeSet;
use std::time::Duration;

use ferry_engine::{DownloadRequest, Engine, Options, State, TransferId};

/// More than a first look and a portion together.
const ROWS: u64 = 6_000;

#[tokio::test]
async fn a_long_list_comes_first_by_its_beginning_and_then_in_portions_none_missing() {
    let root = tempfile::tempdir().unwrap();
    // A server that never answers: nothing ends, nothing fails.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let options = |resume_unfinished| {
        let mut options = Options::new(root.path().join("data"));
        options.overrides.concurrency = Some(1);
        Options { resume_unfinished, ..options }
    };
    let engine = Engine::open(options(false)).await.unwrap();
    assert!(!engine.first_look().more, "an empty list");
    let requests = (0..ROWS)
        .map(|number| DownloadRequest {
            what: format!("http://{address}/{number}.bin"),
            folder: Some(root.path().to_owned()),
            ..DownloadRequest::default()
        })
        .collect();
    let ids: Vec<TransferId> =
        engine.download_all(requests).await.unwrap().into_iter().map(Result::unwrap).collect();
    // Over, and so at the end of what is shown, though first in the queue.
    engine.cancel(&ids[..3]).await.unwrap();

    let look = engine.first_look();
    assert!(look.more);
    assert_eq!(look.transfers.len(), 500);
    assert!(look.transfers.iter().map(|row| row.id).eq(ids[3..503].iter().copied()), "in the queue's order");

    let mut seen = BTreeSet::new();
    let mut last = TransferId(0);
    let mut portions = 0;
    loop {
        let portion = engine.transfers_after(last);
        let Some(end) = portion.last() else { break };
        last = end.id;
        portions += 1;
        assert!(portion.len() <= 5_000);
        for row in portion {
            assert!(seen.insert(row.id), "{:?} came twice", row.id);
        }
    }
    assert!(seen.iter().copied().eq(ids.iter().copied()));
    assert_eq!(portions, 2);

    // A start lets all of them wait again, and has nothing to tell of those that do.
    engine.shutdown().await;
    drop(engine);
    let engine = Engine::open(options(true)).await.unwrap();
    let mut changes = engine.subscribe();
    let mut told = 0;
    while let Ok(Ok(change)) = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await {
        told += change.changed.len();
    }
    assert!(told < 100, "{told} rows");

    // What is over comes last, the newest of it first.
    engine.remove(&ids[10..]).await.unwrap();
    engine.cancel(&ids[3..5]).await.unwrap();
    let look = engine.first_look();
    assert!(!look.more);
    let (open, over) = look.transfers.split_at(5);
    assert!(open.iter().map(|row| row.id).eq(ids[5..10].iter().copied()));
    assert!(over.iter().all(|row| row.state == State::Canceled));
    let ends: Vec<_> = over.iter().map(|row| row.ended_at).collect();
    assert!(ends.is_sorted_by(|one, next| one >= next), "{ends:?}");
}
