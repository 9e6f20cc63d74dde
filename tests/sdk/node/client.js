// Three services that report through the OpenTelemetry SDK for JavaScript.
//
// In: the protocol (`grpc`, `http/protobuf` or `http/json`), the collector's endpoint and how many orders to place.
// Out: spans by OTLP; the number exported on standard output, or exit code 1 with what the SDK complained of.
// Left out on purpose: what the spans must become; the test that runs this says so.
"use strict";

const { diag, propagation, trace, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode } =
  require("@opentelemetry/api");
const { ExportResultCode, W3CTraceContextPropagator } = require("@opentelemetry/core");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const complaints = [];

function exporter(protocol, endpoint) {
  switch (protocol) {
    case "grpc": {
      const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-grpc");
      return new OTLPTraceExporter({ url: endpoint });
    }
    case "http/protobuf": {
      const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
      return new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, compression: "gzip" });
    }
    default: {
      const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
      return new OTLPTraceExporter({ url: `${endpoint}/v1/traces` });
    }
  }
}

// Counts what an exporter delivered; everything else is a complaint.
class Counted {
  constructor(inner) {
    this.inner = inner;
    this.delivered = 0;
  }

  export(spans, done) {
    this.inner.export(spans, (result) => {
      if (result.code === ExportResultCode.SUCCESS) {
        this.delivered += spans.length;
      } else {
        complaints.push(`the export of ${spans.length} spans ended with ${result.error}`);
      }
      done(result);
    });
  }

  forceFlush() {
    return this.inner.forceFlush ? this.inner.forceFlush() : Promise.resolve();
  }

  shutdown() {
    return this.inner.shutdown();
  }
}

// A service as the collector sees one: a resource, a tracer and an exporter of its own.
class Service {
  constructor(name, protocol, endpoint) {
    this.exported = new Counted(exporter(protocol, endpoint));
    this.provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ "service.name": name }),
      spanProcessors: [new BatchSpanProcessor(this.exported)],
    });
    this.tracer = this.provider.getTracer("tracemap.test");
  }

  // Runs `work` with the span and the context below it, and ends the span.
  span(name, options, parent, work) {
    const span = this.tracer.startSpan(name, options, parent);
    work(trace.setSpan(parent, span), span);
    span.end();
  }
}

const destination = { "messaging.system": "kafka", "messaging.destination.name": "orders" };

function order(number, storefront, pricing, mailer) {
  const message = {};
  storefront.span("POST /orders", { kind: SpanKind.SERVER }, ROOT_CONTEXT, (below) => {
    const price = { "server.address": "pricing.internal", "server.port": 8080 };
    storefront.span("GET /price", { kind: SpanKind.CLIENT, attributes: price }, below, (calling) => {
      const request = {};
      propagation.inject(calling, request);
      answerPrice(number, pricing, request);
    });
    storefront.span("send orders", { kind: SpanKind.PRODUCER, attributes: destination }, below, (sending) =>
      propagation.inject(sending, message),
    );
  });
  const sender = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, message));
  const consuming = { kind: SpanKind.CONSUMER, attributes: destination, links: [{ context: sender }] };
  mailer.span("process orders", consuming, ROOT_CONTEXT, () => {});
}

function answerPrice(number, pricing, request) {
  const told = { "order.tags": ["größe", "größer"], "order.total": 12.5, "order.gift": number % 2 === 0 };
  const serving = { kind: SpanKind.SERVER, attributes: told };
  pricing.span("GET /price", serving, propagation.extract(ROOT_CONTEXT, request), (below, span) => {
    const database = {
      "db.system.name": "postgresql",
      "db.namespace": "prices",
      "server.address": "db.internal",
    };
    pricing.span("SELECT prices", { kind: SpanKind.CLIENT, attributes: database }, below, () => {});
    if (number % 4 === 0) {
      span.recordException(new Error("no price"));
      span.setStatus({ code: SpanStatusCode.ERROR, message: "no price" });
    }
  });
}

async function main(protocol, endpoint, orders) {
  const complain = (...words) => complaints.push(words.join(" "));
  const quiet = () => {};
  diag.setLogger(
    { error: complain, warn: complain, info: quiet, debug: quiet, verbose: quiet },
    DiagLogLevel.WARN,
  );
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const services = ["storefront", "pricing", "mailer"].map((name) => new Service(name, protocol, endpoint));
  for (let number = 0; number < Number(orders); number += 1) {
    order(number, ...services);
  }
  // Services do not wait for each other, and a trace whose halves come too far apart is another story.
  await Promise.all(services.map((service) => service.provider.forceFlush()));
  await Promise.all(services.map((service) => service.provider.shutdown()));
  console.log(services.reduce((sum, service) => sum + service.exported.delivered, 0));
  complaints.forEach((text) => console.error(text));
  process.exitCode = complaints.length > 0 ? 1 : 0;
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
