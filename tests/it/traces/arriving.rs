//! What arrives, where nothing is in the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nearside::telemetry::traces::settings::{Endpoint, Headers, Settings};
use nearside::telemetry::traces::span::Kind;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prometheus::{IntCounter, Registry};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{BOTH, Told, operations};
use crate::support::otlp::{Receiver, attributes};
use crate::support::{TempDir, eventually};

#[test]
fn every_operation_of_every_thread() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let mut told = Told::start(&Told::settings(&receiver, protocol));
        told.note(4, 2501);
        told.end();
        assert_eq!(told.traces().tally().exported(), 10_004);
        let got = receiver.received();
        assert_eq!(operations(&got), 10_004);
        assert_eq!(got.spans.len(), 10_004 + 4 * 1250);
        assert_eq!(got.resource["service.name"], "nearside");
        assert_eq!(got.resource["service.instance.id"].len(), 32);

        let by_id: HashMap<_, _> = got.spans.iter().map(|span| (&span.span_id, span)).collect();
        assert_eq!(by_id.len(), got.spans.len(), "each id once");
        let mut keys = HashMap::<_, u32>::new();
        for span in &got.spans {
            let told = attributes(&span.attributes);
            if span.name == "upstream.request" {
                let parent = by_id[&span.parent_span_id];
                assert_eq!(
                    (parent.name.as_str(), &parent.trace_id),
                    ("cache.get", &span.trace_id)
                );
                assert_eq!(told["server.address"], "redis");
            } else {
                assert!(span.parent_span_id.is_empty());
                let key = (told["nearside.session"].clone(), told["cache.key"].clone());
                *keys.entry(key).or_default() += 1;
            }
        }
        assert_eq!(keys.len(), 10_004, "each operation once");
    }
}

#[test]
fn headers_go_with_it_and_the_file_is_read_again() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let dir = TempDir::new();
        let file = dir.path().join("headers");
        std::fs::write(&file, "x-token: first\n\n").unwrap();
        let mut headers = Headers::default();
        assert!(headers.add("x-tenant=a"));
        let settings = Settings {
            headers,
            headers_file: Some(file.clone()),
            ..Told::settings(&receiver, protocol)
        };
        let mut told = Told::start(&settings);
        for token in ["first", "second"] {
            std::fs::write(&file, format!("x-token: {token}\n")).unwrap();
            told.note(1, 1);
            told.settle();
            let headers = receiver.received().headers;
            assert_eq!(
                (headers["x-tenant"].as_str(), headers["x-token"].as_str()),
                ("a", token)
            );
        }
        told.end();
        assert_eq!(operations(&receiver.received()), 2);
    }
}

#[test]
fn other_spans_go_the_same_way() {
    let receiver = Receiver::start(BOTH[0]);
    let mut told = Told::start(&Told::settings(&receiver, BOTH[0]));
    let mut span = told
        .traces()
        .span("resource.allocate", Kind::Internal, None, 1000);
    span.set("resource.type", "gpu.memory");
    span.set("resource.amount", 512_i64);
    let part = Some(span.context());
    told.traces()
        .span("ledger.grant", Kind::Client, part, 1001)
        .end(1002);
    span.end(1003);
    told.end();
    let spans = receiver.received().spans;
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (whole, part) = (find("resource.allocate"), find("ledger.grant"));
    assert_eq!(part.parent_span_id, whole.span_id);
    assert_eq!(part.trace_id, whole.trace_id);
    assert_eq!(attributes(&whole.attributes)["resource.amount"], "512");
}

#[test]
fn metrics_go_there_too() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let settings = Settings {
            metrics_interval: Some(Duration::from_millis(5)),
            ..Told::settings(&receiver, protocol)
        };
        let told = Told::start(&settings);
        let registry = Registry::new();
        let counter = IntCounter::new("x_total", "Counted.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        told.traces()
            .gather_from(Arc::new(move || registry.gather()));
        let request = eventually("metrics", || receiver.received().metrics.pop());
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!(metric.name, "x_total");
        let Some(Data::Sum(sum)) = &metric.data else {
            panic!("{metric:?}");
        };
        assert!(sum.is_monotonic && sum.data_points[0].start_time_unix_nano > 0);
        assert!(receiver.received().spans.is_empty());
    }
}

/// TLS in front of a receiver, with a certificate by nobody but its owner.
async fn relay_tls(listener: TcpListener, acceptor: TlsAcceptor, to: std::net::SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let (Ok(mut tls), Ok(mut plain)) =
                (acceptor.accept(stream).await, TcpStream::connect(to).await)
            {
                let _ = copy_bidirectional(&mut tls, &mut plain).await;
            }
        });
    }
}

#[test]
fn over_tls_and_only_to_whom_it_trusts() {
    let dir = TempDir::new();
    let [right, wrong] = ["right", "wrong"].map(|name| {
        let paths = [name.to_owned(), format!("{name}.key")].map(|file| dir.path().join(file));
        let ended = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "30", "-subj", "/CN=receiver", "-out"])
            .arg(&paths[0])
            .arg("-keyout")
            .arg(&paths[1])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:false"])
            .stderr(std::process::Stdio::null())
            .status();
        assert!(ended.expect("openssl on the PATH").success());
        paths
    });
    for protocol in BOTH {
        let receiver = Receiver::start(protocol);
        let chain = CertificateDer::from_pem_file(&right[0]).unwrap();
        let key = PrivateKeyDer::from_pem_file(&right[1]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(relay_tls(listener, acceptor, receiver.addr));
        for (trusted, arrives) in [(&right, true), (&wrong, false)] {
            let settings = Settings {
                endpoint: Endpoint::parse(&format!("https://127.0.0.1:{port}")),
                ca_file: Some(trusted[0].clone()),
                timeout: Duration::from_millis(if arrives { 10_000 } else { 50 }),
                ..Told::settings(&receiver, protocol)
            };
            let mut told = Told::start(&settings);
            told.note(1, 10);
            told.end();
            let expected = if arrives { 10 } else { 0 };
            assert_eq!(told.traces().tally().exported(), expected);
            assert_eq!(operations(&receiver.received()), 10);
        }
        runtime.shutdown_background();
    }
}
