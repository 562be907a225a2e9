//! The faults, one a row: what is wrong, and what then becomes of the spans.

use std::fmt;
use std::time::Duration;

use crate::breaking::Breaks;
use crate::peers::{Fault, Identity, Ours};
use crate::support::otlp_receiver::{Behaviour, Protocol, Refusal};
use crate::user_code::InService;

/// One fault, with one protocol.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) peer: Fault,
    pub(crate) in_service: InService,
    /// How long one batch may take, repetitions included.
    pub(crate) timeout: Duration,
    /// How long one batch may be held up, as documented: not at all where its first answer or failure
    /// is the last, for the timeout where it is tried again.
    pub(crate) held: Duration,
    pub(crate) flush_timeout: Duration,
    pub(crate) shutdown: Duration,
    pub(crate) exported: Exported,
    /// Why spans are lost, beside those for which there was no room.
    pub(crate) lost: &'static [&'static str],
    pub(crate) ends: Ends,
    /// What standard error says; nothing where it says nothing of ours.
    pub(crate) says: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Exported {
    Nothing,
    NothingIsSampled,
    /// Some, and exactly those that the collector took.
    WhatWasTaken,
}

/// How the flush and then shutdown end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The flush reports a failure, shutdown is done in time.
    AfterAFailure,
    /// The flush reports a failure, and shutdown runs out of time.
    Failing,
    /// The flush runs out of time.
    Stuck,
    Well,
    /// The flush succeeds, but there is not time enough for the last spans.
    WithoutTheLast,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_service {
            InService::Nothing => write!(f, "{} ({:?})", self.fault, self.protocol),
            _ => f.write_str(self.fault),
        }
    }
}

/// Time enough for what does answer, be the machine busy.
const AMPLE: Duration = Duration::from_secs(20);
/// For what is given up: a delay of a second still fits in.
const BRIEF: Duration = Duration::from_millis(1_500);
/// Longer than flush and shutdown wait: who tries again until it is over is late.
pub(crate) const ENDLESS: Duration = Duration::from_secs(600);
/// Less than any export that hangs takes.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// What each fault has in common.
const ROW: Row = Row {
    fault: "",
    protocol: Protocol::Grpc,
    peer: Fault::Absent,
    in_service: InService::Nothing,
    timeout: BRIEF,
    held: BRIEF,
    flush_timeout: Duration::from_secs(60),
    shutdown: AMPLE,
    exported: Exported::Nothing,
    lost: &["export failed"],
    ends: Ends::AfterAFailure,
    says: "",
};

pub(crate) fn rows() -> Vec<Row> {
    let delay = Duration::from_secs(1);
    let is = Fault::Answers;
    let refuses = |refusal: Refusal| Fault::Answers(Behaviour::Refuse(refusal));
    let delayed = |refusal: Refusal| refuses(refusal.with_retry_after(delay));
    // The slow ones first: they wait while the others work.
    let mut rows = Vec::new();
    for row in [
        both("accepts and never answers", || is(Behaviour::Hang), ["no answer within 1.5s"; 2])
            .map(times_out),
        both("accepts and never says a word", || Fault::Mute, ["no answer within 1.5s"; 2])
            .map(times_out),
        both("answers after a second", || is(Behaviour::Delay(delay)), [""; 2]).map(|row| Row {
            exported: Exported::WhatWasTaken,
            lost: &["shutdown"],
            timeout: AMPLE,
            held: delay,
            shutdown: SHORT,
            ends: Ends::WithoutTheLast,
            ..row
        }),
        both(
            "is unavailable and says for how long",
            || delayed(Refusal::unavailable()),
            ["Unavailable: refused as told", "503 Service Unavailable: refused as told"],
        ),
        both(
            "is exhausted and says for how long",
            || delayed(Refusal::throttled()),
            ["ResourceExhausted: refused as told", "429 Too Many Requests: refused as told"],
        ),
        both(
            "is unavailable",
            || refuses(Refusal::unavailable()),
            ["Unavailable: refused as told", "503 Service Unavailable: refused as told"],
        ),
        both(
            "is exhausted",
            || refuses(Refusal::throttled()),
            ["ResourceExhausted: refused as told", "429 Too Many Requests: refused as told"],
        )
        // Over gRPC that is worth another try only where a delay comes with it.
        .map(|row| match row.protocol {
            Protocol::Grpc => fails_at_once(row),
            Protocol::Http => row,
        }),
        both("is not there", || Fault::Absent, ["onnection refused"; 2]),
        both(
            "is not there any more",
            || is(Behaviour::CloseAfter(3)),
            ["spans were not exported: "; 2],
        )
        .map(|row| Row { exported: Exported::WhatWasTaken, ..row }),
        both(
            "takes only a part",
            || is(Behaviour::PartialSuccess(3)),
            ["the collector took only a part: rejected as told"; 2],
        )
        .map(|row| Row {
            exported: Exported::WhatWasTaken,
            lost: &["rejected"],
            timeout: AMPLE,
            held: Duration::ZERO,
            ..row
        }),
        both(
            "answers with what is no protobuf",
            || is(Behaviour::Garbage),
            ["Internal: ", "the answer is not OTLP"],
        )
        .map(fails_at_once),
        both("speaks no HTTP", || Fault::NoHttp, ["spans were not exported: "; 2]),
        both("closes at once", || Fault::Closes, ["spans were not exported: "; 2]),
        both(
            "closes in the middle of a request",
            || Fault::Breaks(Breaks::InRequest),
            ["spans were not exported: "; 2],
        ),
        // Over gRPC the status is yet to come, so that it is tried again. Over HTTP it has been told,
        // but not what was rejected.
        both(
            "closes in the middle of its answer",
            || Fault::Breaks(Breaks::InAnswer),
            ["spans were not exported: "; 2],
        )
        .map(|row| match row.protocol {
            Protocol::Grpc => row,
            Protocol::Http => fails_at_once(row),
        }),
        both("answers with a page", || is(Behaviour::Page), ["spans were not exported: "; 2])
            .map(fails_at_once),
        both(
            "takes nothing of ours",
            || refuses(Refusal::invalid()),
            ["InvalidArgument: refused as told", "400 Bad Request: refused as told"],
        )
        .map(fails_at_once),
        both(
            "does not know us",
            || refuses(Refusal::unauthenticated()),
            ["Unauthenticated: refused as told", "401 Unauthorized: refused as told"],
        )
        .map(fails_at_once),
        both(
            "has a certificate of another CA",
            || Fault::Tls(Identity::OfAnotherCa),
            ["UnknownIssuer"; 2],
        )
        .map(fails_at_once),
        both("has a certificate that is over", || Fault::Tls(Identity::Expired), ["expired"; 2])
            .map(fails_at_once),
        both(
            "has a certificate of another host",
            || Fault::Tls(Identity::OfAnotherHost),
            ["not valid for name"; 2],
        )
        .map(fails_at_once),
        both("speaks no TLS", || Fault::NoTls, ["may not speak TLS"; 2]).map(fails_at_once),
        both(
            "asks for a certificate that we do not have",
            || Fault::AsksForCertificate(Ours::None),
            ["asks for a client certificate"; 2],
        )
        .map(fails_at_once),
        both(
            "does not trust our certificate",
            || Fault::AsksForCertificate(Ours::OfAnotherCa),
            ["does not trust the client certificate"; 2],
        )
        .map(fails_at_once),
        both(
            "asks for a certificate and trusts it",
            || Fault::AsksForCertificate(Ours::OfTheRightCa),
            [""; 2],
        )
        .map(|row| Row {
            exported: Exported::WhatWasTaken,
            lost: &[],
            timeout: AMPLE,
            held: Duration::ZERO,
            ends: Ends::Well,
            ..row
        }),
    ] {
        rows.extend(row);
    }
    rows.extend(in_service());
    rows
}

fn both(fault: &'static str, peer: impl Fn() -> Fault, says: [&'static str; 2]) -> [Row; 2] {
    let [grpc, http] = says;
    [(Protocol::Grpc, grpc), (Protocol::Http, http)].map(|(protocol, says)| Row {
        fault,
        protocol,
        peer: peer(),
        says,
        ..ROW
    })
}

fn times_out(row: Row) -> Row {
    Row { lost: &["export failed", "shutdown"], shutdown: SHORT, ends: Ends::Failing, ..row }
}

/// What time does not mend is not tried again.
fn fails_at_once(row: Row) -> Row {
    Row { timeout: ENDLESS, held: Duration::ZERO, ..row }
}

/// Faults in the service's own code.
fn in_service() -> [Row; 11] {
    let second = Duration::from_secs(1);
    let exporter =
        |fault, in_service, says| Row { fault, in_service, held: Duration::ZERO, says, ..ROW };
    let sound = |fault, in_service| Row {
        fault,
        in_service,
        held: Duration::ZERO,
        exported: Exported::WhatWasTaken,
        lost: &[],
        ends: Ends::Well,
        ..ROW
    };
    [
        Row {
            held: ENDLESS,
            flush_timeout: SHORT,
            shutdown: SHORT,
            lost: &["shutdown"],
            ends: Ends::Stuck,
            ..exporter("an exporter that blocks its thread", InService::BlockedExporter, "")
        },
        Row {
            held: second,
            ..times_out(exporter(
                "an exporter that never ends",
                InService::EndlessExporter,
                "no answer within the export timeout of 1s",
            ))
        },
        Row {
            held: second,
            shutdown: SHORT,
            lost: &["shutdown"],
            ends: Ends::WithoutTheLast,
            ..sound("an exporter that takes a second", InService::SlowExporter)
        },
        exporter("an exporter that fails", InService::FailingExporter, "the disk is full"),
        exporter("an exporter that panics", InService::PanickingExporter, "the exporter panicked"),
        Row {
            lost: &["no exporter"],
            ends: Ends::Well,
            ..exporter("no exporter", InService::NoExporter, "")
        },
        Row {
            exported: Exported::NothingIsSampled,
            ..sound("a sampler that panics", InService::PanickingSampler)
        },
        sound("an id generator that panics", InService::PanickingIds),
        sound("a Debug that panics", InService::PanickingDebug),
        sound("a Display that panics", InService::PanickingDisplay),
        sound("no fault at all", InService::Sound),
    ]
}

/// Not one of the faults: what they are told from.
pub(crate) fn exports_on_the_request_path() -> Row {
    Row {
        fault: "exports on the request path",
        peer: Fault::Answers(Behaviour::Accept),
        in_service: InService::ExportsOnTheRequestPath,
        timeout: AMPLE,
        ..ROW
    }
}

/// Nor is this, where each request waits a little.
pub(crate) fn waits_on_the_request_path() -> Row {
    Row {
        fault: "waits on the request path",
        in_service: InService::WaitsOnTheRequestPath,
        ..exports_on_the_request_path()
    }
}

/// Nor this, where one request in twenty waits longer: fewer than any median would show.
pub(crate) fn sometimes_waits_on_the_request_path() -> Row {
    Row {
        fault: "sometimes waits on the request path",
        in_service: InService::SometimesWaitsOnTheRequestPath,
        ..exports_on_the_request_path()
    }
}

/// Nor this, which waits for an exporter as long as it takes.
pub(crate) fn takes_a_second() -> Row {
    Row { fault: "takes a second", in_service: InService::SlowExporter, ..ROW }
}

/// Not one of the faults either.
pub(crate) fn waits_without_bound() -> Row {
    Row {
        fault: "waits without bound",
        in_service: InService::UnboundedQueue,
        held: ENDLESS,
        flush_timeout: SHORT,
        shutdown: SHORT,
        ..ROW
    }
}
