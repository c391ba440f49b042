//! What a download survives: rows D1 to D13 of `docs/reliability.md`, against servers that misbehave byte by byte.

#[path = "support/bad_server.rs"]
mod bad_server;
#[allow(dead_code, reason = "only its answers are wanted here")]
#[path = "support/bad_store.rs"]
mod bad_store;
#[path = "support/downloads.rs"]
mod downloads;

use std::time::Duration;

use bad_server::{BadServer, Signal, Step, range_start, response};
use downloads::{Downloads, code};
use ferry_engine::{Code, DownloadRequest, Header, Settings, State, TransferId, Verified};

const ETAG: &str = "\"v1\"";

/// A file whose every stretch is different, so that a wrong splice shows.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Serves `file` with ranges, as a good server does.
fn good_answer(head: &str, file: &[u8], etag: &str) -> Vec<u8> {
    let length = file.len();
    match range_start(head) {
        Some(start) if start < length => response(
            "206 Partial Content",
            &[
                ("Content-Length", &(length - start).to_string()),
                ("Content-Range", &format!("bytes {start}-{}/{length}", length - 1)),
                ("ETag", etag),
            ],
            &file[start..],
        ),
        _ => response("200 OK", &[("Content-Length", &length.to_string()), ("ETag", etag)], file),
    }
}

/// The first answer is cut after `keep` bytes of its body; the others are good.
fn cut_once(file: &[u8], keep: usize, end: fn() -> Step) -> BadServer {
    let file = file.to_vec();
    BadServer::start(move |head, number| {
        let mut bytes = good_answer(head, &file, ETAG);
        if number > 0 {
            return vec![Step::Send(bytes)];
        }
        bytes.truncate(bytes.len() - file.len() + keep);
        vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), end()]
    })
}

#[tokio::test]
async fn d1_a_cut_anywhere_is_resumed_and_complete() {
    let file = content(300_000);
    for keep in [0, 1, file.len() / 2, file.len() - 1] {
        for end in [(|| Step::Close) as fn() -> Step, || Step::Reset] {
            let server = cut_once(&file, keep, end);
            let downloads = Downloads::new().await;
            let row = downloads.run(&server.url("/film.mp4")).await;
            assert_eq!(row.state, State::Completed, "cut after {keep}");
            assert_eq!(downloads.saved("film.mp4"), file, "cut after {keep}");
            assert_eq!(row.verified, Some(Verified::Length));
            let requests = server.requests();
            assert_eq!(requests.len(), 2, "cut after {keep}");
            if keep > 1 {
                let start = range_start(&requests[1]).expect("continues by range");
                assert!(start > 0 && start <= keep, "asked from {start} after {keep}");
                assert!(requests[1].to_ascii_lowercase().contains("if-range: \"v1\""));
            }
            downloads.nothing_else_than(&["film.mp4"]);
        }
    }
}

#[tokio::test]
async fn d1_without_a_validator_it_starts_over_and_says_so() {
    let file = content(200_000);
    let body = file.clone();
    let server = BadServer::start(move |_, number| {
        let mut bytes = response("200 OK", &[("Content-Length", "200000"), ("ETag", "W/\"weak\"")], &body);
        if number == 0 {
            bytes.truncate(bytes.len() - 50_000);
        }
        vec![Step::Send(bytes), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(downloads.saved("a.bin"), file);
    assert!(row.note.is_some_and(|note| note.to_string().contains("started over")));
    assert!(server.requests().iter().all(|head| range_start(head).is_none()), "a weak tag must not be used");
}

#[tokio::test]
async fn d1_a_chunked_body_that_is_cut_is_never_done() {
    let server = BadServer::start(|_, _| {
        let chunk = b"5\r\nhello\r\n";
        vec![Step::Send(response("200 OK", &[("Transfer-Encoding", "chunked")], chunk)), Step::Close]
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!(code(&row), Some(Code::Incomplete));
    assert!(!downloads.exists("a.txt"));
}

#[tokio::test]
async fn d1_a_chunked_body_with_a_validator_is_resumed_where_it_was_cut() {
    let file = content(300_000);
    for keep in [1, 150_000, 299_999] {
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            if number > 0 {
                return vec![Step::Send(good_answer(head, &body, ETAG))];
            }
            // A chunk that is whole, and the end of the body that never comes.
            let mut chunk = format!("{keep:x}\r\n").into_bytes();
            chunk.extend_from_slice(&body[..keep]);
            chunk.extend_from_slice(b"\r\n");
            let headers = [("Transfer-Encoding", "chunked"), ("ETag", ETAG)];
            let wait = Step::Wait(Duration::from_millis(50));
            vec![Step::Send(response("200 OK", &headers, &chunk)), wait, Step::Close]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)), "cut after {keep}");
        assert!(downloads.saved("film.mp4") == file, "cut after {keep}: the bytes differ");
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "cut after {keep}");
        assert_eq!(range_start(&requests[1]), Some(keep), "the whole chunk is kept");
        assert!(requests[1].to_ascii_lowercase().contains("if-range: \"v1\""));
        downloads.nothing_else_than(&["film.mp4"]);
    }
}

#[tokio::test]
async fn d1_a_body_that_ends_with_the_connection_is_done_but_marked() {
    let server = BadServer::start(|_, _| vec![Step::Send(response("200 OK", &[], b"whole?")), Step::Close]);
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)));
    assert!(row.note.is_some_and(|note| note.to_string().contains("not verified")));
}

#[tokio::test]
async fn d2_a_silent_connection_is_given_up_and_continued() {
    let file = content(100_000);
    let body = file.clone();
    let server = BadServer::start(move |head, _| {
        let mut bytes = good_answer(head, &body, ETAG);
        if range_start(head).is_none() {
            bytes.truncate(bytes.len() - 60_000);
            return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(30))];
        }
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::with(|overrides| overrides.stall = Some(Duration::from_secs(1))).await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);
    // A computer that is busy may count its own delays as silence: then it is given up earlier, or twice.
    let starts: Vec<_> = server.requests().iter().map(|head| range_start(head)).collect();
    let (last, before) = starts.split_last().unwrap();
    assert!(last.is_some_and(|start| (1..=40_000).contains(&start)), "continued at {last:?}");
    assert!(!before.is_empty() && before.iter().all(Option::is_none), "{starts:?}");
}

#[tokio::test]
async fn d3_a_server_that_asks_for_a_pause_gets_it_and_it_costs_no_attempt() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "202 Accepted"] {
        let server = BadServer::start(move |_, number| {
            // The second is what a clock that is behind makes of a minute.
            let wait = ["1", "Thu, 01 Jan 1970 00:00:00 GMT", "0"].get(number);
            vec![Step::Send(match wait {
                Some(wait) => response(status, &[("Retry-After", wait), ("Content-Length", "0")], b""),
                None => response("200 OK", &[("Content-Length", "2")], b"ok"),
            })]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
        let began = std::time::Instant::now();
        let row = downloads.run(&server.url("/a.txt")).await;
        assert_eq!(row.state, State::Completed, "{status}");
        assert_eq!(server.requests().len(), 4, "{status}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{status}: the first pause was a second");
    }
}

/// Each pause that is asked for is waited for, and all of them together end.
#[tokio::test]
async fn d3_a_server_that_asks_for_pauses_for_ever_is_given_up_and_not_asked_without_a_breath() {
    for (status, expected) in [
        ("503 Service Unavailable", Code::ServiceError),
        ("202 Accepted", Code::NotReady),
        ("425 Too Early", Code::NotReady),
    ] {
        for wait in ["0", "1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            let server = BadServer::start(move |_, _| {
                vec![Step::Send(response(status, &[("Retry-After", wait), ("Content-Length", "0")], b""))]
            });
            let downloads = Downloads::with(|overrides| {
                overrides.retries = Some(0);
                overrides.stuck = Some(Duration::from_secs(60));
                overrides.wait_scale = Some(0.02);
            })
            .await;
            let id = downloads.add(&server.url("/a.zip")).await;
            let row = downloads.until(id, |row| row.wait.is_some() || row.state.has_ended()).await;
            assert!(row.wait.is_some_and(|wait| wait.until.is_some()), "{status} {wait}: the row says so");
            let row = downloads.ended(id).await;
            assert_eq!(code(&row), Some(expected), "{status} {wait}: {:?}", row.state);
            let State::Failed(failure) = &row.state else { unreachable!("it has a code") };
            assert!(failure.message().contains("after 60 s of waiting"), "{}", failure.message());
            // The pauses grow, also where less is asked for.
            let asked = server.requests().len();
            assert!((2..30).contains(&asked), "{status} {wait}: asked {asked} times");
        }
    }
}

/// Whoever names no time may well say so to everything: the user's setting counts.
#[tokio::test]
async fn d3_a_server_that_names_no_time_is_asked_as_often_as_the_setting_says() {
    for wait in [None, Some("soon"), Some("-1")] {
        for status in ["503 Service Unavailable", "202 Accepted"] {
            let server = BadServer::start(move |_, _| {
                let mut headers = vec![("Content-Length", "0")];
                headers.extend(wait.map(|wait| ("Retry-After", wait)));
                vec![Step::Send(response(status, &headers, b""))]
            });
            let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
            let row = downloads.run(&server.url("/a.zip")).await;
            assert!(code(&row).is_some(), "{status} {wait:?}: {:?}", row.state);
            assert_eq!(server.requests().len(), 2, "{status} {wait:?}");
        }
    }
}

#[tokio::test]
async fn a_canceled_download_goes_on_when_that_is_taken_back_though_no_file_has_its_link_any_more() {
    let file = content(300_000);
    // All but the end comes at once, the rest when it is asked for again.
    let hangs = |file: Vec<u8>| {
        BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &file, ETAG);
            if number > 0 {
                return vec![Step::Send(bytes)];
            }
            bytes.truncate(bytes.len() - 100_000);
            vec![Step::Send(bytes), Step::Wait(Duration::from_secs(60))]
        })
    };
    for link in ["/a.bin", "/a.bin?token=marked5ecret"] {
        let server = hangs(file.clone());
        let mut downloads = Downloads::new().await;
        let id = downloads.add(&server.url(link)).await;
        downloads.until(id, |row| row.bytes >= 200_000).await;
        downloads.engine().cancel(&[id]).await.unwrap();
        assert_eq!(downloads.ended(id).await.state, State::Canceled);
        let data = downloads.folder().parent().unwrap().join("data");
        let records = std::fs::read_dir(data.join("resume")).unwrap().flatten();
        for record in records.map(|entry| entry.path()).filter(|path| path.is_file()) {
            let text = String::from_utf8_lossy(&std::fs::read(&record).unwrap()).into_owned();
            assert!(!text.contains("/a.bin"), "{}: {text}", record.display());
        }
        if !link.contains('?') {
            // A link without anything to hide is on the list, and outlives the program.
            downloads = downloads.restart(|_| {}).await;
        }
        downloads.engine().retry(&[id]).await.unwrap();
        assert_eq!(downloads.ended(id).await.state, State::Completed, "{link}");
        assert_eq!(downloads.saved("a.bin"), file);
        let last = server.requests().pop().unwrap();
        assert!(range_start(&last).is_some_and(|start| start > 0), "{link} began anew: {last}");
    }
    // What had to be hidden is gone with the program.
    let server = hangs(file.clone());
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin?token=marked5ecret")).await;
    downloads.until(id, |row| row.bytes >= 200_000).await;
    downloads.engine().cancel(&[id]).await.unwrap();
    let downloads = downloads.restart(|_| {}).await;
    downloads.engine().retry(&[id]).await.unwrap();
    assert_eq!(code(&downloads.ended(id).await), Some(Code::InvalidInput));
}

#[tokio::test]
async fn a_finished_download_is_had_again_by_its_link_unless_something_of_that_had_to_be_hidden() {
    let file = content(100_000);
    let server = {
        let file = file.clone();
        BadServer::start(move |head, _| vec![Step::Send(good_answer(head, &file, ETAG))])
    };
    let downloads = Downloads::new().await;
    let whole = downloads.add(&server.url("/a.bin")).await;
    let hidden = downloads.add(&server.url("/b.bin?token=marked5ecret")).await;
    for id in [whole, hidden] {
        assert_eq!(downloads.ended(id).await.state, State::Completed);
    }
    std::fs::remove_file(downloads.folder().join("a.bin")).unwrap();
    let settings = Settings { downloads_folder: Some(downloads.folder()), ..downloads.engine().settings() };
    downloads.engine().save_settings(settings).await.unwrap();
    assert!(downloads.engine().can_download_again(whole));
    let again = downloads.engine().download_again(whole).await.unwrap().id;
    assert_ne!(again, whole, "the finished one stays what it is");
    assert_eq!(downloads.ended(again).await.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);

    assert!(!downloads.engine().can_download_again(hidden));
    let error = downloads.engine().download_again(hidden).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidInput, "{error}");
}

#[tokio::test]
async fn d4_a_file_that_changed_meanwhile_is_never_spliced() {
    let (old, new) = (content(200_000), vec![7; 150_000]);
    let (before, after) = (old.clone(), new.clone());
    let server = BadServer::start(move |head, number| {
        if number == 0 {
            let mut bytes = good_answer(head, &before, ETAG);
            bytes.truncate(bytes.len() - 100_000);
            return vec![Step::Send(bytes), Step::Close];
        }
        // If-Range does not match any more: the whole new file.
        vec![Step::Send(good_answer("", &after, "\"v2\""))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(downloads.saved("a.bin"), new);
    assert!(row.note.is_some_and(|note| note.to_string().contains("Changed at the source")));
    assert_eq!(downloads.saved("a.bin.old.ferrypart"), old[..100_000], "the old part is kept");
}

/// Several servers behind one name, each with a mark of its own: it looks like a change each time the line breaks.
#[tokio::test]
async fn d4_a_source_that_keeps_changing_is_given_up_before_its_old_parts_fill_the_disk() {
    let file = content(200_000);
    let server = BadServer::start(move |head, number| {
        let mut bytes = good_answer(&head.replace("ange", "-"), &file, &format!("\"v{number}\""));
        // Farther each time, so that it looks like progress.
        bytes.truncate(bytes.len() - 150_000 + 1000 * number.min(100));
        vec![Step::Send(bytes), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(code(&row), Some(Code::ChangedAtSource), "{:?}", row.state);
    let parts = downloads.names().len();
    assert!(parts <= 5, "{:?}", downloads.names());
}

#[tokio::test]
async fn d5_wrong_answers_to_a_range_never_make_a_corrupt_file() {
    let file = content(100_000);
    let total = file.len();
    type Wrong = fn(&[u8], usize) -> Vec<u8>;
    let wrongs: [(&str, Wrong); 6] = [
        ("200", |file, _| response("200 OK", &[("Content-Length", "100000"), ("ETag", ETAG)], file)),
        ("wrong start", |file, start| {
            let range = format!("bytes {}-99999/100000", start - 10);
            let length = (file.len() - start + 10).to_string();
            response(
                "206 Partial Content",
                &[("Content-Length", &length), ("Content-Range", &range), ("ETag", ETAG)],
                &file[start - 10..],
            )
        }),
        ("wrong total", |file, start| {
            let range = format!("bytes {start}-99999/100001");
            let length = (file.len() - start).to_string();
            response(
                "206 Partial Content",
                &[("Content-Length", &length), ("Content-Range", &range), ("ETag", ETAG)],
                &file[start..],
            )
        }),
        ("several parts", |_, _| {
            response(
                "206 Partial Content",
                &[("Content-Length", "4"), ("Content-Type", "multipart/byteranges; boundary=x")],
                b"--x-",
            )
        }),
        ("416, another size", |_, _| {
            response(
                "416 Range Not Satisfiable",
                &[("Content-Range", "bytes */5"), ("Content-Length", "0")],
                b"",
            )
        }),
        ("416, Starlette's spelling", |_, _| {
            response("416 Range Not Satisfiable", &[("Content-Range", "*/5"), ("Content-Length", "0")], b"")
        }),
    ];
    for (name, wrong) in wrongs {
        let body = file.clone();
        let server = BadServer::start(move |head, number| match (number, range_start(head)) {
            (0, _) => {
                let mut bytes = good_answer(head, &body, ETAG);
                bytes.truncate(bytes.len() - 50_000);
                vec![Step::Send(bytes), Step::Close]
            }
            (_, Some(start)) => vec![Step::Send(wrong(&body, start)), Step::Close],
            (_, None) => vec![Step::Send(good_answer(head, &body, ETAG))],
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!(row.state, State::Completed, "{name}");
        assert_eq!(downloads.saved("a.bin").len(), total, "{name}");
        assert!(downloads.saved("a.bin") == file, "{name}: the bytes differ");
    }
}

#[tokio::test]
async fn d5_a_part_that_nobody_asked_for_is_refused() {
    let server = BadServer::start(|_, _| {
        let headers = [("Content-Length", "5"), ("Content-Range", "bytes 5-9/10")];
        vec![Step::Send(response("206 Partial Content", &headers, b"56789"))]
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(code(&row), Some(Code::BadResponse));
    downloads.nothing_else_than(&[]);
}

#[tokio::test]
async fn d6_bytes_beyond_the_promised_range_are_never_written() {
    let file = content(100_000);
    let body = file.clone();
    let server = BadServer::start(move |head, number| match range_start(head) {
        Some(start) if number > 0 => {
            let mut rest = body[start..].to_vec();
            rest.extend_from_slice(b"surplus that belongs to nobody");
            let range = format!("bytes {start}-99999/100000");
            let length = rest.len().to_string();
            let headers = [("Content-Length", length.as_str()), ("Content-Range", &range), ("ETag", ETAG)];
            vec![Step::Send(response("206 Partial Content", &headers, &rest))]
        }
        _ => {
            let mut bytes = good_answer(head, &body, ETAG);
            // Only the first is cut: an answer with a length of its own is not joined, the file is fetched anew.
            bytes.truncate(bytes.len() - if number == 0 { 50_000 } else { 0 });
            vec![Step::Send(bytes), Step::Close]
        }
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);
}

/// The service's list says how large the file is, and its answer says another size: one of them is wrong, whichever it is.
#[tokio::test]
async fn d6_a_file_of_another_size_than_its_service_lists_is_a_loud_failure() {
    let film = [&b"\0\0\0\x18ftypmp42"[..], &content(1000)].concat();
    for (listed, expected) in
        [(film.len(), None), (film.len() + 5000, Some(Code::Incomplete)), (5, Some(Code::BadResponse))]
    {
        for in_chunks in [false, true] {
            let body = film.clone();
            let server = BadServer::start(move |head, _| {
                // The client is the one to close: what it has posted is not read here.
                let ends = ("Connection", "close");
                if head.contains("/list_videos") {
                    let list = format!(
                        r#"{{"code":"0000","data":{{"videos":[{{"video_no":"VI1","video_name":"clip","size":"{listed}"}}]}}}}"#
                    );
                    let length = list.len().to_string();
                    let headers = [ends, ("Content-Type", "application/json"), ("Content-Length", &*length)];
                    return vec![Step::Send(response("200 OK", &headers, list.as_bytes()))];
                }
                let kind = ("Content-Type", "application/octet-stream");
                vec![Step::Send(if in_chunks {
                    let chunk =
                        [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                    response("200 OK", &[ends, kind, ("Transfer-Encoding", "chunked")], &chunk)
                } else {
                    response("200 OK", &[ends, kind, ("Content-Length", &body.len().to_string())], &body)
                })]
            });
            let service = Some(("visual-search", server.url("")));
            let downloads = Downloads::of(service, |overrides| overrides.retries = Some(0)).await;
            let row = downloads.run_of("visual-search", "VI1").await;
            assert_eq!(code(&row), expected, "{listed} {in_chunks}: {:?}", row.state);
            assert_eq!(downloads.files().len(), usize::from(expected.is_none()), "{listed} {in_chunks}");
        }
    }
}

/// Scripts that forget the 206, answers longer than their range, ranges in two versions: nothing of it is joined by guess.
#[tokio::test]
async fn w1_a_range_is_what_its_head_and_its_frame_agree_on() {
    type Answer = fn(&[u8], usize) -> (&'static str, Vec<(&'static str, String)>, Vec<u8>);
    let answers: [(&str, Answer); 6] = [
        ("200 for the rest, with its range", |file, start| {
            let head = vec![
                ("Content-Length", (file.len() - start).to_string()),
                ("Content-Range", format!("bytes {start}-{}/{}", file.len() - 1, file.len())),
                ("ETag", ETAG.to_owned()),
            ];
            ("200 OK", head, file[start..].to_vec())
        }),
        ("200 for the rest, without a word", |file, start| {
            ("200 OK", vec![("Content-Length", (file.len() - start).to_string())], file[start..].to_vec())
        }),
        ("200 for the rest, under the same tag", |file, start| {
            let head = vec![("Content-Length", (file.len() - start).to_string()), ("ETag", ETAG.to_owned())];
            ("200 OK", head, file[start..].to_vec())
        }),
        ("206 that names the rest and brings the whole", |file, start| {
            let head = vec![
                ("Content-Length", file.len().to_string()),
                ("Content-Range", format!("bytes {start}-{}/{}", file.len() - 1, file.len())),
                ("ETag", ETAG.to_owned()),
            ];
            ("206 Partial Content", head, file.to_vec())
        }),
        ("the same in chunks", |file, start| {
            let head = vec![
                ("Transfer-Encoding", "chunked".to_owned()),
                ("Content-Range", format!("bytes {start}-{}/{}", file.len() - 1, file.len())),
                ("ETag", ETAG.to_owned()),
            ];
            let mut body = format!("{:x}\r\n", file.len()).into_bytes();
            body.extend_from_slice(file);
            body.extend_from_slice(b"\r\n0\r\n\r\n");
            ("206 Partial Content", head, body)
        }),
        ("206 with two ranges in its head", |file, start| {
            let head = vec![
                ("Content-Length", (file.len() - start).to_string()),
                ("Content-Range", format!("bytes {start}-{}/{}", file.len() - 1, file.len())),
                ("Content-Range", format!("bytes 0-{}/{}", file.len() - start - 1, file.len())),
                ("ETag", ETAG.to_owned()),
            ];
            ("206 Partial Content", head, file[..file.len() - start].to_vec())
        }),
    ];
    for (what, answer) in answers {
        let file = content(100_000);
        let body = file.clone();
        let server = BadServer::start(move |head, number| match range_start(head) {
            Some(start) if number > 0 => {
                let (status, headers, bytes) = answer(&body, start);
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                vec![Step::Send(response(status, &headers, &bytes)), Step::Close]
            }
            _ => {
                let mut bytes = good_answer(head, &body, ETAG);
                bytes.truncate(bytes.len() - if number == 0 { 50_000 } else { 0 });
                vec![Step::Send(bytes), Step::Close]
            }
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!(row.state, State::Completed, "{what}");
        assert!(downloads.saved("a.bin") == file, "{what}: other bytes");
    }
}

/// A transfer coding that the client does not undo is no file, and a length counts where there is none.
#[tokio::test]
async fn w1_only_plain_chunks_are_a_file() {
    for (value, body) in [
        ("gzip", &b"\x1f\x8b\x08 packed"[..]),
        ("gzip, chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        ("chunked;q=1", b"5\r\nhello\r\n0\r\n\r\n"),
        ("\"chunked\"", b"5\r\nhello\r\n0\r\n\r\n"),
        ("chunked,", b"5\r\nhello\r\n0\r\n\r\n"),
        ("chunked, identity", b"5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let server = BadServer::start(move |_, _| {
            vec![Step::Send(response("200 OK", &[("Transfer-Encoding", value)], body)), Step::Close]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert!(matches!(row.state, State::Failed(_)), "{value}: {:?}", row.state);
        downloads.nothing_else_than(&[]);
    }
    for (value, length) in [("identity", "100000"), ("", "100000"), ("identity", "5")] {
        let server = BadServer::start(move |_, _| {
            let headers = [("Transfer-Encoding", value), ("Content-Length", length)];
            vec![Step::Send(response("200 OK", &headers, &content(50_000))), Step::Close]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert!(matches!(row.state, State::Failed(_)), "{value:?} {length}: {:?}", row.state);
    }
}

/// What follows a body on its connection looks like the next answer, and belongs to nobody.
#[tokio::test]
async fn d6_bytes_beyond_the_length_of_a_whole_file_are_never_written_nor_taken_for_an_answer() {
    let server = BadServer::start(|head, _| {
        let body = if head.starts_with("GET /next") { b"right" } else { b"hello" };
        let mut bytes = response("200 OK", &[("Content-Length", "5")], body);
        bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    for (name, held) in [("a.txt", b"hello"), ("next.txt", b"right")] {
        let row = downloads.run(&server.url(&format!("/{name}"))).await;
        assert_eq!((row.state, row.bytes, row.total), (State::Completed, 5, Some(5)), "{name}");
        assert_eq!(row.verified, Some(Verified::Length), "{name}");
        assert_eq!(downloads.saved(name), held);
    }
    downloads.nothing_else_than(&["a.txt", "next.txt"]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn d7_the_strongest_checksum_decides_and_a_wrong_one_never_publishes() {
    // "hello": SHA-256, MD5 and CRC32C in base64, as the headers want them.
    const SHA256: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const CRC32C: &str = "crc32c=mnG7TA==";
    let right: [(&[(&str, &str)], Verified); 4] = [
        (&[("x-goog-hash", CRC32C)], Verified::Crc32c),
        (&[("Content-MD5", MD5)], Verified::Md5),
        (&[("Repr-Digest", SHA256), ("x-goog-hash", CRC32C)], Verified::Sha256),
        (&[("x-goog-hash", "crc32c=not base64!")], Verified::Length),
    ];
    for (headers, verified) in right {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let server = BadServer::start(move |_, _| {
            let mut all: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            all.push(("Content-Length", "5"));
            vec![Step::Send(response("200 OK", &all, b"hello"))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.txt")).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(verified)));
    }
    // The checksums of nothing: readable, and never those of a file that holds something.
    const WRONG_SHA256: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    const WRONG_MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
    let wrong: [(&[(&str, &str)], &str); 6] = [
        (&[("x-goog-hash", "crc32c=AAAAAA==")], "crc32c"),
        (&[("x-goog-hash", "md5=1B2M2Y8AsgTpgAmY7PhCfg==")], "md5"),
        (&[("Content-MD5", WRONG_MD5)], "md5"),
        (&[("Repr-Digest", WRONG_SHA256)], "sha-256"),
        // A weaker one that is right saves nothing.
        (&[("Repr-Digest", WRONG_SHA256), ("Content-MD5", MD5), ("x-goog-hash", CRC32C)], "sha-256"),
        (&[("Content-MD5", WRONG_MD5), ("x-goog-hash", CRC32C)], "md5"),
    ];
    for (headers, algorithm) in wrong {
        let server = BadServer::start(move |_, _| {
            let all = [headers, &[("Content-Length", "5")]].concat();
            vec![Step::Send(response("200 OK", &all, b"hello"))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.txt")).await;
        assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{headers:?}: {:?}", row.state);
        let State::Failed(failure) = row.state else { unreachable!("it has a code") };
        let said = failure.message().to_lowercase().replace('-', "");
        assert!(said.contains(&algorithm.replace('-', "")), "{headers:?}: {}", failure.message());
        assert_eq!(server.requests().len(), 2, "{headers:?}: fetched once more, then given up");
        assert!(downloads.files().is_empty(), "{headers:?}: {:?}", downloads.names());
    }
}

/// Adds a download of which the user knows the checksum.
async fn add_with(downloads: &Downloads, what: String, checksum: &str) -> TransferId {
    let request = DownloadRequest {
        what,
        folder: Some(downloads.folder()),
        checksum: Some(checksum.parse().expect("a checksum")),
        ..DownloadRequest::default()
    };
    downloads.engine().download(request).await.expect("written down")
}

/// A checksum as a user gives it.
fn sha256_of(file: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(file);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test]
async fn d7_the_users_checksum_must_agree_whatever_the_server_offers() {
    // "hello", by `md5sum` and its kin.
    let right = [
        ("md5:5D41402ABC4B2A76B9719D911017C592", Verified::Md5),
        ("sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", Verified::Sha1),
        ("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", Verified::Sha256),
        ("crc32c:9a71bb4c", Verified::Crc32c),
    ];
    let wrong = ["md5:d41d8cd98f00b204e9800998ecf8427e", "crc32c:00000000"];
    // The length and nothing; neither; a stronger checksum than the user's; a file too large to be put down in one go.
    let answers: [(&[(&str, &str)], usize); 4] = [
        (&[("Content-Length", "5")], 0),
        (&[], 0),
        (
            &[
                ("Repr-Digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"),
                ("Content-Length", "5"),
            ],
            0,
        ),
        (&[], 200_000),
    ];
    for (headers, more) in answers {
        let server = BadServer::start(move |_, _| {
            let mut bytes = response("200 OK", headers, b"hello");
            bytes.extend(vec![0; more]);
            vec![Step::Send(bytes), Step::Close]
        });
        let downloads = Downloads::new().await;
        if more == 0 {
            for (number, (checksum, verified)) in right.into_iter().enumerate() {
                let id = add_with(&downloads, server.url(&format!("/{number}.txt")), checksum).await;
                let row = downloads.ended(id).await;
                assert_eq!((row.state, row.verified), (State::Completed, Some(verified)), "{headers:?}");
                let hex = checksum.split_once(':').unwrap().1.to_lowercase();
                assert_eq!(row.checksum.as_deref(), Some(&*hex), "{headers:?}");
            }
        }
        let before = downloads.files().len();
        for checksum in wrong {
            let id = add_with(&downloads, server.url("/wrong.txt"), checksum).await;
            let row = downloads.ended(id).await;
            assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{headers:?} {checksum}: {:?}", row.state);
            let State::Failed(failure) = row.state else { unreachable!("it has a code") };
            assert!(failure.message().contains("was given for it"), "{}", failure.message());
        }
        assert_eq!(downloads.files().len(), before, "{headers:?}: {:?}", downloads.names());
    }
}

#[tokio::test]
async fn d7_the_users_checksum_decides_over_cuts_and_restarts() {
    let file = content(400_000);
    for (checksum, is_right) in [(sha256_of(&file), true), (sha256_of(&file[1..]), false)] {
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number == 0 {
                bytes.truncate(bytes.len() - 100_000);
                return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(60))];
            }
            vec![Step::Send(bytes)]
        });
        let downloads = Downloads::new().await;
        let id = add_with(&downloads, server.url("/film.mp4"), &checksum).await;
        downloads.until(id, |row| row.bytes >= 200_000).await;
        let downloads = downloads.restart(|_| {}).await;
        // Once more, which is the same download and goes on.
        assert_eq!(add_with(&downloads, server.url("/film.mp4"), &checksum).await, id);
        let row = downloads.ended(id).await;
        assert!(range_start(&server.requests()[1]).is_some_and(|start| start > 0), "it went on");
        if is_right {
            assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Sha256)));
            assert_eq!(downloads.saved("film.mp4"), file);
        } else {
            assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{:?}", row.state);
            assert!(downloads.files().is_empty(), "{:?}", downloads.names());
        }
    }
}

#[tokio::test]
async fn d7_with_another_checksum_it_is_another_download() {
    let server = BadServer::start(|_, number| {
        let whole = response("200 OK", &[("Content-Length", "5"), ("ETag", ETAG)], b"hello");
        if number == 0 {
            return vec![Step::Send(whole[..whole.len() - 2].to_vec()), Step::Wait(Duration::from_secs(60))];
        }
        vec![Step::Send(whole)]
    });
    let downloads = Downloads::new().await;
    let url = server.url("/a.txt");
    let wrong = add_with(&downloads, url.clone(), "md5:d41d8cd98f00b204e9800998ecf8427e").await;
    downloads.until(wrong, |row| row.bytes > 0).await;
    let right = add_with(&downloads, url.clone(), "md5:5d41402abc4b2a76b9719d911017c592").await;
    let plain = downloads.add(&url).await;
    assert!(right != wrong && plain != wrong && plain != right);
    for (id, verified) in [(right, Verified::Md5), (plain, Verified::Length)] {
        let row = downloads.ended(id).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(verified)));
    }
    assert_eq!(downloads.files().len(), 2, "{:?}", downloads.names());
}

#[tokio::test]
async fn d7_what_was_damaged_on_its_way_once_is_fetched_again_and_proven() {
    let server = BadServer::start(|_, number| {
        let body: &[u8] = if number == 0 { b"hellO" } else { b"hello" };
        let headers = [("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), ("Content-Length", "5"), ("ETag", ETAG)];
        vec![Step::Send(response("200 OK", &headers, body))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Md5)));
    assert_eq!(downloads.saved("a.txt"), b"hello");
    assert!(server.requests().iter().all(|head| range_start(head).is_none()), "nothing of it is continued");
    downloads.nothing_else_than(&["a.txt"]);
}

#[tokio::test]
async fn d8_a_compressed_body_is_never_saved_under_the_files_name() {
    let server = BadServer::start(|_, _| {
        vec![Step::Send(response(
            "200 OK",
            &[("Content-Encoding", "gzip"), ("Content-Length", "4")],
            b"\x1f\x8b\x08\0",
        ))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(code(&row), Some(Code::BadResponse));
    downloads.nothing_else_than(&[]);
    assert!(server.requests()[0].to_ascii_lowercase().contains("accept-encoding: identity"));
}

#[tokio::test]
async fn d9_an_error_in_json_is_an_error_and_a_json_file_is_a_file() {
    let error = br#"{"code":"0001","msg":"download video error","data":null,"success":false,"failed":true}"#;
    let server = BadServer::start(|head, _| {
        let body: &[u8] = if head.starts_with("GET /notes") { br#"{"a":1}"# } else { error };
        let length = body.len().to_string();
        vec![Step::Send(response(
            "200 OK",
            &[("Content-Type", "application/json"), ("Content-Length", &length)],
            body,
        ))]
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(code(&row), Some(Code::ServiceError));
    assert!(!downloads.exists("film.mp4"));
    let row = downloads.run(&server.url("/notes.json")).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(downloads.saved("notes.json"), br#"{"a":1}"#);
}

#[tokio::test]
async fn d9_an_empty_file_is_a_file() {
    let server =
        BadServer::start(|_, _| vec![Step::Send(response("200 OK", &[("Content-Length", "0")], b""))]);
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/empty.txt")).await;
    assert_eq!((row.state, row.bytes, row.total), (State::Completed, 0, Some(0)));
    assert_eq!(downloads.saved("empty.txt"), b"");
}

/// What a network answers to everything before one has signed in to it.
const SIGN_IN: &[u8] = b"\r\n<!DOCTYPE html><title>Welcome to the airport</title>";

fn page(kind: Option<&str>, bytes: &[u8]) -> Vec<Step> {
    let length = bytes.len().to_string();
    let mut headers = vec![("Content-Length", length.as_str())];
    headers.extend(kind.map(|kind| ("Content-Type", kind)));
    vec![Step::Send(response("200 OK", &headers, bytes))]
}

#[tokio::test]
async fn d17_a_page_to_sign_in_is_never_saved_as_the_file_that_was_meant() {
    for kind in [Some("text/html; charset=utf-8"), None] {
        let server = BadServer::start(move |_, _| page(kind, SIGN_IN));
        for name in ["film.mp4", "data.ZIP", "photo%2Ejpg"] {
            let downloads = Downloads::new().await;
            let row = downloads.run(&server.url(&format!("/{name}?x=1"))).await;
            assert_eq!(code(&row), Some(Code::BadResponse), "{name} {kind:?}: {:?}", row.state);
            let State::Failed(failure) = &row.state else { unreachable!("it has a code") };
            assert!(failure.advice.to_string().contains("sign in"), "{}", failure.advice);
            downloads.nothing_else_than(&[]);
        }
        // What may well be a page is one, and says so by its name.
        for (asked, saved) in [
            ("", "download.html"),
            ("/news", "news.html"),
            ("/example.com", "example.com.html"),
            ("/index.php", "index.php.html"),
            ("/a.HTM", "a.HTM"),
        ] {
            let downloads = Downloads::new().await;
            let row = downloads.run(&server.url(asked)).await;
            assert_eq!(row.state, State::Completed, "{asked} {kind:?}");
            // Without a path the name comes from the host, which is another number each time.
            let expected = if asked.is_empty() { row.name.as_str() } else { saved };
            assert_eq!(std::path::Path::new(expected).extension(), std::path::Path::new(saved).extension());
            downloads.nothing_else_than(&[expected]);
            assert_eq!(downloads.saved(expected), SIGN_IN);
        }
    }
    // A server that calls a film a page still gives a film.
    let film = content(5000);
    let server = BadServer::start(move |_, _| page(Some("text/html"), &film));
    let downloads = Downloads::new().await;
    assert_eq!(downloads.run(&server.url("/film.mp4")).await.state, State::Completed);
    assert_eq!(downloads.saved("film.mp4"), content(5000));
    // So does one that calls a drawing or data in XML a page.
    for (name, text) in [
        ("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("track.gpx", "<?xml version=\"1.0\"?>\n<gpx version=\"1.1\"></gpx>"),
    ] {
        let server = BadServer::start(move |_, _| page(Some("text/html"), text.as_bytes()));
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url(&format!("/{name}"))).await;
        assert_eq!(row.state, State::Completed, "{name}");
        downloads.nothing_else_than(&[name]);
    }
}

#[tokio::test]
async fn d17_a_page_to_sign_in_does_not_touch_what_came_before_it() {
    let file = content(300_000);
    let bytes = file.clone();
    let server = BadServer::start(move |head, number| match number {
        0 => {
            let mut answer = good_answer(head, &bytes, ETAG);
            answer.truncate(answer.len() - 100_000);
            vec![Step::Send(answer), Step::Wait(Duration::from_millis(50)), Step::Close]
        }
        1 => page(Some("text/html"), SIGN_IN),
        _ => vec![Step::Send(good_answer(head, &bytes, ETAG))],
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/film.mp4")).await;
    assert_eq!(code(&downloads.ended(id).await), Some(Code::BadResponse));
    downloads.nothing_else_than(&["film.mp4.ferrypart"]);
    // Signed in: it goes on where it stood.
    downloads.engine().retry(&[id]).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert!(range_start(&server.requests()[2]).is_some_and(|start| start > 0), "not from the beginning");
    assert!(downloads.saved("film.mp4") == file);
    downloads.nothing_else_than(&["film.mp4"]);
}

#[tokio::test]
async fn d16_a_clock_that_is_off_makes_no_wait_longer() {
    let file = content(1000);
    let bytes = file.clone();
    let server = BadServer::start(move |head, number| {
        if number > 0 {
            return vec![Step::Send(good_answer(head, &bytes, ETAG))];
        }
        // By the server's clock, which is a day ahead, this is a second from now.
        let theirs = std::time::SystemTime::now() + Duration::from_secs(86_400);
        let date = |time| httpdate::fmt_http_date(time);
        let headers = [
            ("Date", date(theirs)),
            ("Retry-After", date(theirs + Duration::from_secs(1))),
            ("Content-Length", "0".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        vec![Step::Send(response("503 Service Unavailable", &headers, b""))]
    });
    let downloads = Downloads::new().await;
    let began = std::time::Instant::now();
    assert_eq!(downloads.run(&server.url("/a.bin")).await.state, State::Completed);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited {:?}", began.elapsed());
    assert!(downloads.saved("a.bin") == file);
}

#[tokio::test]
async fn d10_redirects_are_followed_within_reason_only() {
    for (target, code) in [
        ("file:///etc/passwd", Code::InsecureRedirect),
        ("http://user:secret@127.0.0.1:9/x", Code::InsecureRedirect),
        ("/again", Code::BadResponse),
    ] {
        let server = BadServer::start(move |_, _| {
            vec![Step::Send(response("302 Found", &[("Location", target), ("Content-Length", "0")], b""))]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
        let row = downloads.run(&server.url("/a")).await;
        assert_eq!(downloads::code(&row), Some(code), "{target}");
        assert!(server.requests().len() <= 11);
    }
    let server = BadServer::start(|head, _| {
        vec![Step::Send(if head.starts_with("GET /start") {
            response("302 Found", &[("Location", "sub/../real.txt"), ("Content-Length", "0")], b"")
        } else {
            response("200 OK", &[("Content-Length", "2")], b"ok")
        })]
    });
    let downloads = Downloads::new().await;
    downloads.run(&server.url("/start")).await;
    assert_eq!(downloads.saved("real.txt"), b"ok");
}

#[tokio::test]
async fn d10_ten_redirects_are_followed_and_the_eleventh_is_not() {
    let server = BadServer::start(|head, _| {
        let left: u32 = head.split(['/', ' ']).nth(2).and_then(|text| text.parse().ok()).unwrap();
        vec![Step::Send(match left.checked_sub(1) {
            Some(next) => {
                let next = format!("/{next}/a.txt");
                response("302 Found", &[("Location", &next), ("Content-Length", "0")], b"")
            }
            None => response("200 OK", &[("Content-Length", "2")], b"ok"),
        })]
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let row = downloads.run(&server.url("/11/a.txt")).await;
    assert_eq!(code(&row), Some(Code::BadResponse), "{:?}", row.state);
    assert_eq!(server.requests().len(), 11, "the first one, and ten more");
    downloads.nothing_else_than(&[]);
    assert_eq!(downloads.run(&server.url("/10/a.txt")).await.state, State::Completed);
    assert_eq!(server.requests().len(), 22);
    assert_eq!(downloads.saved("a.txt"), b"ok");
}

#[tokio::test]
async fn d11_any_header_gives_a_name_all_the_same() {
    let many: String = (0..90).map(|n| format!("X-{n}: {}\r\n", "y".repeat(1500))).collect();
    assert!(many.len() > 100 * 1024);
    let heads: [Vec<u8>; 3] = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{many}\r\nok").into_bytes(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Disposition: attachment; filename=\"\xff\xfe.txt\"\r\n\r\nok".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Disposition: attachment; filename=a\r\nContent-Disposition: attachment; filename=b\r\n\r\nok".to_vec(),
    ];
    for head in heads {
        let server = BadServer::start(move |_, _| vec![Step::Send(head.clone())]);
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/name.txt")).await;
        assert_eq!(row.state, State::Completed);
        assert_eq!(downloads.files().len(), 1);
    }
}

#[tokio::test]
async fn d11_an_answer_of_nothing_but_a_status_is_a_file_whose_size_nobody_vouches_for() {
    let server =
        BadServer::start(|_, _| vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\nok".to_vec()), Step::Close]);
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/name.txt")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)));
    assert!(row.note.is_some_and(|note| note.to_string().contains("not verified")));
    assert_eq!(downloads.saved("name.txt"), b"ok");
}

/// What no header may hold, and more of them than anybody needs: refused at once, and said to be the server's fault.
#[tokio::test]
async fn d11_a_head_that_breaks_http_is_refused_without_asking_again() {
    let many: String = (0..2000).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in
        ["X: a\0b\r\n", "Content-Disposition: attachment; filename=\"a\0.txt\"\r\n", "X\0: a\r\n", &many]
    {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{head}\r\nok").into_bytes();
        let server = BadServer::start(move |_, _| vec![Step::Send(bytes.clone()), Step::Close]);
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/name.txt")).await;
        let shown = head.chars().take(40).collect::<String>();
        assert_eq!(code(&row), Some(Code::BadResponse), "{shown:?}: {:?}", row.state);
        assert_eq!(server.requests().len(), 1, "{shown:?}");
        downloads.nothing_else_than(&[]);
    }
}

/// Some servers in front of scripts, and old ones: chunks by HTTP/1.0, which has none.
#[tokio::test]
async fn d11_chunks_by_http_1_0_are_no_valid_answer_and_no_broken_connection() {
    let server = BadServer::start(|_, _| {
        let bytes = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        vec![Step::Send(bytes.to_vec()), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(code(&row), Some(Code::BadResponse), "{:?}", row.state);
    assert_eq!(server.requests().len(), 1);
}

/// Hints that come for ever are no answer, however many: the time for a first byte is not theirs to draw out.
#[tokio::test]
async fn d11_hints_without_an_answer_end_with_the_time_for_an_answer() {
    let server = BadServer::start(|_, _| {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".repeat(50);
        let flood = |_| [Step::Send(hints.clone()), Step::Wait(Duration::from_millis(10))];
        (0..3000).flat_map(flood).collect()
    });
    let downloads = Downloads::with(|overrides| {
        overrides.stall = Some(Duration::from_millis(200));
        overrides.retries = Some(0);
    })
    .await;
    let began = std::time::Instant::now();
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(code(&row), Some(Code::TimedOut), "{:?}", row.state);
    assert!(began.elapsed() < Duration::from_secs(20), "after {:?}", began.elapsed());
    // A few before an answer are what they are meant to be.
    let server = BadServer::start(|_, _| {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".repeat(20);
        vec![Step::Send([hints, response("200 OK", &[("Content-Length", "5")], b"hello")].concat())]
    });
    assert_eq!(downloads.run(&server.url("/b.bin")).await.state, State::Completed);
}

/// The same length twice, on one line or on two, is that length (RFC 9110 §8.6).
#[tokio::test]
async fn d11_a_length_that_is_said_twice_is_a_length() {
    for lines in [
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\n ,5\r\n",
        "Content-Length: 5,05\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{lines}\r\nhelloworld").into_bytes();
        let server = BadServer::start(move |_, _| vec![Step::Send(bytes.clone()), Step::Close]);
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!((&row.state, row.verified), (&State::Completed, Some(Verified::Length)), "{lines:?}");
        assert_eq!((row.total, row.note), (Some(5), None), "{lines:?}");
        assert_eq!(downloads.saved("a.bin"), b"hello", "{lines:?}");
    }
}

/// With no proxy anywhere, 407 is the server's own word, and its refusal.
#[tokio::test]
async fn d17_a_407_of_the_server_itself_is_no_word_of_a_proxy() {
    let server = BadServer::start(|_, _| {
        vec![Step::Send(response("407 Proxy Authentication Required", &[("Content-Length", "2")], b"no"))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(code(&row), Some(Code::ServiceError), "{:?}", row.state);
    let State::Failed(failure) = &row.state else { unreachable!("it has a code") };
    let said = format!("{}; {}", failure.message(), failure.advice);
    assert!(said.contains("HTTP 407") && !said.to_ascii_lowercase().contains("the proxy"), "{said}");
    assert_eq!(server.requests().len(), 1);
}

/// Whoever says that it gives no ranges is asked for the rest once, and what it sends in answer to that is taken.
#[tokio::test]
async fn w1_a_server_that_gives_no_ranges_begins_one_body_for_each_try() {
    let file = content(200_000);
    let body = file.clone();
    let server = BadServer::start(move |_, number| {
        let headers = [("Content-Length", "200000"), ("ETag", ETAG), ("Accept-Ranges", "none")];
        let mut bytes = response("200 OK", &headers, &body);
        bytes.truncate(bytes.len() - if number < 3 { 50_000 } else { 0 });
        vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);
    assert_eq!(server.requests().len(), 4);
    assert!(row.note.is_some_and(|note| note.to_string().contains("started over")));
}

#[tokio::test]
async fn d12_hostile_names_stay_inside_the_folder() {
    for name in [
        "../../evil.sh",
        "/etc/passwd",
        "..\\..\\evil.exe",
        "CON",
        ".bashrc",
        "a\u{202e}gpj.exe",
        "x.desktop",
    ] {
        let header = format!("attachment; filename*=UTF-8''{}", percent(name));
        let server = BadServer::start(move |_, _| {
            vec![Step::Send(response(
                "200 OK",
                &[("Content-Length", "2"), ("Content-Disposition", &header)],
                b"ok",
            ))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/x")).await;
        assert_eq!(row.state, State::Completed, "{name}");
        let files = downloads.files();
        assert_eq!(files.len(), 1, "{name}");
        let saved = &files[0];
        assert!(
            !saved.starts_with('.')
                && saved != "CON"
                && !saved.contains('\u{202e}')
                && !saved.ends_with(".desktop"),
            "{saved}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn d12_a_link_planted_under_the_name_is_not_followed() {
    let server =
        BadServer::start(|_, _| vec![Step::Send(response("200 OK", &[("Content-Length", "2")], b"ok"))]);
    let downloads = Downloads::new().await;
    let outside = downloads.folder().parent().unwrap().join("outside.txt");
    std::os::unix::fs::symlink(&outside, downloads.folder().join("a.txt")).unwrap();
    std::os::unix::fs::symlink(&outside, downloads.folder().join("a (1).txt.ferrypart")).unwrap();
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!(row.state, State::Completed);
    assert!(!outside.exists());
    assert_eq!(downloads.saved("a (2).txt"), b"ok");
}

#[tokio::test]
async fn d13_two_downloads_of_one_name_both_arrive_whole() {
    let server = BadServer::start(|head, _| {
        let body: &[u8] = if head.contains("/one/") { b"one" } else { b"two" };
        vec![
            Step::Wait(Duration::from_millis(100)),
            Step::Send(response("200 OK", &[("Content-Length", "3")], body)),
        ]
    });
    let downloads = Downloads::new().await;
    std::fs::write(downloads.folder().join("a.txt"), "was here").unwrap();
    let (one, two) = tokio::join!(
        downloads.run_url(server.url("/one/a.txt")),
        downloads.run_url(server.url("/two/a.txt"))
    );
    assert_eq!((one.state, two.state), (State::Completed, State::Completed));
    assert_eq!(downloads.saved("a.txt"), b"was here");
    let mut both = [downloads.saved("a (1).txt"), downloads.saved("a (2).txt")];
    both.sort();
    assert_eq!(both, [b"one".to_vec(), b"two".to_vec()]);
}

#[tokio::test]
async fn d13_a_file_that_appears_on_the_way_keeps_its_name_and_both_are_whole() {
    let file = content(200_000);
    let (body, appeared) = (file.clone(), Signal::default());
    let signal = appeared.clone();
    let server = BadServer::start(move |head, _| {
        let mut bytes = good_answer(head, &body, ETAG);
        let rest = bytes.split_off(bytes.len() - 50_000);
        vec![Step::Send(bytes), Step::Until(signal.clone()), Step::Send(rest)]
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin")).await;
    downloads.until(id, |row| row.bytes >= 150_000).await;
    std::fs::write(downloads.folder().join("a.bin"), "mine").unwrap();
    appeared.give();
    let row = downloads.ended(id).await;
    assert_eq!((row.state, row.name.as_str()), (State::Completed, "a (1).bin"));
    assert_eq!(downloads.saved("a.bin"), b"mine");
    assert!(downloads.saved("a (1).bin") == file);
    assert!(row.path.is_some_and(|path| path.ends_with("a (1).bin")), "the list says where it really is");
    downloads.nothing_else_than(&["a (1).bin", "a.bin"]);
}

/// Where the file system tells such names apart both are there, else one has a number: nothing is ever replaced.
#[tokio::test]
async fn d13_names_that_differ_in_case_or_normalisation_only_never_replace_each_other() {
    let names = ["Film é.txt", "FILM É.TXT", "film e\u{301}.txt", "Film e\u{301}.txt"];
    // Beside what is there already.
    for there in names {
        for comes in names {
            let header = format!("attachment; filename*=UTF-8''{}", percent(comes));
            let server = BadServer::start(move |_, _| {
                let headers = [("Content-Length", "4"), ("Content-Disposition", header.as_str())];
                vec![Step::Send(response("200 OK", &headers, b"came"))]
            });
            let downloads = Downloads::new().await;
            std::fs::write(downloads.folder().join(there), "mine").unwrap();
            let row = downloads.run(&server.url("/x")).await;
            assert_eq!(row.state, State::Completed, "{comes:?} beside {there:?}");
            assert_eq!(downloads.names().len(), 2, "{comes:?} beside {there:?}: {:?}", downloads.names());
            assert_eq!(downloads.saved(there), b"mine", "{comes:?} beside {there:?}");
            assert_eq!(downloads.saved(&row.name), b"came", "{comes:?} beside {there:?}");
        }
    }
    // All at once.
    let all_asked = Signal::default();
    let signal = all_asked.clone();
    let server = BadServer::start(move |head, _| {
        let at: usize = head["GET /".len()..].split(' ').next().unwrap().parse().unwrap();
        let header = format!("attachment; filename*=UTF-8''{}", percent(names[at]));
        let headers = [("Content-Length", "200000"), ("Content-Disposition", header.as_str())];
        let mut bytes = response("200 OK", &headers, &vec![at as u8; 200_000]);
        let rest = bytes.split_off(bytes.len() - 50_000);
        vec![Step::Send(bytes), Step::Until(signal.clone()), Step::Send(rest)]
    });
    let downloads = Downloads::with(|overrides| overrides.concurrency = Some(4)).await;
    let mut ids = Vec::new();
    for at in 0..names.len() {
        ids.push(downloads.add(&server.url(&format!("/{at}"))).await);
    }
    for id in &ids {
        downloads.until(*id, |row| row.bytes >= 150_000).await;
    }
    all_asked.give();
    let mut folded = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        let row = downloads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{:?}", names[at]);
        assert!(
            downloads.saved(&row.name) == vec![at as u8; 200_000],
            "{:?} was written by another",
            row.name
        );
        folded.push(row.name.to_lowercase());
    }
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), names.len(), "no file system can take two of these for one: {folded:?}");
}

#[tokio::test]
async fn d15_a_part_file_that_was_touched_is_found_out() {
    type Touch = fn(&std::path::Path);
    let touches: [(&str, Touch); 4] = [
        ("edited", |part| {
            let mut bytes = std::fs::read(part).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(part, bytes).unwrap();
        }),
        ("truncated", |part| std::fs::File::options().write(true).open(part).unwrap().set_len(10).unwrap()),
        ("deleted", |part| std::fs::remove_file(part).unwrap()),
        ("replaced", |part| {
            std::fs::remove_file(part).unwrap();
            std::fs::write(part, vec![0; 200_000]).unwrap();
        }),
    ];
    for (name, touch) in touches {
        let file = content(200_000);
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number == 0 {
                bytes.truncate(bytes.len() - 50_000);
                return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
            }
            vec![Step::Send(bytes)]
        });
        let downloads = Downloads::new().await;
        let id = downloads.add(&server.url("/a.bin")).await;
        downloads.until(id, |row| row.bytes >= 150_000).await;
        let downloads = downloads.restart(move |folder| touch(&folder.join("a.bin.ferrypart"))).await;
        downloads.engine().resume(&[id]).await.unwrap();
        let row = downloads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{name}");
        assert!(downloads.files().iter().any(|file| row.name == *file), "{name}");
        assert!(downloads.saved(&row.name) == file, "{name}: the bytes differ");
    }
}

/// Changes some bytes so that the CRC32C of all stays what it was: by the polynomial itself, bit by bit.
#[cfg(unix)]
fn forge(part: &std::path::Path) -> Vec<u8> {
    const GENERATOR: u64 = 0x1_1EDC_6F41;
    let mut bytes = std::fs::read(part).unwrap();
    for bit in (0..33).filter(|bit| GENERATOR >> (32 - bit) & 1 == 1) {
        bytes[1000 + bit / 8] ^= 1 << (bit % 8);
    }
    bytes
}

#[cfg(unix)]
#[tokio::test]
async fn d15_another_users_part_file_is_not_taken_though_its_checksum_is_right() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    const NOBODY: u32 = 65534;
    type Touch = fn(&std::path::Path);
    let rights = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make another user's file");
        return;
    }
    let by_another: Touch = |part| {
        let forged = forge(part);
        std::fs::remove_file(part).unwrap();
        std::fs::write(part, forged).unwrap();
        chown(part, Some(NOBODY), Some(NOBODY)).unwrap();
    };
    let touches: [(&str, Touch, bool); 5] = [
        (
            "what the user writes there passes the checksum",
            |part| std::fs::write(part, forge(part)).unwrap(),
            true,
        ),
        ("another user's", by_another, false),
        (
            "another user's, of a Ferry that noted nothing",
            |part| {
                let list = part.parent().unwrap().parent().unwrap().join("data/ferry.db");
                let list = rusqlite::Connection::open(list).unwrap();
                list.execute("UPDATE transfers SET journal = json_remove(journal, '$.file')", []).unwrap();
                let forged = forge(part);
                std::fs::remove_file(part).unwrap();
                std::fs::write(part, forged).unwrap();
                chown(part, Some(NOBODY), Some(NOBODY)).unwrap();
            },
            false,
        ),
        (
            "one that others may write to",
            |part| {
                std::fs::write(part, forge(part)).unwrap();
                std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o666)).unwrap();
            },
            false,
        ),
        (
            "another of the user's own, moved there by others",
            |part| {
                std::fs::write(part.with_extension("new"), forge(part)).unwrap();
                std::fs::rename(part.with_extension("new"), part).unwrap();
            },
            false,
        ),
    ];
    for (what, touch, is_taken) in touches {
        let file = content(200_000);
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number == 0 {
                bytes.truncate(bytes.len() - 50_000);
                return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
            }
            vec![Step::Send(bytes)]
        });
        let downloads = Downloads::new().await;
        rights(&downloads.folder(), 0o777);
        let id = downloads.add(&server.url("/a.bin")).await;
        downloads.until(id, |row| row.bytes >= 150_000).await;
        let downloads = downloads.restart(move |folder| touch(&folder.join("a.bin.ferrypart"))).await;
        downloads.engine().resume(&[id]).await.unwrap();
        let row = downloads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{what}");
        assert_eq!(downloads.saved(&row.name) != file, is_taken, "{what}");
        // It has the rights that the user's other files have.
        let usual = downloads.folder().join("usual");
        std::fs::write(&usual, "").unwrap();
        let rights_of =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights_of(&downloads.folder().join(&*row.name)), rights_of(&usual), "{what}");
    }
}

/// What has the part file's name in the end may be something else than what was written: a sync client puts an old one
/// back, somebody plants a link.
#[cfg(unix)]
#[tokio::test]
async fn d12_what_takes_the_part_files_place_on_the_way_never_gets_the_final_name() {
    type Take = fn(&std::path::Path);
    let takes: [(&str, Take); 3] = [
        ("a file", |part| {
            std::fs::write(part.with_extension("new"), vec![0; 777]).unwrap();
            std::fs::rename(part.with_extension("new"), part).unwrap();
        }),
        ("a link", |part| {
            std::fs::remove_file(part).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", part).unwrap();
        }),
        ("a second name", |part| {
            std::fs::hard_link(part, part.with_extension("second")).unwrap();
        }),
    ];
    for (what, take) in takes {
        let file = content(200_000);
        let (body, taken) = (file.clone(), Signal::default());
        let signal = taken.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number > 0 {
                return vec![Step::Send(bytes)];
            }
            let rest = bytes.split_off(bytes.len() - 50_000);
            vec![Step::Send(bytes), Step::Until(signal.clone()), Step::Send(rest)]
        });
        let downloads = Downloads::new().await;
        let id = downloads.add(&server.url("/a.bin")).await;
        downloads.until(id, |row| row.bytes >= 150_000).await;
        take(&downloads.folder().join("a.bin.ferrypart"));
        taken.give();
        let row = downloads.ended(id).await;
        assert_eq!(row.state, State::Completed, "{what}");
        for name in downloads.files() {
            let path = downloads.folder().join(&name);
            if name.ends_with(".second") {
                continue;
            }
            assert!(!path.is_symlink(), "{what}: {name} is a link");
            assert!(downloads.saved(&name) == file, "{what}: {name} holds something else");
        }
        assert!(downloads.files().iter().any(|file| row.name == *file), "{what}: {:?}", downloads.names());
    }
}

/// Two transfers may come to the same name when the part file of one is away.
#[tokio::test]
async fn d13_a_part_file_belongs_to_one_transfer_also_while_it_is_not_there() {
    let (first, second) = (content(200_000), vec![7; 200_000]);
    let (one, other) = (first.clone(), second.clone());
    let server = BadServer::start(move |head, _| {
        let file = if head.contains("from=1") { &one } else { &other };
        let mut bytes = good_answer(head, file, ETAG);
        if range_start(head).is_none() {
            bytes.truncate(bytes.len() - 50_000);
            return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
        }
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    let begin = async |url: String| {
        let id = downloads.add(&url).await;
        downloads.until(id, |row| row.bytes >= 150_000).await;
        downloads.engine().pause(&[id]).await.unwrap();
        id
    };
    let lost = begin(server.url("/a.bin?from=1")).await;
    std::fs::remove_file(downloads.folder().join("a.bin.ferrypart")).unwrap();
    let kept = begin(server.url("/a.bin?from=2")).await;
    let name = downloads.engine().transfer(kept).unwrap().name;
    assert_eq!(name, "a (1).bin", "the first one's name is still its own");
    // Also when the list is read anew.
    let downloads = downloads.restart(|_| {}).await;
    downloads.engine().remove(&[lost]).await.unwrap();
    downloads.engine().resume(&[kept]).await.unwrap();
    let row = downloads.ended(kept).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved(&row.name) == second);
    let asked = server.requests();
    assert!(range_start(asked.last().unwrap()) >= Some(150_000), "nothing was fetched twice: {asked:?}");
}

/// A server that cannot continue, and cannot even begin just now: what is here stays until something better comes.
#[tokio::test]
async fn what_cannot_be_continued_is_kept_until_the_server_really_sends_it_anew() {
    let file = content(200_000);
    let body = file.clone();
    let server = BadServer::start(move |_, number| {
        let length = body.len().to_string();
        let mut bytes = response("200 OK", &[("Content-Length", &length)], &body);
        match number {
            0 => bytes.truncate(bytes.len() - 50_000),
            1 => return vec![Step::Send(response("404 Not Found", &[("Content-Length", "0")], b""))],
            _ => {}
        }
        vec![Step::Send(bytes), Step::Close]
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin")).await;
    let row = downloads.ended(id).await;
    assert_eq!(code(&row), Some(Code::NotFound));
    assert!(downloads.saved("a.bin.ferrypart") == file[..150_000], "what came is kept");
    downloads.engine().retry(&[id]).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);
}

#[tokio::test]
async fn a_paused_download_goes_on_where_it_stood_also_after_a_restart() {
    let file = content(200_000);
    let body = file.clone();
    let server = BadServer::start(move |head, number| {
        let mut bytes = good_answer(head, &body, ETAG);
        if number == 0 {
            bytes.truncate(bytes.len() - 50_000);
            return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
        }
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin?token=secret")).await;
    downloads.until(id, |row| row.bytes >= 150_000).await;
    downloads.engine().pause(&[id]).await.unwrap();
    assert_eq!(downloads.engine().transfer(id).unwrap().state, State::Paused);
    let downloads = downloads.restart(|_| {}).await;
    let row = downloads.engine().transfer(id).unwrap();
    assert_eq!((row.state, row.bytes, row.total), (State::Paused, 150_000, Some(200_000)), "never back to 0");
    downloads.engine().resume(&[id]).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert!(downloads.saved("a.bin") == file);
    assert_eq!(range_start(&server.requests()[1]), Some(150_000));
    assert!(server.requests()[1].contains("?token=secret"), "the whole link was kept");
    assert!(downloads.resume_records().is_empty(), "and is gone when the transfer has ended");
}

#[tokio::test]
async fn a_download_goes_on_in_another_folder_with_what_has_arrived() {
    let file = content(200_000);
    let body = file.clone();
    let server = BadServer::start(move |head, number| {
        let mut bytes = good_answer(head, &body, ETAG);
        if number == 0 {
            bytes.truncate(bytes.len() - 50_000);
            return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
        }
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin")).await;
    downloads.until(id, |row| row.bytes >= 150_000).await;
    let other = downloads.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("a.bin"), "was here").unwrap();
    downloads.engine().move_download(id, &other).await.unwrap();
    let row = downloads.ended(id).await;
    assert_eq!(row.state, State::Completed);
    assert!(std::fs::read(other.join("a (1).bin")).unwrap() == file);
    assert_eq!(range_start(&server.requests()[1]), Some(150_000));
    downloads.nothing_else_than(&["other"]);
}

/// A kill between any two steps of that: the part file is where it was, half copied, in both places, or there already.
#[tokio::test]
async fn d16_a_part_file_that_was_cut_off_on_its_way_to_another_folder_gets_there() {
    type Where = fn(&std::path::Path, &std::path::Path);
    let places: [(&str, Where); 4] = [
        ("where it was", |_, _| {}),
        ("half copied", |old, new| std::fs::write(new, &std::fs::read(old).unwrap()[..70_000]).unwrap()),
        ("in both places", |old, new| std::fs::hard_link(old, new).unwrap()),
        ("there already", |old, new| std::fs::rename(old, new).unwrap()),
    ];
    for (what, put) in places {
        let file = content(200_000);
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number == 0 {
                bytes.truncate(bytes.len() - 50_000);
                return vec![Step::Send(bytes), Step::Wait(Duration::from_secs(20))];
            }
            vec![Step::Send(bytes)]
        });
        let downloads = Downloads::new().await;
        let id = downloads.add(&server.url("/a.bin")).await;
        downloads.until(id, |row| row.bytes >= 150_000).await;
        downloads.engine().pause(&[id]).await.unwrap();
        let downloads = downloads
            .restart(move |folder| {
                let other = folder.join("other");
                std::fs::create_dir(&other).unwrap();
                put(&folder.join("a.bin.ferrypart"), &other.join("b.bin.ferrypart"));
                let list =
                    rusqlite::Connection::open(folder.parent().unwrap().join("data/ferry.db")).unwrap();
                list.execute(
                    "UPDATE transfers SET task = json_set(task, '$.download.folder', ?1),
                     journal = json_set(journal, '$.name', 'b.bin', '$.moved_from', json_array(?2, 'a.bin'))",
                    [&*other.to_string_lossy(), &*folder.to_string_lossy()],
                )
                .unwrap();
            })
            .await;
        downloads.engine().resume(&[id]).await.unwrap();
        assert_eq!(downloads.ended(id).await.state, State::Completed, "{what}");
        assert!(downloads.saved("other/b.bin") == file, "{what}");
        assert_eq!(range_start(&server.requests()[1]), Some(150_000), "{what}: nothing was fetched twice");
        downloads.nothing_else_than(&["other"]);
        let other = std::fs::read_dir(downloads.folder().join("other")).unwrap().count();
        assert_eq!(other, 1, "{what}");
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

// ---- W1: whatever is answered, one whole version or a plain end ----

/// A head's value of one header, by its name in lower case.
fn sent(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first answer is cut in the middle; the others are what `answer` makes of the offset that is asked for.
fn cut_then(
    file: &[u8],
    headers: &'static [(&'static str, &'static str)],
    answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static,
) -> BadServer {
    let file = file.to_vec();
    BadServer::start(move |head, number| {
        if number > 0 {
            return vec![Step::Send(answer(head, number))];
        }
        let length = file.len().to_string();
        let all = [&[("Content-Length", length.as_str())][..], headers].concat();
        let mut bytes = response("200 OK", &all, &file);
        bytes.truncate(bytes.len() - file.len() / 2);
        vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close]
    })
}

#[tokio::test]
async fn w1_a_resume_that_is_not_ready_is_asked_again_and_nothing_of_its_answer_is_written() {
    let file = content(200_000);
    let body = file.clone();
    let server =
        cut_then(&file, &[("ETag", ETAG), ("Accept-Ranges", "bytes")], move |head, number| match number {
            1 => response(
                "202 Accepted",
                &[("Content-Type", "application/json"), ("Content-Length", "18"), ("Retry-After", "0")],
                br#"{"state":"making"}"#,
            ),
            _ => good_answer(head, &body, ETAG),
        });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("film.mp4") == file);
    assert!(server.requests()[2].contains("bytes="), "what was here was kept");
}

#[tokio::test]
async fn w1_what_is_never_ready_ends_as_not_ready_and_no_content_is_no_file() {
    for (status, expected) in [("202 Accepted", Code::NotReady), ("204 No Content", Code::BadResponse)] {
        let server = BadServer::start(move |_, _| {
            vec![Step::Send(response(status, &[("Content-Length", "0"), ("Retry-After", "0")], b""))]
        });
        let downloads = Downloads::with(|overrides| overrides.stuck = Some(Duration::from_secs(1))).await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!(code(&row), Some(expected), "{status}");
        downloads.nothing_else_than(&[]);
    }
}

#[tokio::test]
async fn w1_what_is_not_shown_to_be_the_same_is_not_joined() {
    let (file, other) = (content(200_000), content(200_001)[1..].to_vec());
    for shows in [None, Some("\"v2\""), Some("W/\"v1\"")] {
        let new = other.clone();
        let server = cut_then(&file, &[("ETag", ETAG), ("Accept-Ranges", "bytes")], move |head, _| {
            // If-Range is ignored.
            let Some(start) = range_start(head) else { return good_answer(head, &new, "\"v2\"") };
            let range = format!("bytes {start}-{}/{}", new.len() - 1, new.len());
            let length = (new.len() - start).to_string();
            let mut headers = vec![("Content-Length", length.as_str()), ("Content-Range", &range)];
            headers.extend(shows.map(|tag| ("ETag", tag)));
            response("206 Partial Content", &headers, &new[start..])
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!(row.state, State::Completed, "{shows:?}");
        assert!(downloads.saved("film.mp4") == other, "{shows:?}: one version");
        assert!(row.note.is_some(), "{shows:?}: said");
    }
}

#[tokio::test]
async fn w1_what_the_first_answer_promised_decides_after_a_cut() {
    let file = content(200_000);
    let body = file.clone();
    let server = cut_then(
        &file,
        &[("ETag", ETAG), ("Accept-Ranges", "bytes"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")],
        move |head, _| match range_start(head) {
            Some(_) => good_answer(head, &body, ETAG),
            None => response("404 Not Found", &[("Content-Length", "0")], b""),
        },
    );
    let downloads = Downloads::with(|overrides| overrides.retries = Some(2)).await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert!(matches!(row.state, State::Failed(_)), "{:?}", row.state);
    assert!(downloads.files().is_empty(), "{:?}", downloads.files());
    let history = downloads.engine().timeline(row.id).await.unwrap();
    assert!(
        history.iter().any(|line| line.text.to_string().contains("checksum differed")),
        "the MD5 of the first answer was compared: {history:?}"
    );
}

#[tokio::test]
async fn w1_a_transfer_coding_beats_a_length() {
    let server = BadServer::start(|_, _| {
        let headers = [("Content-Length", "3"), ("Transfer-Encoding", "chunked")];
        vec![Step::Send(response("200 OK", &headers, b"a\r\nabcdefghij\r\n0\r\n\r\n"))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(downloads.saved("a.bin"), b"abcdefghij");
}

#[tokio::test]
async fn w1_two_versions_that_alternate_are_never_mixed() {
    let versions = [content(150_000), content(150_001)[1..].to_vec()];
    let served = versions.clone();
    let server = BadServer::start(move |head, number| {
        let tag = format!("\"v{}\"", number % 2);
        let file = &served[number % 2];
        let honours = sent(head, "if-range").is_none_or(|wanted| wanted == tag);
        let head = if honours { head } else { "" };
        let mut bytes = good_answer(head, file, &tag);
        if number < 3 {
            bytes.truncate(bytes.len() - 40_000);
        }
        vec![Step::Send(bytes), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    if row.state == State::Completed {
        assert!(versions.contains(&downloads.saved("a.bin")));
    } else {
        assert_eq!(code(&row), Some(Code::ChangedAtSource));
    }
}

#[tokio::test]
async fn w1_a_server_that_does_not_understand_if_range_is_asked_without_it() {
    let file = content(200_000);
    for answer in ["200 OK", "304 Not Modified", "412 Precondition Failed"] {
        let body = file.clone();
        let server = cut_then(&file, &[("ETag", ETAG), ("Accept-Ranges", "bytes")], move |head, _| {
            match (sent(head, "if-range"), answer) {
                (None, _) => good_answer(head, &body, ETAG),
                (Some(_), "200 OK") => good_answer("", &body, ETAG),
                (Some(_), status) => response(status, &[("Content-Length", "0"), ("ETag", ETAG)], b""),
            }
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!(row.state, State::Completed, "{answer}");
        assert!(downloads.saved("film.mp4") == file, "{answer}");
        let last = server.requests().pop().unwrap();
        assert!(range_start(&last).is_some_and(|start| start > 0), "{answer}: only the rest: {last}");
        assert!(row.note.is_none(), "{answer}: nothing was given up: {:?}", row.note);
    }
}

#[tokio::test]
async fn w1_honest_answers_that_are_shorter_than_asked_are_no_cuts() {
    let file = content(260_000);
    let body = file.clone();
    let server = cut_then(&file, &[("ETag", ETAG), ("Accept-Ranges", "bytes")], move |head, _| {
        let start = range_start(head).unwrap_or(0);
        let end = body.len().min(start + 5_000);
        let range = format!("bytes {start}-{}/{}", end - 1, body.len());
        let length = (end - start).to_string();
        let headers = [("Content-Length", length.as_str()), ("Content-Range", &range), ("ETag", ETAG)];
        response("206 Partial Content", &headers, &body[start..end])
    });
    // Not one failed attempt is allowed beyond the cut.
    let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("film.mp4") == file);
    assert!(server.requests().len() > 20);
}

/// Of a file whose size nobody names each part ends where its head said; what comes behind the last one is a 416.
#[tokio::test]
async fn w1_honest_parts_of_a_file_of_unknown_size_are_no_cuts_and_its_last_byte_ends_it() {
    let file = content(260_000);
    for (in_chunks, unsatisfied) in
        [(false, Some("bytes */*")), (true, None), (false, Some("bytes */260000")), (true, Some("bytes */x"))]
    {
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
            let Some(start) = range_start(head) else {
                let headers = [("Transfer-Encoding", "chunked"), ("ETag", ETAG), ("Accept-Ranges", "bytes")];
                let begun = response("200 OK", &headers, &chunk(&body[..10_000]));
                assert_eq!(number, 0, "the whole is asked for once");
                return vec![Step::Send(begun), Step::Wait(Duration::from_millis(50)), Step::Close];
            };
            if start >= body.len() {
                let mut headers = vec![("Content-Length", "0"), ("ETag", ETAG)];
                headers.extend(unsatisfied.map(|range| ("Content-Range", range)));
                return vec![Step::Send(response("416 Range Not Satisfiable", &headers, b""))];
            }
            let end = body.len().min(start + 25_000);
            let range = format!("bytes {start}-{}/*", end - 1);
            let length = (end - start).to_string();
            let mut headers = vec![("Content-Range", range.as_str()), ("ETag", ETAG)];
            headers.push(if in_chunks {
                ("Transfer-Encoding", "chunked")
            } else {
                ("Content-Length", &length)
            });
            let bytes = if in_chunks {
                [chunk(&body[start..end]), b"0\r\n\r\n".to_vec()].concat()
            } else {
                body[start..end].to_vec()
            };
            vec![Step::Send(response("206 Partial Content", &headers, &bytes))]
        });
        // Not one failed attempt is allowed beyond the cut.
        let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        let what = format!("{in_chunks} {unsatisfied:?}");
        assert_eq!((&row.state, &row.note), (&State::Completed, &None), "{what}");
        assert_eq!(row.verified, Some(Verified::Length), "{what}");
        assert!(downloads.saved("film.mp4") == file, "{what}: other bytes");
        let requests = server.requests();
        assert!((12..=14).contains(&requests.len()), "{what}: {} requests", requests.len());
    }
}

#[tokio::test]
async fn w1_a_body_is_refused_for_a_coding_only_if_it_changes_the_bytes() {
    let gzip = b"\x1f\x8b\x08\x00 not really packed, and nobody unpacks it".to_vec();
    for (path, kind, encoding, is_saved) in [
        ("/a.tar.gz", "application/x-tar", "x-gzip", true),
        ("/drawing.svgz", "image/svg+xml", "gzip", true),
        ("/film.mp4", "video/mp4", "aws-chunked", true),
        ("/film.mp4", "video/mp4", "", true),
        ("/film.mp4", "video/mp4", "gzip", false),
        ("/film.mp4", "video/mp4", "aws-chunked, br", false),
    ] {
        let body = gzip.clone();
        let server = BadServer::start(move |_, _| {
            let length = body.len().to_string();
            let headers =
                [("Content-Length", length.as_str()), ("Content-Type", kind), ("Content-Encoding", encoding)];
            vec![Step::Send(response("200 OK", &headers, &body))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url(path)).await;
        if is_saved {
            assert_eq!(row.state, State::Completed, "{path} {encoding:?}");
            assert_eq!(downloads.saved(&path[1..]), gzip, "{path} {encoding:?}");
        } else {
            assert_eq!(code(&row), Some(Code::BadResponse), "{path} {encoding:?}");
            downloads.nothing_else_than(&[]);
        }
    }
}

#[tokio::test]
async fn w1_the_hash_of_what_was_unpacked_on_its_way_is_left_out_and_that_is_said() {
    let server = BadServer::start(|_, _| {
        let headers = [
            ("Content-Length", "5"),
            ("x-goog-stored-content-encoding", "gzip"),
            ("x-goog-hash", "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg=="),
        ];
        vec![Step::Send(response("200 OK", &headers, b"hello"))]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)));
    let history = downloads.engine().timeline(row.id).await.unwrap();
    assert!(
        history.iter().any(|line| line.text.to_string().contains("checksums do not apply")),
        "{history:?}"
    );
}

// ---- W3: the file, as wget or a browser brings it ----

#[tokio::test]
async fn w3_the_mirror_that_the_bytes_are_from_is_asked_for_the_rest_and_another_one_begins_anew() {
    let file = content(200_000);
    for the_first_goes_away in [false, true] {
        let mirror = |tag: &'static str, cuts: bool, goes_away: bool| {
            let body = file.clone();
            BadServer::start(move |head, number| {
                if goes_away && number > 0 {
                    return vec![Step::Send(response("404 Not Found", &[("Content-Length", "0")], b""))];
                }
                let mut bytes = good_answer(head, &body, tag);
                if cuts && number < 3 {
                    let keep = bytes.len() - (body.len() - range_start(head).unwrap_or(0)) + 30_000;
                    bytes.truncate(keep);
                }
                vec![Step::Send(bytes), Step::Wait(Duration::from_millis(20)), Step::Close]
            })
        };
        let mirrors = [mirror("\"one\"", true, the_first_goes_away), mirror("\"two\"", false, false)];
        let places: Vec<String> = mirrors.iter().map(|mirror| mirror.url("/film.mp4")).collect();
        let redirector = BadServer::start(move |_, number| {
            let headers = [("Location", places[number.min(1)].as_str()), ("Content-Length", "0")];
            vec![Step::Send(response("302 Found", &headers, b""))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&redirector.url("/film.mp4")).await;
        assert_eq!(row.state, State::Completed);
        assert!(downloads.saved("film.mp4") == file);
        downloads.nothing_else_than(&["film.mp4"]);
        let asked = redirector.requests().len();
        if the_first_goes_away {
            assert!(asked >= 2 && !mirrors[1].requests().is_empty());
        } else {
            assert_eq!((asked, mirrors[1].requests().len()), (1, 0), "the first one is asked for the rest");
        }
    }
}

#[tokio::test]
async fn w3_a_site_gets_the_cookie_back_that_it_wants_and_says_so_otherwise() {
    let server = BadServer::start(|head, _| {
        let has = sent(head, "cookie").is_some_and(|cookie| cookie.contains("pass=1"));
        vec![Step::Send(if has && head.starts_with("GET /a.bin") {
            response("200 OK", &[("Content-Length", "5")], b"hello")
        } else {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let headers =
                [("Location", path.as_str()), ("Set-Cookie", "pass=1; Path=/"), ("Content-Length", "0")];
            response("302 Found", &headers, b"")
        })]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!(row.state, State::Completed);
    assert_eq!(server.requests().len(), 2);
    let row = downloads.run(&server.url("/never.bin")).await;
    let State::Failed(failure) = row.state else { panic!("{:?}", row.state) };
    assert!(failure.what.to_string().contains("cookies"), "{}", failure.what);
}

/// The user's own cookies and those that the site sets go together, in one header; of the same name the site's is newer.
#[tokio::test]
async fn w3_a_cookie_of_ones_own_does_not_keep_the_sites_cookies_from_it() {
    let server = BadServer::start(|head, _| {
        let cookies = sent(head, "cookie").unwrap_or_default();
        vec![Step::Send(if cookies.contains("pass=1") && cookies.contains("login=abc") {
            response("200 OK", &[("Content-Length", "5")], b"hello")
        } else {
            let headers = [
                ("Location", "/a.bin"),
                ("Set-Cookie", "pass=1; Path=/"),
                ("Set-Cookie", "theme=dark; Path=/"),
                ("Content-Length", "0"),
            ];
            response("302 Found", &headers, b"")
        })]
    });
    let downloads = Downloads::new().await;
    let header = |value: &str| Header { name: "Cookie".into(), value: value.into() };
    let request = DownloadRequest {
        what: server.url("/a.bin"),
        folder: Some(downloads.folder()),
        headers: vec![header("login=abc; theme=light;"), header("Theme=odd")],
        ..DownloadRequest::default()
    };
    let id = downloads.engine().download(request).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let last = &requests[1];
    assert_eq!(last.to_ascii_lowercase().matches("\r\ncookie:").count(), 1, "{last}");
    let mut pairs: Vec<String> =
        sent(last, "cookie").unwrap().split(';').map(|pair| pair.trim().to_owned()).collect();
    pairs.sort();
    assert_eq!(pairs, ["Theme=odd", "login=abc", "pass=1", "theme=dark"]);
}

#[tokio::test]
async fn w3_heads_that_are_not_quite_valid_are_read_and_two_lengths_are_not() {
    for (head, is_read) in [
        ("HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nServer : odd\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nthis is no header\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\n", false),
    ] {
        let server = BadServer::start(move |_, _| vec![Step::Send([head.as_bytes(), b"hello"].concat())]);
        let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
        let row = downloads.run(&server.url("/a.bin")).await;
        if is_read {
            assert_eq!(row.state, State::Completed, "{head}");
            assert_eq!(downloads.saved("a.bin"), b"hello", "{head}");
        } else {
            assert_eq!(code(&row), Some(Code::BadResponse), "{head}");
        }
    }
}

#[tokio::test]
async fn w3_a_location_of_raw_bytes_is_followed_and_a_name_of_a_hop_is_taken() {
    let server = BadServer::start(|head, _| {
        let mut answer =
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /caf\xe9 au lait\r\n\r\n".to_vec();
        if head.starts_with("GET /caf%E9%20au%20lait ") {
            answer = response("302 Found", &[("Location", "/blob"), ("Content-Length", "0")], b"");
        } else if head.starts_with("GET /blob ") {
            answer = response("200 OK", &[("Content-Length", "5")], b"hello");
        }
        vec![Step::Send(answer)]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/get/report.pdf")).await;
    assert_eq!(row.state, State::Completed, "{:?}", server.requests());
    assert!(downloads.files()[0].starts_with("report"), "{:?}", downloads.files());
}

#[tokio::test]
async fn w3_a_slow_first_byte_is_waited_for_longer_than_a_stall_and_the_row_says_so() {
    let answer = Signal::default();
    let hold = answer.clone();
    let server = BadServer::start(move |_, _| {
        vec![Step::Until(hold.clone()), Step::Send(response("200 OK", &[("Content-Length", "5")], b"hello"))]
    });
    let downloads = Downloads::with(|overrides| {
        overrides.stall = Some(Duration::from_secs(1));
        overrides.retries = Some(0);
    })
    .await;
    let id = downloads.add(&server.url("/a.bin")).await;
    let row = downloads.until(id, |row| row.wait.is_some() || row.state.has_ended()).await;
    assert!(row.wait.is_some_and(|wait| wait.message().contains("getting the file ready")));
    answer.give();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn w3_the_users_own_headers_go_along_and_never_to_another_origin() {
    let elsewhere =
        BadServer::start(|_, _| vec![Step::Send(response("200 OK", &[("Content-Length", "5")], b"hello"))]);
    let to = elsewhere.url("/a.bin");
    let server = BadServer::start(move |_, _| {
        vec![Step::Send(response("302 Found", &[("Location", &to), ("Content-Length", "0")], b""))]
    });
    let downloads = Downloads::new().await;
    let request = DownloadRequest {
        what: server.url("/a.bin"),
        folder: Some(downloads.folder()),
        headers: vec![Header { name: "X-Pass".into(), value: "MARKED".into() }],
        ..DownloadRequest::default()
    };
    let id = downloads.engine().download(request).await.unwrap();
    assert_eq!(downloads.ended(id).await.state, State::Completed);
    assert_eq!(sent(&server.requests()[0], "x-pass").as_deref(), Some("MARKED"));
    assert_eq!(sent(&elsewhere.requests()[0], "x-pass"), None);
}

#[tokio::test]
async fn w3_a_server_that_takes_so_many_at_a_time_is_asked_by_no_more_and_nothing_fails() {
    for refusal in ["503 Too Many Connections", "403 Forbidden", "509 Bandwidth Limit Exceeded"] {
        takes_one_at_a_time(refusal).await;
    }
}

async fn takes_one_at_a_time(refusal: &'static str) {
    let serving = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&serving);
    let server = BadServer::start(move |_, _| {
        use std::sync::atomic::Ordering;
        if count.fetch_add(1, Ordering::SeqCst) >= 1 {
            count.fetch_sub(1, Ordering::SeqCst);
            return vec![Step::Send(response(refusal, &[("Content-Length", "0")], b""))];
        }
        let count = std::sync::Arc::clone(&count);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            count.fetch_sub(1, Ordering::SeqCst);
        });
        let mut answer = response("200 OK", &[("Content-Length", "300000")], &vec![0; 200_000]);
        let rest = answer.split_off(answer.len() - 1);
        vec![
            Step::Send(answer),
            Step::Wait(Duration::from_millis(300)),
            Step::Send([rest, vec![0; 100_000]].concat()),
        ]
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(downloads.add(&server.url(&format!("/{number}.bin"))).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for id in ids {
        assert_eq!(downloads.ended(id).await.state, State::Completed, "{refusal}");
    }
}

#[tokio::test]
async fn w1_a_size_that_was_promised_holds_for_an_answer_that_begins_anew_without_one() {
    let file = content(200_000);
    for tag in [Some(ETAG), None] {
        let body = file.clone();
        let server = BadServer::start(move |head, number| {
            let mut bytes = good_answer(head, &body, ETAG);
            if number == 0 {
                bytes.truncate(bytes.len() - 50_000);
            } else {
                // Ranges are ignored, nobody says how long it is, and it is cut.
                let tag: Vec<_> = tag.iter().map(|tag| ("ETag", *tag)).collect();
                bytes = response("200 OK", &tag, &body[..100_000]);
            }
            vec![Step::Send(bytes), Step::Wait(Duration::from_millis(20)), Step::Close]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!(code(&row), Some(Code::Incomplete), "{tag:?}: {:?}", row.state);
        assert!(downloads.files().is_empty(), "{tag:?}: {:?}", downloads.names());
    }
}

#[tokio::test]
async fn w1_a_checksum_that_was_promised_holds_for_the_same_version_fetched_anew() {
    let file = content(200_000);
    let (body, other) = (file.clone(), content(200_001)[1..].to_vec());
    // The checksum of something else: no bytes of this version are as it says.
    let promise = [("ETag", ETAG), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), ("Content-Length", "200000")];
    for cuts in [true, false] {
        let (body, other) = (body.clone(), other.clone());
        let server = BadServer::start(move |_, number| {
            let mut bytes = match number {
                0 => response("200 OK", &promise, &body),
                _ => good_answer("", &other, ETAG),
            };
            if number == 0 && cuts {
                bytes.truncate(bytes.len() - 50_000);
            }
            vec![Step::Send(bytes), Step::Wait(Duration::from_millis(20)), Step::Close]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(2)).await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!(code(&row), Some(Code::IntegrityMismatch), "cut: {cuts}: {:?}", row.state);
        assert!(downloads.files().is_empty(), "{:?}", downloads.names());
    }
}

#[tokio::test]
async fn w1_damage_is_fetched_again_whatever_went_wrong_before() {
    let server = BadServer::start(|_, number| {
        let headers = [("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), ("Content-Length", "5"), ("ETag", ETAG)];
        let bytes = match number {
            0 => response("503 Service Unavailable", &[("Content-Length", "0"), ("Retry-After", "0")], b""),
            1 => response("200 OK", &headers, b"hellO"),
            _ => response("200 OK", &headers, b"hello"),
        };
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.txt")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Md5)));
}

#[tokio::test]
async fn w1_a_message_never_takes_the_place_of_the_file_that_was_begun() {
    const EXPIRED: &[u8] = br#"{"error":"session expired"}"#;
    const TOO_MANY: &[u8] = b"Error: too many downloads from your address, try later";
    const PAGE: &[u8] = b"<!DOCTYPE html><html><body>Too many</body></html>";
    let file = content(200_000);
    for (status, kind, message) in [
        ("200 OK", "application/json", EXPIRED),
        ("201 Created", "application/json", EXPIRED),
        ("203 Non-Authoritative Information", "application/json", EXPIRED),
        ("299 Whatever", "application/json; charset=utf-8", EXPIRED),
        ("200 OK", "text/plain", TOO_MANY),
        ("200 OK", "application/octet-stream", PAGE),
        ("200 OK", "application/octet-stream", TOO_MANY),
        ("200 OK", "application/xml", b"<?xml version=\"1.0\"?><Error><Code>Busy</Code></Error>"),
        ("200 OK", "application/zip", b""),
    ] {
        for name in ["film.zip", "fetch"] {
            let (body, signal) = (file.clone(), Signal::default());
            let is_well = signal.clone();
            let server = cut_then(&file, &[("ETag", ETAG), ("Accept-Ranges", "bytes")], move |head, _| {
                let length = message.len().to_string();
                if is_well.is_given() {
                    good_answer(head, &body, ETAG)
                } else {
                    response(status, &[("Content-Type", kind), ("Content-Length", &length)], message)
                }
            });
            let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
            let id = downloads.add(&server.url(&format!("/{name}"))).await;
            let row = downloads.ended(id).await;
            assert!(matches!(row.state, State::Failed(_)), "{status} {kind} {name}: {:?}", row.state);
            downloads.nothing_else_than(&[&format!("{}.ferrypart", row.name)]);
            signal.give();
            downloads.engine().retry(&[id]).await.unwrap();
            assert_eq!(downloads.ended(id).await.state, State::Completed, "{status} {kind} {name}");
            assert!(downloads.saved(&row.name) == file, "{status} {kind} {name}: what was here was kept");
            let last = server.requests().pop().unwrap();
            assert!(range_start(&last).is_some_and(|start| start > 0), "{status} {kind} {name}: {last}");
        }
    }
}

#[tokio::test]
async fn w1_a_message_is_never_saved_as_the_archive_that_was_meant() {
    const PAGE: &[u8] = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    for (kind, message) in [
        ("application/json", &br#"{"error":"session expired"}"#[..]),
        ("application/xml", b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
        ("text/html", b""),
        ("text/html", b"Fatal error: Uncaught PDOException in dl.php:12"),
        ("application/octet-stream", PAGE),
        ("application/zip", PAGE),
        ("text/plain", PAGE),
    ] {
        let server = BadServer::start(move |_, _| page(Some(kind), message));
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/film.zip")).await;
        assert_eq!(code(&row), Some(Code::BadResponse), "{kind}: {:?}", row.state);
        downloads.nothing_else_than(&[]);
    }
}

/// Whatever it calls itself: the type that scripts give to every file, that of the file that was meant, or none.
#[tokio::test]
async fn w1_a_message_of_any_type_is_never_taken_for_the_film_that_was_meant() {
    const WORDS: &[u8] = b"Your download begins in a short while by itself\n";
    const PAGE: &[u8] = b"<!doctype html><html><head><title>Sign in</title></head></html>";
    let attached = "attachment; filename=\"film.zip\"";
    let types =
        [None, Some("text/plain; charset=utf-8"), Some("application/octet-stream"), Some("video/mp4")];
    let answer = |kind: Option<&'static str>, disposition: Option<&'static str>, body: &'static [u8]| {
        BadServer::start(move |_, _| {
            let length = body.len().to_string();
            let mut headers = vec![("Content-Length", length.as_str())];
            headers.extend(kind.map(|kind| ("Content-Type", kind)));
            headers.extend(disposition.map(|disposition| ("Content-Disposition", disposition)));
            vec![Step::Send(response("200 OK", &headers, body))]
        })
    };
    let refused = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    for kind in types {
        for disposition in [None, Some(attached)] {
            for message in [
                PAGE,
                b"<!-- portal --><html><body>Please sign in</body></html>",
                b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>",
                b"\xef\xbb\xbf<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
                br#"{"error":"quota exceeded"}"#,
                br#"{"code":403,"msg":"no more downloads today"}"#,
                br#"{"success":false}"#,
                b"Error: too many downloads from your address",
                b"Download limit exceeded. Try again in 24 hours.\n",
            ] {
                let server = answer(kind, disposition, message);
                for asked in ["/film.zip", "/get.php?id=7"] {
                    if asked != "/film.zip" && disposition.is_none() {
                        continue;
                    }
                    let row = refused.run(&server.url(asked)).await;
                    let what = String::from_utf8_lossy(message);
                    assert!(
                        matches!(code(&row), Some(Code::BadResponse | Code::ServiceError)),
                        "{asked} {kind:?} {disposition:?} {what}: {:?}",
                        row.state
                    );
                    refused.nothing_else_than(&[]);
                }
            }
            // Words that say neither yes nor no: they are there, and nothing calls them the film.
            let server = answer(kind, disposition, WORDS);
            let downloads = Downloads::new().await;
            let row = downloads.run(&server.url("/film.zip")).await;
            assert_eq!(
                (&row.state, row.verified),
                (&State::Completed, Some(Verified::None)),
                "{kind:?} {disposition:?}"
            );
            assert!(row.note.is_some_and(|note| note.to_string().contains("short text")), "{kind:?}");
            assert_eq!(downloads.saved("film.zip"), WORDS);
        }
    }
    // Nor is it after a stop, when nobody remembers the head that it came with.
    let server = BadServer::start(|_, number| {
        let headers = [("Content-Length", "48"), ("ETag", ETAG), ("Accept-Ranges", "bytes")];
        let mut bytes = response("200 OK", &headers, WORDS);
        bytes.truncate(bytes.len() - if number == 0 { 20 } else { 0 });
        vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)));
}

#[tokio::test]
async fn w1_a_small_text_under_a_name_of_a_text_is_a_proven_file() {
    let texts: [(&str, &[u8]); 23] = [
        ("a.pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nError: nobody there\n"),
        ("a.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-ENDLIST\n"),
        ("a.pls", b"[playlist]\nFile1=http://example.org/a.mp3\n"),
        ("a.asx", b"<asx version=\"3.0\"><entry/></asx>"),
        ("a.sub", b"{1}{2}Hello"),
        ("a.zip.sha256", b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a.zip\n"),
        ("a.mp4.md5", b"d41d8cd98f00b204e9800998ecf8427e  a.mp4\n"),
        ("a.nfo", b"A film"),
        ("a.log", b"Error: it failed\n"),
        ("a.csv", b"error,count\nno,1\n"),
        ("a.json", br#"{"error":"quota exceeded"}"#),
        ("a.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("a.ts", b"export const error = 1;\n"),
        ("go.mod", b"module example.org/a\n"),
        ("a.ppm", b"P3 1 1 255 0 0 0\n"),
        ("a.hdr", b"ENVI\nsamples = 1\n"),
        ("a.fbs", b"table A { id: int; }\n"),
        ("a.bin", b"hello"),
        ("a.qqq", b"Error: what is this?\n"),
        ("README", b"Error handling\n"),
        ("a.xml", b"<Error><Code>is an example</Code></Error>"),
    ];
    let downloads = Downloads::new().await;
    for (name, text) in texts {
        for kind in [None, Some("application/octet-stream"), Some("text/plain")] {
            let server = BadServer::start(move |_, _| page(kind, text));
            let row = downloads.run(&server.url(&format!("/{name}"))).await;
            assert_eq!(
                (&row.state, row.verified, &row.note),
                (&State::Completed, Some(Verified::Length), &None),
                "{name} {kind:?}"
            );
            assert_eq!(std::fs::read(row.path.unwrap()).unwrap(), text, "{name} {kind:?}");
        }
    }
    // What the server's own checksum speaks for is the file, whatever it looks like.
    let server = BadServer::start(|_, _| {
        let headers = [("Content-Length", "5"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")];
        vec![Step::Send(response("200 OK", &headers, b"hello"))]
    });
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!((row.verified, row.note), (Some(Verified::Md5), None));
}

#[tokio::test]
async fn w1_a_report_in_json_is_a_file() {
    for report in [
        r#"{"success": true, "items": [1,2,3]}"#,
        r#"{"code": 0, "msg": "ok", "data": [1]}"#,
        r#"{"failed": 0, "passed": 12}"#,
        r#"{"failed": ["a","b"], "passed": ["c"]}"#,
        r#"{"success": 97.5, "total": 1000}"#,
        r#"{"success": false, "failed": true}"#,
        r#"{"code": "de", "msg": "Sprache"}"#,
    ] {
        let server = BadServer::start(move |_, _| page(Some("application/json"), report.as_bytes()));
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/report.json")).await;
        assert_eq!(row.state, State::Completed, "{report}");
        assert_eq!(downloads.saved("report.json"), report.as_bytes());
    }
}

#[tokio::test]
async fn w1_a_part_of_which_nobody_says_where_it_belongs_is_refused_soon_and_in_true_words() {
    let multipart = "multipart/byteranges; boundary=x";
    for headers in [vec![], vec![("Content-Type", multipart)]] {
        let server = BadServer::start(move |_, _| {
            let all = [&[("Content-Length", "5"), ("ETag", ETAG)][..], &headers].concat();
            vec![Step::Send(response("206 Partial Content", &all, b"hello"))]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!(code(&row), Some(Code::BadResponse), "{:?}", row.state);
        assert_eq!(server.requests().len(), 2);
        downloads.nothing_else_than(&[]);
    }
}

#[tokio::test]
async fn w1_a_body_that_an_answer_must_not_have_is_not_read_as_the_next_answer() {
    let file = content(200_000);
    for status in ["304 Not Modified", "204 No Content"] {
        let body = file.clone();
        let server =
            cut_then(
                &file,
                &[("ETag", ETAG), ("Accept-Ranges", "bytes")],
                move |head, number| match number {
                    1 => response(status, &[("Content-Length", "20")], b"<html>not here</html>"),
                    _ => good_answer(head, &body, ETAG),
                },
            );
        let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        assert_eq!(row.state, State::Completed, "{status}");
        assert!(downloads.saved("film.mp4") == file, "{status}");
    }
}

#[tokio::test]
async fn w3_a_mirror_that_stays_bad_is_given_up_and_the_address_itself_asked_for_the_rest() {
    let file = content(200_000);
    let head = |status: &str| response(status, &[("Content-Length", "0")], b"");
    let typed = |kind: &str, body: &[u8]| {
        let length = body.len().to_string();
        response("200 OK", &[("Content-Type", kind), ("Content-Length", &length)], body)
    };
    for bad in [
        typed("text/html", SIGN_IN),
        typed("application/json", br#"{"error":"link expired"}"#),
        head("400 Bad Request"),
        head("401 Unauthorized"),
        head("403 Forbidden"),
        head("451 Unavailable For Legal Reasons"),
        head("502 Bad Gateway"),
        head("503 Service Unavailable"),
        response("302 Found", &[("Location", "/login"), ("Content-Length", "0")], b""),
        b"\x00\x01 no HTTP at all\r\n\r\n".to_vec(),
        Vec::new(),
    ] {
        let what = String::from_utf8_lossy(&bad[..bad.len().min(40)]).into_owned();
        let (body, again) = (file.clone(), bad.clone());
        let first = BadServer::start(move |head, number| {
            if number > 0 {
                return vec![Step::Send(again.clone()), Step::Close];
            }
            let mut bytes = good_answer(head, &body, ETAG);
            bytes.truncate(bytes.len() - 50_000);
            vec![Step::Send(bytes), Step::Wait(Duration::from_millis(20)), Step::Close]
        });
        let body = file.clone();
        let second = BadServer::start(move |head, _| vec![Step::Send(good_answer(head, &body, ETAG))]);
        let places = [first.url("/film.mp4"), second.url("/film.mp4")];
        let redirector = BadServer::start(move |_, number| {
            let headers = [("Location", places[number.min(1)].as_str()), ("Content-Length", "0")];
            vec![Step::Send(response("302 Found", &headers, b""))]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(3)).await;
        let row = downloads.run(&redirector.url("/film.mp4")).await;
        assert_eq!(row.state, State::Completed, "{what}");
        assert!(downloads.saved("film.mp4") == file, "{what}");
        let asked = second.requests();
        assert!(range_start(&asked[0]).is_some_and(|start| start > 0), "{what}: the part was kept");
        downloads.nothing_else_than(&["film.mp4"]);
    }
}

#[tokio::test]
async fn w3_a_host_that_shuts_its_door_for_a_second_connection_is_asked_again_later() {
    let file = content(6 << 20);
    let began = std::time::Instant::now();
    let shut_until = std::sync::Arc::new(std::sync::Mutex::new(None::<Duration>));
    let body = file.clone();
    let server = BadServer::start(move |head, number| {
        let mut shut = shut_until.lock().unwrap();
        if number == 1 {
            *shut = Some(began.elapsed() + Duration::from_secs(2));
        }
        if shut.is_some_and(|until| began.elapsed() < until) {
            return vec![Step::Send(response("403 Forbidden", &[("Content-Length", "0")], b""))];
        }
        let bytes = response(
            "200 OK",
            &[("Content-Length", &body.len().to_string()), ("ETag", ETAG), ("Accept-Ranges", "bytes")],
            &body,
        );
        if number > 0 {
            return vec![Step::Send(good_answer(head, &body, ETAG))];
        }
        // Slow enough for a second connection to be tried; then it is closed as well.
        let mut steps: Vec<Step> = bytes[..bytes.len() / 2]
            .chunks(64 << 10)
            .flat_map(|chunk| [Step::Send(chunk.to_vec()), Step::Wait(Duration::from_millis(25))])
            .collect();
        steps.push(Step::Close);
        steps
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("film.mp4") == file);
    assert!(server.requests().len() > 2, "a second connection was tried");
}

#[tokio::test]
async fn w3_further_connections_that_are_taken_and_not_served_are_given_up() {
    let file = content(8 << 20);
    let began = std::time::Instant::now();
    let body = file.clone();
    let server = BadServer::start(move |head, number| {
        let answer = good_answer(head, &body, ETAG);
        // For as long as the first one is being served, which takes five seconds.
        if number > 0 && began.elapsed() < Duration::from_millis(4_500) {
            return vec![Step::Wait(Duration::from_secs(50)), Step::Send(answer)];
        }
        if number > 0 {
            return vec![Step::Send(answer)];
        }
        let all = response(
            "200 OK",
            &[("Content-Length", &body.len().to_string()), ("ETag", ETAG), ("Accept-Ranges", "bytes")],
            &body,
        );
        let slowly = |chunk: &[u8]| [Step::Send(chunk.to_vec()), Step::Wait(Duration::from_millis(40))];
        all.chunks(64 << 10).flat_map(slowly).collect()
    });
    let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("film.mp4") == file);
    assert!(server.requests().len() > 1, "further connections were tried");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test]
async fn w1_a_refusal_of_a_download_is_not_said_in_the_words_of_an_upload() {
    for (status, retry_after) in [
        ("409 Conflict", None),
        ("413 Content Too Large", None),
        ("403 Forbidden", Some("0")),
        ("413 Content Too Large", Some("0")),
    ] {
        let server = BadServer::start(move |head, number| {
            if retry_after.is_some() && number > 0 {
                return vec![Step::Send(good_answer(head, b"hello", ETAG))];
            }
            let mut headers = vec![("Content-Length", "0")];
            headers.extend(retry_after.map(|time| ("Retry-After", time)));
            vec![Step::Send(response(status, &headers, b""))]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
        let row = downloads.run(&server.url("/film.mp4")).await;
        match row.state {
            State::Completed => assert!(retry_after.is_some(), "{status}"),
            State::Failed(failure) => {
                assert!(retry_after.is_none(), "{status}: asked for a pause, and got none");
                let said = failure.message();
                assert!(!said.contains("already"), "{status}: {said}");
                assert!(said.contains("refused"), "{status}: {said}");
            }
            state => panic!("{status}: {state:?}"),
        }
    }
}

/// What lies on people's disks: a part file, and beside it a record as Ferry wrote it until November 2026.
#[tokio::test]
async fn a_part_of_an_earlier_ferry_is_continued() {
    let file = content(300_000);
    let server = cut_once(&file, 150_000, || Step::Close);
    let downloads = Downloads::with(|overrides| overrides.retries = Some(0)).await;
    let row = downloads.run(&server.url("/film.mp4")).await;
    assert_eq!(code(&row), Some(Code::Incomplete));
    let downloads = downloads
        .restart(|folder| {
            let data = folder.with_file_name("data");
            for name in ["ferry.db", "ferry.db-wal", "ferry.db-shm"] {
                let _ = std::fs::remove_file(data.join(name));
            }
            for entry in std::fs::read_dir(data.join("resume")).unwrap().flatten() {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
                let journal = record["journal"].as_object_mut().unwrap();
                journal.remove("identity");
                journal.insert("validator".into(), serde_json::json!({ "etag": ETAG }));
                std::fs::write(entry.path(), record.to_string()).unwrap();
            }
        })
        .await;
    let rows = downloads.engine().snapshot().transfers;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    downloads.engine().resume(&[row.id]).await.unwrap();
    let row = downloads.ended(row.id).await;
    assert_eq!(row.state, State::Completed);
    assert!(downloads.saved("film.mp4") == file);
    let last = server.requests().pop().unwrap();
    assert!(range_start(&last).is_some_and(|start| start > 100_000), "only the rest: {last}");
}

/// A body in chunks of which none is joined with the next one on its way.
fn in_chunks(pieces: &[&[u8]], trailers: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in pieces {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        steps.extend([Step::Send(chunk), Step::Wait(Duration::from_millis(100))]);
    }
    steps.push(Step::Send(format!("0\r\n{trailers}\r\n").into_bytes()));
    steps
}

#[tokio::test]
async fn w1_a_body_that_is_longer_than_was_promised_is_never_proven() {
    let file = content(300_000);
    let longer = content(340_000);
    for framing in ["chunked", "close", "part"] {
        for surplus_comes_later in [false, true] {
            let (file, longer) = (file.clone(), longer.clone());
            let server = BadServer::start(move |head, number| {
                if number == 0 {
                    let mut bytes = good_answer(head, &file, ETAG);
                    bytes.truncate(bytes.len() - 100_000);
                    return vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close];
                }
                let start = range_start(head).filter(|_| framing == "part").unwrap_or(0);
                let range = format!("bytes {start}-299999/300000");
                let mut headers = vec![("ETag", ETAG)];
                let status = if framing == "part" && range_start(head).is_some() {
                    headers.push(("Content-Range", range.as_str()));
                    "206 Partial Content"
                } else {
                    "200 OK"
                };
                let body: &[u8] = if status == "200 OK" && framing == "part" { &file } else { &longer };
                let cut = if surplus_comes_later { 300_000 } else { 200_001 };
                let (first, second) = body[start..].split_at(cut - start);
                if framing == "close" {
                    let head = response(status, &headers, first);
                    let wait = Step::Wait(Duration::from_millis(100));
                    return vec![Step::Send(head), wait, Step::Send(second.to_vec()), Step::Close];
                }
                headers.push(("Transfer-Encoding", "chunked"));
                let pieces: &[&[u8]] = if second.is_empty() { &[first] } else { &[first, second] };
                let mut steps = vec![Step::Send(response(status, &headers, b""))];
                steps.extend(in_chunks(pieces, ""));
                steps.push(Step::Close);
                steps
            });
            let downloads = Downloads::new().await;
            let row = downloads.run(&server.url("/a.bin")).await;
            let case = format!("{framing}, later: {surplus_comes_later}: {:?}", row.state);
            if framing == "part" {
                // A part that contradicts its own range is no reason not to fetch the file.
                assert_eq!(row.state, State::Completed, "{case}");
                assert!(downloads.saved("a.bin") == content(300_000), "{case}");
            } else {
                assert_eq!(code(&row), Some(Code::BadResponse), "{case}");
                assert!(row.note.is_some_and(|note| note.to_string().contains("longer than")), "{case}");
                assert!(downloads.files().is_empty(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn w1_a_size_that_does_not_hold_for_what_may_be_another_version_is_given_up_and_that_is_said() {
    let (old, new) = (content(300_000), content(340_000));
    let body = new.clone();
    let server = BadServer::start(move |_, number| {
        if number == 0 {
            let bytes = response("200 OK", &[("Content-Length", "300000")], &old[..100_000]);
            return vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close];
        }
        vec![Step::Send(response("200 OK", &[], &body)), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/a.bin")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)));
    assert!(downloads.saved("a.bin") == new);
    assert!(row.note.is_some_and(|note| note.to_string().contains("not verified")));
}

/// A kill between the last byte that was promised and the surplus: nobody has seen that there is more.
#[tokio::test]
async fn w1_a_file_whose_end_was_not_seen_is_asked_for_it_after_a_restart() {
    let longer = content(340_000);
    let server = BadServer::start(move |head, number| match (number, range_start(head)) {
        (0, _) => {
            let mut bytes = good_answer(head, &longer[..300_000], ETAG);
            bytes.truncate(bytes.len() - 100_000);
            vec![Step::Send(bytes), Step::Wait(Duration::from_millis(50)), Step::Close]
        }
        (1..=2, _) => {
            let headers = [("Transfer-Encoding", "chunked"), ("ETag", ETAG)];
            let mut steps = vec![Step::Send(response("200 OK", &headers, b""))];
            steps.extend(in_chunks(&[&longer[..300_000]], "").into_iter().take(1));
            steps.push(Step::Wait(Duration::from_secs(60)));
            steps
        }
        _ => vec![Step::Send(good_answer(head, &longer, ETAG))],
    });
    let downloads = Downloads::new().await;
    let id = downloads.add(&server.url("/a.bin")).await;
    downloads.until(id, |row| row.bytes == 300_000 && server.requests().len() >= 3).await;
    downloads.engine().pause(&[id]).await.unwrap();
    downloads.until(id, |row| row.state == State::Paused).await;
    let downloads = downloads.restart(|_| {}).await;
    downloads.engine().resume(&[id]).await.unwrap();
    let row = downloads.ended(id).await;
    let is_whole = row.state == State::Completed && downloads.saved("a.bin") == content(340_000);
    assert!(is_whole || matches!(row.state, State::Failed(_)), "{:?}, {:?}", row.state, downloads.names());
    assert!(server.requests().len() > 3, "nobody was asked");
}

#[tokio::test]
async fn w1_a_body_that_ends_with_its_connection_is_asked_whether_it_was_all() {
    let file = content(300_000);
    for (kept, transfer) in [(100_000, None), (100_000, Some("identity")), (300_000, None)] {
        let body = file.clone();
        let server = BadServer::start(move |head, _| {
            if range_start(head).is_some() {
                return vec![Step::Send(good_answer(head, &body, ETAG))];
            }
            let mut headers = vec![("ETag", ETAG), ("Accept-Ranges", "bytes")];
            headers.extend(transfer.map(|transfer| ("Transfer-Encoding", transfer)));
            vec![Step::Send(response("200 OK", &headers, &body[..kept])), Step::Close]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.bin")).await;
        let case = format!("{kept} {transfer:?}");
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)), "{case}");
        assert!(downloads.saved("a.bin") == file, "{case}");
    }
    // Who cannot be asked has said nothing: then the row says so.
    for answer in ["404 Not Found", "200 OK", "416 Range Not Satisfiable"] {
        let server = BadServer::start(move |head, _| {
            let status = if range_start(head).is_some() { answer } else { "200 OK" };
            vec![Step::Send(response(status, &[("ETag", ETAG)], b"whole?")), Step::Close]
        });
        let downloads = Downloads::new().await;
        let row = downloads.run(&server.url("/a.txt")).await;
        assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::None)), "{answer}");
        assert!(row.note.is_some_and(|note| note.to_string().contains("not verified")), "{answer}");
    }
}

#[tokio::test]
async fn d1_a_connection_that_is_reset_is_no_end_of_a_body() {
    for transfer in [None, Some("identity")] {
        let server = BadServer::start(move |_, _| {
            let headers: Vec<_> =
                transfer.map(|transfer| ("Transfer-Encoding", transfer)).into_iter().collect();
            let bytes = response("200 OK", &headers, &content(50_000));
            vec![Step::Send(bytes), Step::Wait(Duration::from_millis(100)), Step::Reset]
        });
        let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
        let row = downloads.run(&server.url("/a.bin")).await;
        assert_eq!(code(&row), Some(Code::Incomplete), "{transfer:?}: {:?}", row.state);
        assert!(downloads.files().is_empty());
    }
}

/// SHA-256 and MD5 of "hello".
const HELLO_SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const HELLO_SHA256_BASE64: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

#[tokio::test]
async fn d7_a_checksum_that_a_redirect_names_decides() {
    let linked = format!("\"{HELLO_SHA256}\"");
    let digest = format!("SHA-256={HELLO_SHA256_BASE64}");
    let repr = format!("sha-256=:{HELLO_SHA256_BASE64}:");
    for (header, value) in [
        ("X-Linked-Etag", &linked),
        ("Digest", &digest),
        ("Repr-Digest", &repr),
        ("X-Checksum-Sha256", &HELLO_SHA256.to_owned()),
    ] {
        for (body, whole) in [("hello", true), ("hellO", false)] {
            let value = value.clone();
            let server = BadServer::start(move |head, _| {
                let bytes = if head.starts_with("GET /file") {
                    response("200 OK", &[("Content-Length", "5")], body.as_bytes())
                } else {
                    let headers =
                        [("Location", "/file.bin"), (header, value.as_str()), ("Content-Length", "5")];
                    response("302 Found", &headers, b"Found")
                };
                vec![Step::Send(bytes)]
            });
            let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
            let row = downloads.run(&server.url("/link")).await;
            if whole {
                assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Sha256)), "{header}");
            } else {
                assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{header}: {:?}", row.state);
                assert!(downloads.files().is_empty(), "{header}");
            }
        }
    }
    // What a redirect says of its own few words is not said of the file.
    let server = BadServer::start(move |head, _| {
        let bytes = if head.starts_with("GET /file") {
            response("200 OK", &[("Content-Length", "5")], b"other")
        } else {
            let headers = [("Location", "/file.bin"), ("Digest", digest.as_str()), ("Content-Length", "5")];
            response("302 Found", &headers, b"hello")
        };
        vec![Step::Send(bytes)]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/link")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)));
}

#[tokio::test]
async fn d7_a_size_that_a_redirect_names_holds_where_the_file_comes_without_one() {
    let file = content(300_000);
    let body = file.clone();
    let server = BadServer::start(move |head, number| {
        if head.starts_with("GET /link") {
            let headers = [("Location", "/file.bin"), ("X-Linked-Size", "300000"), ("Content-Length", "0")];
            return vec![Step::Send(response("302 Found", &headers, b""))];
        }
        let keep = if number < 2 { 100_000 } else { 300_000 };
        vec![Step::Send(response("200 OK", &[], &body[..keep])), Step::Close]
    });
    let downloads = Downloads::new().await;
    let row = downloads.run(&server.url("/link")).await;
    assert_eq!((row.state, row.verified), (State::Completed, Some(Verified::Length)));
    assert!(downloads.saved("file.bin") == file);
}

#[tokio::test]
async fn d7_a_checksum_behind_the_last_byte_decides() {
    let digest = format!("Content-Digest: sha-256=:{HELLO_SHA256_BASE64}:\r\n");
    let amazon = format!("x-amz-checksum-sha256: {HELLO_SHA256_BASE64}\r\n");
    let old = format!("Digest: SHA-256={HELLO_SHA256_BASE64}\r\n");
    for (trailer, proof) in [
        ("Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n", Verified::Md5),
        (digest.as_str(), Verified::Sha256),
        (amazon.as_str(), Verified::Sha256),
        (old.as_str(), Verified::Sha256),
    ] {
        for (body, whole) in [("hello", true), ("hellO", false)] {
            for is_announced in [true, false] {
                let trailer = trailer.to_owned();
                let server = BadServer::start(move |_, _| {
                    let name = trailer.split(':').next().unwrap_or_default().to_owned();
                    let mut headers = vec![("Transfer-Encoding", "chunked")];
                    if is_announced {
                        headers.push(("Trailer", name.as_str()));
                    }
                    let mut steps = vec![Step::Send(response("200 OK", &headers, b""))];
                    steps.extend(in_chunks(&[body.as_bytes()], &trailer));
                    steps
                });
                let downloads = Downloads::with(|overrides| overrides.retries = Some(1)).await;
                let row = downloads.run(&server.url("/a.bin")).await;
                if whole {
                    assert_eq!((row.state, row.verified), (State::Completed, Some(proof)), "{proof:?}");
                } else {
                    assert_eq!(code(&row), Some(Code::IntegrityMismatch), "{proof:?}: {:?}", row.state);
                    assert!(downloads.files().is_empty(), "{proof:?}");
                }
            }
        }
    }
}

/// A media server that begins a job at once and is slow to say so.
fn slow_starter(begins_for: Duration) -> bad_store::BadStore {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let begun = AtomicUsize::new(0);
    let id = |number: usize| format!("00000000-0000-4000-8000-{number:012}");
    bad_store::BadStore::start(move |request, _| {
        let line = request.line();
        if line.starts_with("POST ") {
            let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
            std::thread::sleep(begins_for);
            return bad_store::reply("200 OK", &[], &format!(r#"{{"download_id": "{}"}}"#, id(number)));
        }
        if line.contains("/file") {
            return bad_store::reply("200 OK", &[("content-type", "video/mp4")], "the film");
        }
        let job = |number| format!(r#"{{"id": "{}", "title": "Film", "status": "completed"}}"#, id(number));
        let jobs: Vec<String> = (1..=begun.load(Ordering::SeqCst)).map(job).collect();
        let json = [("content-type", "application/json")];
        bad_store::reply("200 OK", &json, &format!("[{}]", jobs.join(",")))
    })
}

#[tokio::test]
async fn a_pause_while_a_job_is_begun_is_answered_at_once_and_the_same_job_goes_on() {
    for (begins_for, resumes_after) in [(400, 0), (400, 800), (2500, 0)] {
        let server = slow_starter(Duration::from_millis(begins_for));
        let root = tempfile::tempdir().unwrap();
        let mut options = ferry_engine::Options::new(root.path().join("data"));
        options.keychain = false;
        options.addresses.insert("offline-tube".into(), server.url(""));
        let engine = ferry_engine::Engine::open(options).await.unwrap();
        let request = DownloadRequest {
            what: "https://videos.example/watch".into(),
            service: Some("offline-tube".into()),
            folder: Some(root.path().join("downloads")),
            ..DownloadRequest::default()
        };
        let id = engine.download(request).await.unwrap();
        let begun = || server.requests().iter().filter(|asked| asked.line().starts_with("POST ")).count();
        while begun() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (one, limit) = ([id], Duration::from_secs(1));
        tokio::time::timeout(limit, engine.pause(&one)).await.expect("the pause is answered").unwrap();
        assert_eq!(engine.transfer(id).unwrap().state, State::Paused);
        tokio::time::sleep(Duration::from_millis(resumes_after)).await;
        engine.resume(&[id]).await.unwrap();
        let row = loop {
            let row = engine.transfer(id).unwrap();
            if row.state.has_ended() {
                break row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(row.state, State::Completed, "{begins_for} {resumes_after}: {row:?}");
        assert_eq!(begun(), 1, "{begins_for} {resumes_after}: a second job was begun");
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_job_that_is_begun_while_its_transfer_is_given_up_is_begun_once_and_for_nobody() {
    let server = slow_starter(Duration::from_millis(300));
    let root = tempfile::tempdir().unwrap();
    let mut options = ferry_engine::Options::new(root.path().join("data"));
    options.keychain = false;
    options.addresses.insert("offline-tube".into(), server.url(""));
    let engine = ferry_engine::Engine::open(options).await.unwrap();
    let request = DownloadRequest {
        what: "https://videos.example/watch?secret".into(),
        service: Some("offline-tube".into()),
        folder: Some(root.path().join("downloads")),
        ..DownloadRequest::default()
    };
    let id = engine.download(request).await.unwrap();
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.remove(&[id]).await.unwrap();
    assert!(engine.transfer(id).is_none());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(engine.snapshot().transfers.is_empty(), "it came back");
    assert_eq!(std::fs::read_dir(root.path().join("data/resume")).unwrap().count(), 0, "its link stays");
    engine.shutdown().await;
}
