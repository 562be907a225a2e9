//! A receiver that is absent, hangs, dies, is slow, refuses, or talks nonsense.
//!
//! Whatever it does, spans are made as fast as ever, no more than the limit are kept, shutdown is
//! in time, and every span is accounted for.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use spanbridge::{ShutdownError, Stats};
use tokio::net::TcpSocket;
use tracing::Span;

use crate::harness::{BOTH, LONG, Otlp, Pipeline, assert_adds_up, within};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver, Protocol, Refusal};

/// Closed spans that may wait, and how many make a batch.
const LIMIT: usize = 2_048;
const BATCH: usize = 256;
/// What a thread may hold back before it hands its spans over.
const CHUNK: usize = 64;

const BLOCKS: usize = 200;
const BLOCK: usize = 100;
const SPANS: u64 = (BLOCKS * BLOCK) as u64;

const SHUTDOWN: Duration = Duration::from_millis(300);

/// The service of a test: one pipeline to the destination with the fault, one to a sound receiver
/// to compare with.
struct Service {
    faulty: Pipeline,
    sound: Pipeline,
    open: [Span; 2],
    served: u64,
    _sound_receiver: OtlpReceiver,
}

impl Service {
    fn new(protocol: Protocol, endpoint: String) -> Self {
        Self::with(protocol, Otlp::at(protocol, endpoint))
    }

    fn with(protocol: Protocol, exporter: Otlp) -> Self {
        let sound_receiver = start(protocol);
        sound_receiver.keep_spans(false);
        let pipeline = |exporter| {
            Pipeline::new(
                spanbridge::layer()
                    .with_exporter(exporter)
                    .with_max_queue_size(LIMIT)
                    .with_max_export_batch_size(BATCH)
                    // Fewer attributes for the receivers to take apart.
                    .with_location(false)
                    .with_target(false),
            )
        };
        let faulty = pipeline(exporter);
        Self {
            open: faulty.open_two(),
            faulty,
            sound: pipeline(Otlp::to(&sound_receiver, protocol)),
            served: 0,
            _sound_receiver: sound_receiver,
        }
    }

    /// Serves requests in blocks, in turn with the two pipelines.
    fn serve(&mut self) {
        let (mut faulty, mut sound) = (Vec::new(), Vec::new());
        for _ in 0..BLOCKS {
            sound.push(time(|| self.sound.close_spans(BLOCK)));
            faulty.push(time(|| self.faulty.close_spans(BLOCK)));
            let queued = self.faulty.stats().queued();
            assert!(queued <= (LIMIT + BATCH + CHUNK) as u64, "{queued} are kept");
        }
        self.served += SPANS;
        // The two are served in turn, so a busy machine slows both alike, but for what the one's
        // exporter has to do. Whoever waited for the destination once the queue is full would be
        // slower by orders of magnitude: a second for each batch makes more than a minute.
        let total = |times: &[Duration]| times.iter().sum::<Duration>();
        let (all_faulty, all_sound) = (total(&faulty), total(&sound));
        assert!(
            all_faulty < 10 * all_sound + Duration::from_secs(20),
            "{all_faulty:?} for all, {all_sound:?} with a sound receiver"
        );
        let (faulty, sound) = (median(faulty), median(sound));
        assert!(
            faulty < 10 * sound + Duration::from_millis(200),
            "{faulty:?} for a block, {sound:?} with a sound receiver"
        );
    }

    /// Shuts down, closes what is still open, and checks the counts at each step.
    fn shut_down(self) -> (Result<(), ShutdownError>, Stats) {
        let shut_down = within(SHUTDOWN, || self.faulty.guard.shutdown(SHUTDOWN));
        let stats = self.faulty.stats();
        assert_adds_up(stats, self.served + 2, 2);
        let Self { open, faulty, .. } = self;
        faulty.run(|| drop(open));
        assert_adds_up(faulty.stats(), self.served + 2, 0);
        assert_eq!(faulty.stats().dropped().after_shutdown(), 2);
        (shut_down, stats)
    }
}

#[test]
fn an_absent_receiver() {
    for protocol in BOTH {
        // Bound but not listening: nobody else gets the port, and connecting is refused.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let endpoint = format!("http://{}", socket.local_addr().unwrap());
        let mut service = Service::new(protocol, endpoint);
        service.serve();
        let (_, stats) = service.shut_down();
        assert_eq!(stats.exported(), 0, "{stats}");
    }
}

#[test]
fn a_receiver_that_hangs() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Hang);
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        receiver.wait_for_counts(|counts| counts.requests == 1, LONG).unwrap();
        let (shut_down, stats) = service.shut_down();
        assert_eq!(shut_down, Err(ShutdownError::TimedOut(SHUTDOWN)));
        assert_eq!(stats.exported(), 0, "{stats}");
        assert!(stats.dropped().queue_full() > 0, "{stats}");
        assert!(stats.dropped().shutdown() > 0, "{stats}");
    }
}

#[test]
fn a_receiver_that_dies_half_way_and_comes_back() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.keep_spans(false);
        receiver.set_behaviour(Behaviour::CloseAfter(3));
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        receiver.wait_for_counts(|counts| counts.requests > 3, LONG).unwrap();
        let exported = service.faulty.stats().exported();
        assert_eq!(exported, receiver.counts().spans_accepted, "{protocol:?}");

        receiver.set_behaviour(Behaviour::Accept);
        service.serve();
        receiver.wait_for_counts(|counts| counts.spans_accepted > exported, LONG).unwrap();
        // Whether an export failed before is not the question here, only that it is over.
        let _ = service.faulty.guard.force_flush(LONG);
        let accepted = receiver.counts().spans_accepted;
        let (shut_down, stats) = service.shut_down();
        assert_eq!((shut_down, stats.exported()), (Ok(()), accepted), "{protocol:?}: {stats}");
    }
}

#[test]
fn a_receiver_that_goes_away_for_good() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.keep_spans(false);
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        service.faulty.guard.force_flush(LONG).unwrap();
        let accepted = receiver.counts().spans_accepted;
        drop(receiver);
        service.serve();
        let (_, stats) = service.shut_down();
        assert_eq!(stats.exported(), accepted, "{protocol:?}: {stats}");
    }
}

#[test]
fn a_slow_receiver() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.keep_spans(false);
        receiver.set_behaviour(Behaviour::Delay(Duration::from_secs(1)));
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        receiver.wait_for_counts(|counts| counts.requests >= 2, LONG).unwrap();
        let (shut_down, stats) = service.shut_down();
        assert_eq!(shut_down, Err(ShutdownError::TimedOut(SHUTDOWN)));
        // The first batch was answered, or the second would not have come.
        assert!(stats.exported() > 0, "{stats}");
        assert!(stats.exported() <= receiver.counts().spans_accepted, "{stats}");
    }
}

#[test]
fn a_receiver_slower_than_the_exporter_waits() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Hang);
        let exporter = Otlp::to(&receiver, protocol).with_timeout(Duration::from_millis(100));
        let mut service = Service::with(protocol, exporter);
        service.serve();
        // A second request: the first was given up, and long before the export timeout.
        receiver.wait_for_counts(|counts| counts.requests >= 2, LONG / 2).unwrap();
        let (_, stats) = service.shut_down();
        assert_eq!(stats.exported(), 0, "{stats}");
    }
}

#[test]
fn a_receiver_that_is_unavailable() {
    refused(&Refusal::unavailable());
}

#[test]
fn a_receiver_that_is_unavailable_for_a_second() {
    refused(&Refusal::unavailable().with_retry_after(Duration::from_secs(1)));
}

#[test]
fn a_receiver_that_is_exhausted() {
    refused(&Refusal::throttled());
}

#[test]
fn a_receiver_that_is_exhausted_for_a_second() {
    refused(&Refusal::throttled().with_retry_after(Duration::from_secs(1)));
}

#[test]
fn a_receiver_that_takes_nothing_of_ours() {
    refused(&Refusal::invalid());
    refused(&Refusal::unauthenticated());
}

fn refused(refusal: &Refusal) {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Refuse(refusal.clone()));
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        receiver.wait_for_counts(|counts| counts.refused > 0, LONG).unwrap();
        let (_, stats) = service.shut_down();
        assert_eq!(stats.exported(), 0, "{protocol:?}: {stats}");
        assert_eq!(receiver.counts().spans_accepted, 0, "{protocol:?}");
    }
}

#[test]
fn a_refusal_that_ends_costs_nothing() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Refuse(
            Refusal::throttled().with_retry_after(Duration::from_secs(1)),
        ));
        let pipeline = Pipeline::with(Otlp::to(&receiver, protocol));
        pipeline.close_spans(512);
        receiver.wait_for_counts(|counts| counts.refused == 1, LONG).unwrap();
        receiver.set_behaviour(Behaviour::Accept);
        pipeline.guard.force_flush(LONG).unwrap();
        assert_eq!(receiver.counts().spans_accepted, 512, "{protocol:?}");
        assert_eq!(pipeline.stats().exported(), 512, "{protocol:?}");
    }
}

#[test]
fn a_receiver_that_answers_garbage() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Garbage);
        let mut service = Service::new(protocol, receiver.traces_endpoint());
        service.serve();
        receiver.wait_for_counts(|counts| counts.requests > 0, LONG).unwrap();
        let (_, stats) = service.shut_down();
        // Over HTTP the status alone is success, whatever the body is.
        if protocol == Protocol::Grpc {
            assert_eq!(stats.exported(), 0, "{stats}");
        }
    }
}

pub(crate) fn start(protocol: Protocol) -> OtlpReceiver {
    match protocol {
        Protocol::Grpc => OtlpReceiver::grpc(),
        Protocol::Http => OtlpReceiver::http(),
    }
}

fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
