//! How many lanes there may be.

use std::sync::atomic::AtomicUsize;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::telemetry::Telemetry;
use crate::telemetry::settings::Settings as TelemetrySettings;

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// With each batch a session asks for another lane than one that is late; the log is not to fill with the answer.
#[test]
fn that_there_is_no_room_is_said_once_until_there_was_room() {
    let endpoint = Endpoint {
        address: Address::Unix("/nowhere".into()),
        credentials: None,
        db: 0,
        tls: None,
        password_file: None,
    };
    let settings = Settings {
        max_lanes: 1,
        ..Settings::default()
    };
    let l1 = Arc::new(L1::new(crate::l1::settings::Settings::default(), 1));
    let lanes = Lanes::new(
        endpoint,
        settings,
        l1,
        Telemetry::new(&TelemetrySettings::default()),
    )
    .expect("no files to read");
    // Its tasks are never polled.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let place = |db| LaneKey {
        identity: Identity::Ours,
        db,
    };
    let warnings = Arc::default();
    tracing::subscriber::with_default(Warnings(Arc::clone(&warnings)), || {
        let said = || warnings.load(Ordering::Relaxed);
        let base = lanes.seat(&place(0), runtime.handle()).expect("room");
        for _ in 0..3 {
            assert!(lanes.fresh(&base, runtime.handle()).is_none());
            assert!(lanes.seat(&place(1), runtime.handle()).is_none());
        }
        assert_eq!(said(), 1);
        lanes.ended();
        assert!(lanes.seat(&place(1), runtime.handle()).is_some());
        assert!(lanes.seat(&place(2), runtime.handle()).is_none());
        assert_eq!(said(), 2);
    });
}
