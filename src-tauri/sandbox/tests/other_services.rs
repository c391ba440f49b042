//! Visual Search and the media downloader.

mod running;

use std::time::Duration;

use ferry_sandbox::{Fault, FaultKind};
use reqwest::{Response, StatusCode};
use running::{Running, bytes, header, start};
use serde_json::{Value, json};

async fn search(running: &Running, path: &str, body: Value) -> Response {
    let url = format!("{}{path}", running.sandbox.visual_search_url());
    running.http.post(url).header("Authorization", "sk-1").json(&body).send().await.unwrap()
}

async fn tube(running: &Running, method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", running.sandbox.offline_tube_url());
    let request = running.http.request(method.parse().unwrap(), url);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn job(running: &Running) -> String {
    let (status, answer) =
        tube(running, "POST", "/api/download", json!({"url": "https://video.example/watch?v=My+trip"})).await;
    assert_eq!(status, 200);
    answer["download_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn videos_come_without_a_length() {
    let running = start().await;
    let answer =
        search(&running, "/download", json!({"video_no": "VI100000000000000001", "unique_id": "default"}))
            .await;
    assert_eq!(header(&answer, "content-type"), "application/octet-stream");
    assert_eq!((header(&answer, "content-length"), header(&answer, "content-disposition")), ("", ""));
    let video = answer.bytes().await.unwrap();
    assert_eq!((video.len(), &video[4..8]), (3 << 20, &b"ftyp"[..]));
}

#[tokio::test]
async fn errors_of_visual_search_come_under_200() {
    let running = start().await;
    for (body, msg) in [
        (json!({"video_no": "VI404", "unique_id": "default"}), "download video error"),
        (json!({"video_no": "VI100000000000000001", "unique_id": "other"}), "download video error"),
        (json!({"unique_id": "default"}), "The video number cannot be empty!"),
        (json!({"video_no": ""}), "The video number cannot be empty!"),
    ] {
        let answer = search(&running, "/download", body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let expected = json!({"code": "0001", "msg": msg, "data": null, "success": false, "failed": true});
        assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    }
    running.sandbox.faults().add(Fault::new(FaultKind::KeyRevoked).once());
    let refused = search(&running, "/download", json!({"video_no": "VI1"})).await;
    assert_eq!(refused.status(), StatusCode::OK);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "0401");
}

#[tokio::test]
async fn what_mavi_took_visual_search_lists_and_sends() {
    let running = start().await;
    let content = bytes(300_000);
    let asset_id = running.upload("clip.mp4", &content).await;
    let number = asset_id.replace("re_", "VI");
    let listed = search(
        &running,
        "/list_videos",
        json!({"page": 1, "size": 200, "unique_id": "default", "video_no": number}),
    )
    .await;
    let listed = listed.json::<Value>().await.unwrap();
    assert_eq!((&listed["code"], &listed["data"]["total_count"]), (&json!("0000"), &json!("1")));
    let video = &listed["data"]["videos"][0];
    assert_eq!(
        (&video["video_name"], &video["size"], &video["status"]),
        (&json!("clip.mp4"), &json!("300000"), &json!("PARSE"))
    );
    let answer = search(&running, "/download", json!({"video_no": number, "unique_id": "default"})).await;
    assert_eq!(answer.bytes().await.unwrap(), content);
}

#[tokio::test]
async fn the_list_has_pages() {
    let running = start().await;
    let page =
        search(&running, "/list_videos", json!({"page": 2, "size": 2})).await.json::<Value>().await.unwrap();
    assert_eq!(
        (&page["data"]["total_count"], page["data"]["videos"].as_array().unwrap().len()),
        (&json!("3"), 1)
    );
    let wrong =
        search(&running, "/list_videos", json!({"page": 0, "size": 2})).await.json::<Value>().await.unwrap();
    assert_eq!(wrong["failed"], true);
}

#[tokio::test]
async fn a_job_becomes_a_file() {
    let running = start().await;
    let id = job(&running).await;
    let file = format!("/api/download/{id}/file");
    let early = tube(&running, "GET", &file, Value::Null).await;
    assert_eq!(early, (404, json!({"detail": "Descarga no disponible o no completada"})));

    let mut seen = Vec::new();
    let completed = loop {
        let (_, list) = tube(&running, "GET", "/api/downloads", Value::Null).await;
        let job = list.as_array().unwrap().iter().find(|job| job["id"] == id.as_str()).unwrap().clone();
        let status = job["status"].as_str().unwrap().to_owned();
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        if status == "completed" {
            break job;
        }
        assert!(job["progress"].as_f64().unwrap() <= 100.0);
        tokio::time::sleep(Duration::from_millis(30)).await;
    };
    // A busy machine may be too slow to see every one of them.
    let order = ["pending", "downloading", "processing", "completed"];
    let places: Vec<_> =
        seen.iter().map(|status| order.iter().position(|known| known == status).unwrap()).collect();
    assert!(places.len() > 1 && places.is_sorted(), "{seen:?}");
    assert_eq!((&completed["title"], &completed["progress"]), (&json!("My trip"), &json!(100.0)));

    let url = format!("{}{file}", running.sandbox.offline_tube_url());
    let answer = running.http.get(&url).send().await.unwrap();
    assert_eq!(
        header(&answer, "content-disposition"),
        format!("attachment; filename*=utf-8''My%20trip__{id}.mp4")
    );
    assert_eq!(header(&answer, "content-length"), completed["filesize"].to_string());
    let etag = header(&answer, "etag").to_owned();
    let content = answer.bytes().await.unwrap();
    let rest = running
        .http
        .get(&url)
        .header("Range", "bytes=1000000-")
        .header("If-Range", etag)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.bytes().await.unwrap(), content[1_000_000..]);
    assert_eq!(running.http.get(&url).header("Range", "lines=1-").send().await.unwrap().status(), 400);
    assert_eq!(running.http.head(&url).send().await.unwrap().status(), 405);

    let running = running.restart().await;
    assert_eq!(
        running
            .http
            .get(format!("{}{file}", running.sandbox.offline_tube_url()))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(tube(&running, "DELETE", &format!("/api/downloads/{id}/remove"), Value::Null).await.0, 200);
    assert_eq!(tube(&running, "GET", "/api/downloads", Value::Null).await.1, json!([]));
    assert_eq!(tube(&running, "DELETE", &format!("/api/downloads/{id}"), Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_job_can_be_cancelled() {
    let running = start().await;
    let id = job(&running).await;
    assert_eq!(tube(&running, "DELETE", &format!("/api/downloads/{id}"), Value::Null).await.0, 200);
    assert_eq!(tube(&running, "GET", "/api/downloads", Value::Null).await.1[0]["status"], "cancelled");
}

#[tokio::test]
async fn wrong_requests_get_fastapis_answers() {
    let running = start().await;
    let (status, answer) = tube(&running, "POST", "/api/download", json!({"quality": "720p"})).await;
    assert_eq!(status, 422);
    let expected = json!([{"type": "missing", "loc": ["body", "url"], "msg": "Field required", "input": {"quality": "720p"}}]);
    assert_eq!(answer["detail"], expected);
    assert_eq!(tube(&running, "POST", "/api/download", json!({"url": 5})).await.0, 422);
}

#[tokio::test]
async fn jobs_can_go_wrong() {
    let running = start().await;
    job(&running).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let faults = running.sandbox.faults();
    let list = || tube(&running, "GET", "/api/downloads", Value::Null);
    faults.add(Fault::new(FaultKind::JobStuck).once());
    assert_eq!(list().await.1[0]["status"], "downloading");
    faults.add(Fault::new(FaultKind::JobError { message: "Video unavailable".into() }).once());
    let failed = list().await.1;
    assert_eq!(
        (&failed[0]["status"], &failed[0]["error_message"]),
        (&json!("error"), &json!("Video unavailable"))
    );
    faults.add(Fault::new(FaultKind::JobProgress { progress: 250.0 }).once());
    assert_eq!(list().await.1[0]["progress"], 250.0);
    faults.add(Fault::new(FaultKind::JobVanishes).once());
    assert_eq!(list().await.1, json!([]));
    assert_eq!(list().await.1[0]["status"], "completed");
}
