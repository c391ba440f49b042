//! What a window is told of the list: the rows in its sight, however long it is, in the order and with the filter that it
//! asks for, and numbers about all of it.
#![allow(clippy::print_stderr, reason = "the seed is for whoever repeats a failure")]

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "support/chance.rs"]
mod chance;
#[path = "support/downloads.rs"]
mod downloads;

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chance::Chance;
use downloads::Downloads;
use ferry_engine::{
    Can, Changes, DownloadRequest, Endings, Engine, Filter, ListChanges, ListWindow, Listing, Look, Options,
    Order, State, Transfer, TransferId, UploadRequest, Where,
};
use ferry_sandbox::Sandbox;
use tokio::sync::broadcast::Receiver;

const MANY: usize = 6_000;
const IN_SIGHT: usize = 50;

/// A list of downloads from a server that never answers: nothing ends, nothing fails.
struct Still {
    root: tempfile::TempDir,
    _silent: TcpListener,
    address: String,
    engine: Engine,
    changes: Receiver<Arc<Changes>>,
    window: ListWindow,
    heard: Heard,
}

/// What a window was told.
type Heard = Arc<Mutex<Vec<ListChanges>>>;

fn window_onto(engine: &Engine) -> (ListWindow, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    (ListWindow::new(engine.clone(), move |changes| told.lock().unwrap().push(changes)), heard)
}

fn options(root: &Path, resume_unfinished: bool) -> Options {
    let mut options = Options::new(root.join("data"));
    options.overrides.concurrency = Some(1);
    Options { resume_unfinished, ..options }
}

impl Still {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let engine = Engine::open(options(root.path(), false)).await.unwrap();
        let changes = engine.subscribe();
        let (window, heard) = window_onto(&engine);
        Self { root, _silent: silent, address, engine, changes, window, heard }
    }

    async fn add<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) -> Vec<TransferId> {
        let request = |name: S| DownloadRequest {
            what: format!("http://{}/{}", self.address, name.as_ref()),
            folder: Some(self.root.path().to_owned()),
            ..DownloadRequest::default()
        };
        let requests = names.into_iter().map(request).collect();
        self.engine.download_all(requests).await.unwrap().into_iter().map(Result::unwrap).collect()
    }

    /// Everything that is told until nothing is for a while.
    async fn told(&mut self) -> Vec<ListChanges> {
        while let Ok(changes) = tokio::time::timeout(Duration::from_millis(700), self.changes.recv()).await {
            self.window.apply(&changes.unwrap());
        }
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// The names that are shown, in order.
    fn names(&self, look: Look) -> Vec<String> {
        let rows = self.window.look(look);
        let named =
            rows.ids.iter().map(|id| rows.rows.iter().find(|row| row.id == *id).unwrap().name.to_string());
        named.collect()
    }
}

fn look() -> Look {
    Look { locale: "en".into(), count: IN_SIGHT, ..Look::default() }
}

#[tokio::test]
async fn a_window_is_handed_the_rows_in_its_sight_and_numbers_about_the_others() {
    let mut still = Still::new().await;
    assert!(still.window.open(look(), true).list.ids.is_empty());
    let ids = still.add((0..MANY).map(|number| format!("{number}.bin"))).await;
    // Over, and so at the end of what is shown, though first in the queue.
    still.engine.cancel(&ids[..3]).await.unwrap();
    let told = still.told().await;
    let rows: usize = told.iter().map(|changes| changes.list.rows.len()).sum();
    assert!(rows < 4 * IN_SIGHT, "{rows} rows for {IN_SIGHT} in sight");
    let last = &told.last().unwrap().list;
    assert_eq!(
        (last.length, last.movable, last.counts.all, last.counts.done),
        (MANY, MANY - 3, MANY as i64, 3)
    );
    assert_eq!(last.ids, ids[3..3 + IN_SIGHT]);

    let opened = still.window.open(look(), true).list;
    assert_eq!((opened.length, opened.from, opened.ids.len()), (MANY, 0, IN_SIGHT));
    assert!(
        opened.rows.iter().map(|row| row.id).eq(ids[3..3 + IN_SIGHT].iter().copied()),
        "in the queue's order"
    );

    let middle = still.window.look(Look { from: 3_000, cursor: Some(ids[5_000]), ..look() });
    assert_eq!(middle.revision, opened.revision + 1);
    assert!(middle.rows.iter().map(|row| row.id).eq(ids[3_003..3_003 + IN_SIGHT].iter().copied()));
    assert_eq!(middle.cursor, Some(4_997));
    let end = still.window.look(Look { from: MANY - 4, ..look() });
    assert_eq!(end.ids.len(), 4);
    assert_eq!(still.window.look(Look { from: MANY * 2, ..look() }).ids, []);

    // All of them change; told is of those in sight, each once.
    still.window.look(Look { from: 100, ..look() });
    still.engine.pause(&ids).await.unwrap();
    let told = still.told().await;
    let rows: Vec<_> = told.iter().flat_map(|changes| &changes.list.rows).collect();
    assert!(
        rows.len() <= IN_SIGHT && rows.iter().all(|row| row.state == State::Paused),
        "{} rows",
        rows.len()
    );
    assert_eq!(told.last().unwrap().list.totals.paused, MANY as i64 - 3);
    assert!(told.windows(2).all(|two| two[1].list.revision == two[0].list.revision + 1));
}

// With threads of its own the first engine lets go of its list while the second one opens it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_nothing_of_rows_that_wait_as_before() {
    let still = Still::new().await;
    still.add((0..MANY).map(|number| format!("{number}.bin"))).await;
    still.engine.shutdown().await;
    let Still { root, _silent, engine, window, .. } = still;
    drop((engine, window));
    let engine = Engine::open(options(root.path(), true)).await.unwrap();
    let mut changes = engine.subscribe();
    let mut told = 0;
    while let Ok(Ok(change)) = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await {
        told += change.changed.len();
    }
    assert!(told < 100, "{told} rows");
}

#[tokio::test]
async fn rows_are_put_in_order_filtered_and_searched() {
    let mut still = Still::new().await;
    still.window.open(look(), true);
    let ids = still.add(["b 10.bin", "B 2.bin", "Über.mov", "a.bin", "zebra.bin", "usher.mov"]).await;
    let upload = |name: &str, size| {
        let path = still.root.path().join(name);
        std::fs::write(&path, vec![1; size]).unwrap();
        let to = Some(format!("http://{}/put", still.address));
        still.engine.upload(UploadRequest { paths: vec![path], to, ..UploadRequest::default() })
    };
    let small = upload("small.txt", 10).await.unwrap();
    let large = upload("large.txt", 10_000).await.unwrap();
    still.engine.cancel(&ids[4..5]).await.unwrap();
    still.engine.pause(&[ids[3], small[0], large[0]]).await.unwrap();
    still.told().await;

    let by = |order| Look { order, ..look() };
    let names = still.names(by(Order::Name));
    assert_eq!(
        names,
        ["a.bin", "B 2.bin", "b 10.bin", "large.txt", "small.txt", "Über.mov", "usher.mov", "zebra.bin"]
    );
    // Swedish has Ü among the Ys.
    let swedish = still.names(Look { locale: "sv".into(), ..by(Order::Name) });
    assert_eq!(swedish[5..], ["usher.mov", "Über.mov", "zebra.bin"]);
    assert_eq!(still.names(by(Order::Queue)).last().unwrap(), "zebra.bin");
    assert_eq!(still.names(by(Order::Newest))[..3], ["large.txt", "small.txt", "usher.mov"]);
    assert_eq!(still.names(by(Order::Size))[..2], ["large.txt", "small.txt"]);
    assert_eq!(still.names(by(Order::State)).last().unwrap(), "zebra.bin");

    let filtered = |filter| still.names(Look { filter, ..look() });
    assert_eq!(filtered(Filter::Done), ["zebra.bin"]);
    assert_eq!(filtered(Filter::Active).len(), 7);
    assert!(filtered(Filter::Attention).is_empty());
    let searched = |search: &str| still.names(Look { search: search.into(), ..look() });
    assert_eq!(searched(" .MOV"), ["Über.mov", "usher.mov"]);
    assert!(searched("127.0.0.1").len() >= 6, "the host is found, too");
    assert!(searched("nothing like it").is_empty());

    // What is added or renamed meanwhile finds its place.
    still.window.look(Look { search: "mov".into(), ..by(Order::Name) });
    still.add(["unter.mov", "not found"]).await;
    let told = still.told().await;
    let rows = still.engine.rows(&told.last().unwrap().list.ids);
    let names: Vec<_> = rows.iter().map(|row| &*row.name).collect();
    assert_eq!(names, ["Über.mov", "unter.mov", "usher.mov"]);
}

#[tokio::test]
async fn commands_reach_rows_out_of_sight() {
    let mut still = Still::new().await;
    still.window.open(Look { count: 2, ..look() }, true);
    let ids = still.add((0..40).map(|number| format!("{number}.bin"))).await;
    still.engine.pause(&ids[30..]).await.unwrap();
    still.told().await;
    let window = &still.window;
    assert_eq!(window.which(None, Can::Pause), ids[..30]);
    assert_eq!(window.which(Some(&ids[25..]), Can::Resume), ids[30..]);
    assert_eq!(window.which(Some(&[TransferId(9_999)]), Can::Cancel), []);
    assert_eq!(window.between(Some(ids[7]), Some(ids[5])), ids[5..=7]);
    assert_eq!(window.between(Some(ids[35]), None), ids[35..]);
    assert_eq!(window.between(None, None), ids);
    assert_eq!(window.between(Some(TransferId(9_999)), None), []);

    // Out of sight and of the counts, until they are shown again.
    let hidden = window.hide(&ids[20..]).await.unwrap();
    assert_eq!((&*hidden.ids, &*hidden.paused, hidden.next), (&ids[20..], &ids[20..30], Some(ids[19])));
    let again = window.hide(&[ids[20], ids[19], TransferId(9_999)]).await.unwrap();
    assert_eq!((&*again.ids, again.next), (&ids[19..20], Some(ids[18])), "each is hidden once");
    window.unhide(&ids[19..20]);
    let listing = |still: &Still| still.window.look(Look { count: 2, ..look() });
    assert_eq!((listing(&still).length, listing(&still).counts.all), (20, 20));
    still.told().await;
    assert_eq!(still.window.which(None, Can::Resume), ids[19..20]);
    still.window.open(Look { count: 2, ..look() }, false);
    assert_eq!(listing(&still).length, 20, "after a gap, too");
    still.window.open(Look { count: 2, ..look() }, true);
    assert_eq!(listing(&still).length, 40, "a page that was loaded anew has no undo");
    still.window.hide(&ids[20..]).await.unwrap();
    still.window.unhide(&ids[20..]);
    assert_eq!(still.told().await.last().unwrap().list.length, 40);
    let hidden = still.window.hide(&ids[20..]).await.unwrap();
    still.engine.remove(&hidden.ids).await.unwrap();
    let told = still.told().await;
    assert_eq!(told.last().unwrap().list.counts.all, 20);

    // Through the queue, by one place, to the front and behind another one.
    let order = |still: &Still| still.window.between(None, None);
    for _ in 0..3 {
        still.window.move_rows(&[ids[9]], Where::Up).await.unwrap();
    }
    still.told().await;
    assert_eq!(order(&still)[6], ids[9], "each counts from where the one before led to");
    still.window.move_behind(&[ids[9]], Some(ids[8])).await.unwrap();
    still.window.move_behind(&[ids[0]], Some(TransferId(9_999))).await.unwrap();
    still.told().await;
    assert_eq!(order(&still), ids[..20], "what is gone says nothing about where");
    still.engine.pause(&ids[..20]).await.unwrap();
    still.window.move_rows(&[ids[3], ids[5]], Where::Up).await.unwrap();
    still.told().await;
    assert_eq!(order(&still)[..6], [ids[0], ids[1], ids[3], ids[5], ids[2], ids[4]]);
    still.window.move_rows(&[ids[4]], Where::Front).await.unwrap();
    still.window.move_rows(&[ids[19]], Where::Down).await.unwrap();
    still.told().await;
    assert_eq!(order(&still)[..3], [ids[4], ids[0], ids[1]]);
    assert_eq!(order(&still)[19], ids[19]);
    still.window.move_behind(&[ids[0], ids[18]], Some(ids[19])).await.unwrap();
    still.told().await;
    assert_eq!(order(&still)[17..], [ids[19], ids[0], ids[18]]);
    still.window.move_behind(&[ids[18]], None).await.unwrap();
    still.told().await;
    assert_eq!(order(&still)[0], ids[18]);

    // What is new can be taken back; what was there goes on, whatever the clock says, and is not told as new.
    let request = |name: &str| DownloadRequest {
        what: format!("http://{}/{name}", still.address),
        folder: Some(still.root.path().to_owned()),
        ..DownloadRequest::default()
    };
    let known = still.engine.add_download(request("3.bin")).await.unwrap();
    assert!(!known.is_new && ids.contains(&known.id));
    let new = still.engine.add_download(request("new.bin")).await.unwrap();
    assert!(new.is_new);
    assert_eq!(still.window.take_back(&[new.id]).await.unwrap().taken, 1);
    assert_eq!(still.window.take_back(&[new.id]).await.unwrap().taken, 0);
    assert_eq!(still.told().await.last().unwrap().list.counts.all, 20);
}

#[tokio::test]
async fn endings_and_the_day_are_summed_up() {
    let root = tempfile::tempdir().unwrap();
    let served = ferry_sandbox::Options { root: root.path().to_owned(), port: 0, api_key: None };
    let sandbox = Sandbox::start(served).await.unwrap();
    let downloads = Downloads::new().await;
    let run = |path: &str| downloads.run_url(format!("{}{path}", sandbox.url()));
    let (window, heard) = window_onto(downloads.engine());
    let mut changes = downloads.engine().subscribe();
    window.open(look(), true);
    let begin = run("/generate/5000/one.bin").await.added_at;
    run("/generate/7000/two.bin").await;
    let failed = run("/files/there-is-none.bin").await;
    let mut ended = Endings::default();
    let mut list = Listing::default();
    while let Ok(change) = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await {
        window.apply(&change.unwrap());
    }
    for told in heard.lock().unwrap().drain(..) {
        ended.completed += told.ended.completed;
        ended.failed += told.ended.failed;
        ended.failed_name = ended.failed_name.or(told.ended.failed_name);
        list = told.list;
    }
    assert_eq!((ended.completed, ended.failed), (2, 1));
    assert_eq!(ended.failed_name, Some(failed.name));
    assert_eq!((list.today.files, list.today.down, list.today.up), (2, 12_000, 0));
    assert_eq!(list.counts.attention, 1);
    let later = window.look(Look { midnight: begin + 3_600_000, ..look() });
    assert_eq!(later.today.files, 0, "the next day has begun");
    let hours = window.day(&[begin - 3_600_000, begin - 10, begin + 3_600_000]);
    assert_eq!(
        hours.iter().map(|hour| (hour.down, hour.up)).collect::<Vec<_>>(),
        [(0, 0), (12_000, 0), (0, 0)]
    );
    assert_eq!(window.which(None, Can::DragOut).len(), 2);
    assert_eq!(window.which(None, Can::Clear).len(), 2);
    assert_eq!(window.which(None, Can::Retry), [failed.id]);

    // What has ended with a file cannot be taken back by taking its row off the list.
    let done = window.which(None, Can::Clear);
    let all = [done.clone(), vec![failed.id]].concat();
    let back = window.take_back(&all).await.unwrap();
    assert_eq!((back.taken, back.ended.len()), (1, 2));
    assert!(back.ended.iter().all(|id| downloads.engine().transfer(*id).is_some()));
    // What is hidden when the window closes goes for good.
    window.hide(&done[..1]).await.unwrap();
    window.remove_hidden().await.unwrap();
    assert_eq!(downloads.engine().transfers(|_| true).len(), 1);
}

/// A listener that fell behind still receives the last of what it missed: the list must not live through it once more.
#[tokio::test]
async fn what_is_older_than_a_look_is_not_told_once_more() {
    let mut still = Still::new().await;
    let ids = still.add(["1.bin", "2.bin", "3.bin"]).await;
    still.told().await;
    still.window.open(look(), true);
    let as_it_was = |id: TransferId| still.engine.transfer(id).unwrap();
    let before: Vec<Transfer> = ids.iter().map(|id| as_it_was(*id)).collect();
    still.engine.cancel(&ids[..1]).await.unwrap();
    still.engine.remove(&ids[1..2]).await.unwrap();
    let mut missed = Vec::new();
    while let Ok(changes) = tokio::time::timeout(Duration::from_millis(700), still.changes.recv()).await {
        missed.push(changes.unwrap());
    }
    still.window.catch_up();
    let list = still.heard.lock().unwrap().pop().unwrap().list;
    assert_eq!((list.counts.all, list.counts.done), (2, 1));

    // As the rows were at each of these revisions, and another ending in between.
    let newest = missed.last().unwrap().revision;
    let completed = Transfer { state: State::Completed, ..before[0].clone() };
    for (revision, row) in
        [(newest - 1, before[0].clone()), (newest - 1, completed), (newest, before[1].clone())]
    {
        still.window.apply(&Changes { revision, changed: vec![row], ..Changes::default() });
    }
    let again = still.heard.lock().unwrap().drain(..).map(|told| told.ended.completed).sum::<usize>();
    assert_eq!(again, 0, "an ending of the past was announced");
    let shown = still.window.look(look());
    assert_eq!((shown.counts.all, shown.counts.done, shown.length), (2, 1, 2), "rows went back in time");

    // What is newer counts.
    let completed = Transfer { state: State::Completed, ..before[2].clone() };
    still.window.apply(&Changes { revision: newest + 1, changed: vec![completed], ..Changes::default() });
    assert_eq!(still.heard.lock().unwrap().pop().unwrap().ended.completed, 1);
}

/// Whoever is told something may ask the list, and another thread gets its answer meanwhile.
#[tokio::test]
async fn a_window_that_is_slow_to_listen_holds_up_nobody_who_asks() {
    let still = Still::new().await;
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let told = Mutex::new((entered, left, Vec::new()));
    let heard = Arc::new(told);
    let ear = Arc::clone(&heard);
    let window = Arc::new(ListWindow::new(still.engine.clone(), move |changes| {
        let mut ear = ear.lock().unwrap();
        ear.2.push(changes.list.revision);
        ear.0.send(()).unwrap();
        ear.1.recv().unwrap();
    }));
    window.open(look(), true);
    let tells = Arc::clone(&window);
    let first = std::thread::spawn(move || tells.catch_up());
    inside.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(window.look(look()).counts.all, 0);
    window.unhide(&[]);
    leave.send(()).unwrap();
    leave.send(()).unwrap();
    first.join().unwrap();
    let revisions = heard.lock().unwrap().2.clone();
    assert!(revisions.len() == 2 && revisions.is_sorted(), "{revisions:?}");
}

/// Whatever happens to the rows: what was told bit by bit is what a fresh look shows.
#[tokio::test]
async fn changes_told_one_after_the_other_lead_to_what_a_fresh_look_shows() {
    let mut chance = Chance::new("list");
    let mut still = Still::new().await;
    let orders = [Order::Queue, Order::Newest, Order::Name, Order::Size, Order::State];
    let filters = [Filter::All, Filter::Active, Filter::Done, Filter::Attention];
    still.window.open(look(), true);
    for round in 0..12 {
        let looking = Look {
            order: orders[chance.below(5) as usize],
            filter: filters[chance.below(4) as usize],
            search: if chance.one_in(2) { "1".into() } else { String::new() },
            from: chance.below(20) as usize,
            ..look()
        };
        // A page: the rows that it was handed, as they were last.
        let mut list = still.window.look(looking.clone());
        let mut page: HashMap<TransferId, Transfer> = HashMap::new();
        let mut keep = |list: &Listing| page.extend(list.rows.iter().map(|row| (row.id, row.clone())));
        keep(&list);
        for number in 0..5 {
            let all = still.engine.transfers(|_| true);
            let mut some = all.iter().map(|row| row.id).filter(|_| chance.one_in(3)).collect::<Vec<_>>();
            match chance.below(6) {
                0 => drop(still.add((0..10).map(|at| format!("{round}-{number}-{at}.bin"))).await),
                1 => still.engine.pause(&some).await.unwrap(),
                2 => still.engine.resume(&some).await.unwrap(),
                3 => still.engine.cancel(&some).await.unwrap(),
                4 => still.window.move_rows(&some, Where::Front).await.unwrap(),
                _ => {
                    some.truncate(4);
                    still.engine.remove(&some).await.unwrap();
                }
            }
        }
        for told in still.told().await {
            keep(&told.list);
            list = told.list;
        }
        let fresh = window_onto(&still.engine).0.open(looking.clone(), true).list;
        let numbers = |list: &Listing| {
            let Listing { length, movable, counts, totals, today, next, .. } = *list;
            (length, movable, counts, totals, today, next)
        };
        assert_eq!((numbers(&list), &list.ids), (numbers(&fresh), &fresh.ids), "{looking:?}");
        for row in &fresh.rows {
            assert_eq!(page.get(&row.id), Some(row), "{looking:?}");
        }
    }
}
