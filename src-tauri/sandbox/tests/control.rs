//! The switches over HTTP, for tests whose sandbox runs in another process, and who does not have them.

mod running;

use ferry_sandbox::{Fault, FaultKind, Sandbox};
use reqwest::Method;
use running::{Running, client, options, start};
use serde_json::{Value, json};

async fn start_with_control() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start_with_control(options(&folder), "sk-control".to_owned()).await.unwrap();
    Running { sandbox, http: client(), folder }
}

#[tokio::test]
async fn faults_can_be_switched_over_http() {
    let running = start_with_control().await;
    let generated = format!("{}/generate/3000000/a.bin", running.sandbox.url());
    let faults = format!("{}/faults", running.sandbox.control_url());
    let list = json!([{"fault": "cut", "after": 10, "times": 1}, {"fault": "weak_etag", "path": "/files/"}]);
    let listed = running.http.post(&faults).json(&list).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(listed, list);
    assert!(running.http.get(&generated).send().await.unwrap().bytes().await.is_err());
    assert_eq!(running.sandbox.faults().list(), [Fault::new(FaultKind::WeakEtag).on_path("/files/")]);
    running.http.post(&faults).json(&json!({"fault": "login_page"})).send().await.unwrap();
    running.http.delete(&faults).send().await.unwrap();
    assert_eq!(running.sandbox.faults().list(), []);

    let untyped =
        running.http.post(&faults).header("content-type", "text/plain").body(list.to_string()).send().await;
    assert_eq!(untyped.unwrap().status(), 415);
    let unknown = running.http.post(&faults).json(&json!({"fault": "unheard_of"})).send().await.unwrap();
    assert_eq!(unknown.status(), 400);

    let requests = format!("{}/requests", running.sandbox.control_url());
    let log = running.http.get(&requests).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(log.as_array().unwrap().len(), 1);
    let settings = format!("{}/settings", running.sandbox.control_url());
    running.http.post(&settings).json(&json!({"signed_urls": "amazon_put"})).send().await.unwrap();
    assert!(running.sign("a.bin").await.1.contains("X-Amz-Signature="));
}

/// What every program does that is shipped: even with the key of the run, in a build that has the routes, they are not
/// there.
#[tokio::test]
async fn a_sandbox_that_no_test_started_for_that_has_no_switches() {
    let running = start().await;
    for (method, name) in [
        (Method::GET, "faults"),
        (Method::POST, "faults"),
        (Method::DELETE, "faults"),
        (Method::GET, "requests"),
        (Method::DELETE, "requests"),
        (Method::GET, "settings"),
        (Method::POST, "settings"),
        (Method::POST, "trust"),
    ] {
        for base in [running.sandbox.control_url(), format!("{}/_sandbox", running.sandbox.origin())] {
            let ask = running.http.request(method.clone(), format!("{base}/{name}"));
            let ask = ask.header("Authorization", running.sandbox.key());
            let answer = ask.json(&json!({"fault": "no_answer"})).send().await.unwrap();
            assert!(answer.status().is_client_error(), "{method} {name}: {}", answer.status());
        }
    }
    assert_eq!(running.sandbox.faults().list(), []);
}
