//! Spans of one trace, written down as calls.
//!
//! In: who calls whom, when and for how long, in milliseconds from the trace's begin. Out: span records by service, and OTLP bytes.
//! Left out on purpose: what anything means; the calls are what a table of calls is elsewhere.

use bytes::Bytes;
use otlp::encode::{Attributes, SpanRecord, request};
use otlp::{Kind, StatusCode};

const MS: u64 = 1_000_000;

/// A trace that grows.
pub(super) struct Trace {
    id: [u8; 16],
    at: u64,
    spans: Vec<(Option<&'static str>, SpanRecord)>,
}

/// The place of a SERVER span in its trace, as which others call.
#[derive(Clone, Copy)]
pub(super) struct Served(usize);

/// When a call begins, how long it takes, and what goes wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    begin: u64,
    takes: u64,
    failed: bool,
    /// How long the callee takes, where its caller gives up before.
    goes_on: Option<u64>,
    /// By how much the callee's clock is behind.
    behind: u64,
}

impl Call {
    pub(super) fn at(begin: u64, takes: u64) -> Self {
        Self {
            begin,
            takes,
            failed: false,
            goes_on: None,
            behind: 0,
        }
    }

    pub(super) fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    /// The caller has had enough, the callee takes so long.
    pub(super) fn given_up(self, goes_on: u64) -> Self {
        Self {
            goes_on: Some(goes_on),
            ..self
        }
    }

    pub(super) fn behind(self, behind: u64) -> Self {
        Self { behind, ..self }
    }
}

impl Trace {
    /// Ids follow from the round and the place in it, so the same round is the same bytes.
    pub(super) fn of(round: u64, place: u64, at: u64) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.to_be_bytes());
        id[8..].copy_from_slice(&(round << 8 | place).to_be_bytes());
        Self {
            id,
            at,
            spans: Vec::new(),
        }
    }

    /// Somebody outside asks `service`.
    pub(super) fn visitor(&mut self, service: &'static str, takes: u64) -> Served {
        self.span(Some(service), Kind::Server, None, Call::at(0, takes))
    }

    /// A CLIENT span of the caller and a SERVER span of the callee.
    pub(super) fn call(&mut self, caller: Served, callee: &'static str, call: Call) -> Served {
        let client = self.client(caller, call);
        let gave_up = call.goes_on.is_some();
        self.status(client, call.failed || gave_up);
        let served = Call {
            begin: (call.begin + u64::from(!gave_up)).saturating_sub(call.behind),
            takes: call.goes_on.unwrap_or(call.takes.saturating_sub(2)),
            ..call
        };
        let server = self.span(Some(callee), Kind::Server, Some(client.0), served);
        self.status(server, call.failed);
        server
    }

    /// A CLIENT span of which nobody says where it goes.
    pub(super) fn client(&mut self, caller: Served, call: Call) -> Served {
        self.span(self.spans[caller.0].0, Kind::Client, Some(caller.0), call)
    }

    /// A CLIENT span that names where it goes, of a context that does not arrive.
    pub(super) fn dial(&mut self, caller: Served, (address, port): (&'static str, i64), call: Call) {
        let client = self.client(caller, call);
        let attributes = &mut self.spans[client.0].1.attributes;
        attributes.push("server.address", address);
        attributes.push("server.port", port);
    }

    /// A SERVER span that was dialled at an address and got no context.
    pub(super) fn answer(&mut self, service: &'static str, (address, port): (&'static str, i64), takes: u64) {
        let server = self.visitor(service, takes);
        let attributes = &mut self.spans[server.0].1.attributes;
        attributes.push("server.address", address);
        attributes.push("server.port", port);
    }

    /// A CLIENT span to a database.
    pub(super) fn query(&mut self, caller: Served, database: &'static str, call: Call) {
        let client = self.client(caller, call);
        let attributes = &mut self.spans[client.0].1.attributes;
        attributes.push("db.system.name", "postgresql");
        attributes.push("db.namespace", database);
    }

    /// A PRODUCER span.
    pub(super) fn send(&mut self, caller: Served, queue: &'static str, call: Call) {
        let producer = self.span(self.spans[caller.0].0, Kind::Producer, Some(caller.0), call);
        let attributes = &mut self.spans[producer.0].1.attributes;
        attributes.push("messaging.system", "in_process");
        attributes.push("messaging.operation.type", "send");
        attributes.push("messaging.destination.name", queue);
    }

    /// A span of a service that says no name.
    pub(super) fn nameless(&mut self, caller: Served, call: Call) {
        self.span(None, Kind::Internal, Some(caller.0), call);
    }

    /// A SERVER span whose parent never comes.
    pub(super) fn orphan(&mut self, service: &'static str, takes: u64) {
        let server = self.visitor(service, takes);
        self.spans[server.0].1.parent_span_id = Some([0xee; 8]);
    }

    pub(super) fn fail(&mut self, of: Served) {
        self.status(of, true);
    }

    fn status(&mut self, of: Served, failed: bool) {
        if failed {
            self.spans[of.0].1.status = StatusCode::Error;
        }
    }

    fn span(
        &mut self,
        service: Option<&'static str>,
        kind: Kind,
        parent: Option<usize>,
        call: Call,
    ) -> Served {
        let begin = self.at + call.begin * MS;
        self.spans.push((
            service,
            SpanRecord {
                trace_id: self.id,
                span_id: (self.spans.len() as u64 + 1).to_be_bytes(),
                parent_span_id: parent.map(|parent| self.spans[parent].1.span_id),
                trace_state: String::new(),
                name: "work".to_owned(),
                kind,
                start_unix_nano: begin,
                end_unix_nano: begin + call.takes * MS,
                flags: 1,
                status: StatusCode::Unset,
                status_message: String::new(),
                attributes: Attributes::default(),
                links: Vec::new(),
            },
        ));
        Served(self.spans.len() - 1)
    }
}

/// All spans as one `ExportTraceServiceRequest`, and how many there are.
pub(super) fn encode(traces: &[Trace]) -> (u64, Bytes) {
    let spans = || traces.iter().flat_map(|trace| &trace.spans);
    let mut services: Vec<Option<&str>> = spans().map(|(service, _)| *service).collect();
    services.sort_unstable();
    services.dedup();
    let mut body = Vec::new();
    for service in services {
        let of: Vec<SpanRecord> = spans()
            .filter(|span| span.0 == service)
            .map(|span| span.1.clone())
            .collect();
        let name = service.map(|name| ("service.name".to_owned(), name.to_owned().into()));
        let resource: Vec<_> = name.into_iter().collect();
        body.extend_from_slice(&request(&resource, ("tracemap-demo-flaws", ""), &of));
    }
    (spans().count() as u64, body.into())
}
