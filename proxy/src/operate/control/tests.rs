use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use jiff::civil::date;

use super::*;
use crate::ledger::{HourRow, Totals};
use crate::operate::{
    Client, ClientError, DnsStatus, Lead, Purge, PurgeDone, ReloadDone, Status, StoreStatus, VerifyDone, VerifyStep,
    What,
};
use crate::prefetch::progress::Snapshot;
use crate::prefetch::report::{End, NightReport};

/// A box that notes what it is told.
#[derive(Default)]
struct Told {
    purged: Mutex<Vec<Purge>>,
    /// Held by a prefetch for as long as it works.
    at_work: Arc<Mutex<()>>,
    begun: tokio::sync::Notify,
}

impl Operations for Told {
    async fn status(&self) -> Status {
        let store = StoreStatus {
            responses: 3,
            incomplete: 1,
            bytes: 4_096,
            incomplete_bytes: 1_024,
            bytes_max: 1 << 30,
            free_bytes: None,
            memory_bytes: 0,
            index: "complete".to_owned(),
        };
        Status {
            version: "0".to_owned(),
            sites: 2,
            store,
            is_night_at_work: false,
            next_night: None,
            doors: Vec::new(),
            ca: None,
            dns: None,
        }
    }

    async fn purge(&self, what: Purge) -> Result<PurgeDone, Failure> {
        self.purged.lock().unwrap().push(what);
        Ok(PurgeDone { responses: 7, note: None })
    }

    async fn prefetch(&self, sites: Vec<String>, tell: Tell<Snapshot>) -> Result<NightReport, Failure> {
        if sites == ["endless"] {
            let work = Arc::clone(&self.at_work);
            let _work = tokio::task::spawn_blocking(move || drop(work.lock())).await;
            self.begun.notify_one();
            return std::future::pending().await;
        }
        for done in 1..=3 {
            tell.step(Snapshot { known: 3, done, site: sites.join("+"), ..Snapshot::default() });
            tokio::task::yield_now().await;
        }
        Ok(NightReport {
            started: Timestamp::UNIX_EPOCH,
            ended: Timestamp::UNIX_EPOCH,
            is_resumed: false,
            end: End::Complete,
            sites: BTreeMap::new(),
        })
    }

    async fn verify(&self, tell: Tell<VerifyStep>) -> Result<VerifyDone, Failure> {
        tell.step(VerifyStep { files: 1, percent: 100 });
        Ok(VerifyDone { files: 1, ..VerifyDone::default() })
    }

    async fn reload(self: &Arc<Self>) -> Result<ReloadDone, Failure> {
        Err(Failure { message: "the allowlist has an error".to_owned(), details: vec!["line 3".to_owned()] })
    }

    async fn lead(&self, lead: Lead) -> Result<DnsStatus, Failure> {
        Ok(DnsStatus { leading: format!("{lead:?}"), ..DnsStatus::default() })
    }

    async fn totals(&self, period: Period) -> Result<Totals, Failure> {
        Ok(Totals {
            period,
            sites: Vec::new(),
            all: crate::ledger::SiteCounts::default(),
            zero_rated_wan_bytes: 1,
            metered_wan_bytes: 2,
        })
    }

    async fn hours(&self, _: Period) -> Result<Vec<HourRow>, Failure> {
        Ok(Vec::new())
    }
}

struct Running {
    folder: tempfile::TempDir,
    told: Arc<Told>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&crate::operate::socket_path(folder.path())).unwrap();
        let told = Arc::new(Told::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(control.serve(Arc::clone(&told), async { drop(stopped.await) }));
        Self { folder, told, _stop: stop }
    }

    async fn client(&self) -> Client {
        Client::find(self.folder.path()).await.unwrap().expect("it serves")
    }
}

#[tokio::test]
async fn commands_reach_the_box_and_answers_come_back() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(client.status().await.unwrap().store.responses, 3);
    for lead in [Lead::ToTheBox, Lead::PastIt { seconds: None }, Lead::PastIt { seconds: Some(600) }] {
        assert_eq!(client.lead(lead).await.unwrap().leading, format!("{lead:?}"));
    }
    let tagged = What::Tagged { site: "a".into(), tags: vec!["b".into(), "c".into()] };
    for what in [What::Url("http://a/".into()), What::Site("a".into()), What::Prefix("http://a/b".into()), tagged] {
        for soft in [false, true] {
            let purge = Purge { what: what.clone(), soft };
            assert_eq!(client.purge(&purge).await.unwrap().responses, 7);
            assert_eq!(running.told.purged.lock().unwrap().pop(), Some(purge));
        }
    }
    let period = Period::between(date(2026, 11, 1), date(2026, 11, 21));
    assert_eq!(client.totals(period).await.unwrap().period, period);
    assert!(client.hours(period).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_prefetch_tells_its_steps_and_ends_with_the_report() {
    let running = Running::start();
    let mut steps = Vec::new();
    let sites = ["bilimland".to_owned(), "opiq".to_owned()];
    let report = running.client().await.prefetch(&sites, |step| steps.push((step.done, step.site))).await.unwrap();
    assert_eq!(report.end, End::Complete);
    assert!(steps.iter().all(|(_, site)| site == "bilimland+opiq"), "{steps:?}");
    assert!(steps.is_sorted() && steps.len() <= 3, "{steps:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_prefetch() {
    let running = Running::start();
    let client = running.client().await;
    let weak = Arc::downgrade(&running.told);
    let asked = tokio::spawn(async move { client.prefetch(&["endless".to_owned()], |_| ()).await });
    running.told.begun.notified().await;
    let during = weak.strong_count();
    asked.abort();
    // The work holds one more share of the box for as long as it is not dropped.
    tokio::time::timeout(Duration::from_secs(10), async {
        while weak.strong_count() >= during {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the work is dropped");
}

#[tokio::test]
async fn a_refusal_arrives_with_its_details() {
    let running = Running::start();
    match running.client().await.reload().await {
        Err(ClientError::Refused(failure)) => assert_eq!(failure.details, ["line 3"]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn verifying_tells_steps() {
    let running = Running::start();
    let mut steps = Vec::new();
    let done = running.client().await.verify(|step| steps.push(step.percent)).await.unwrap();
    assert_eq!(done.files, 1);
    assert!(steps.len() <= 1);
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_replaces_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::operate::socket_path(folder.path());
    assert!(Client::find(folder.path()).await.unwrap().is_none(), "nobody serves yet");
    let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(dead);
    assert!(Client::find(folder.path()).await.unwrap().is_none(), "nobody is behind it");
    let control = Control::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(control);
    assert!(!path.exists());
}

#[tokio::test]
async fn nonsense_is_refused_and_the_box_goes_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = Running::start();
    for request in [
        "GET /nothing HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET /ledger/tomorrow HTTP/1.1\r\nhost: b\r\n\r\n",
        "POST /purge HTTP/1.1\r\nhost: b\r\ncontent-length: 2\r\n\r\n[]",
    ] {
        let mut stream = UnixStream::connect(crate::operate::socket_path(running.folder.path())).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("{\"failed\":"), "{request:?} was answered {answer:?}");
    }
    assert_eq!(running.client().await.status().await.unwrap().sites, 2);
}
