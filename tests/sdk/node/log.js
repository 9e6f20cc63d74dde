// A service that logs through the generated file while the OpenTelemetry SDK for JavaScript has a span.
//
// In: the collector's endpoint, the service, a text of no good intent; the generated file beside this one. Out: lines on standard output,
// and the span by OTLP over HTTP.
// Left out on purpose: what the lines must be.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { context, trace, ROOT_CONTEXT, SpanKind } = require("@opentelemetry/api");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const { logger, withCorrelationId } = require("./tracemap-pino.cjs");

// What a context manager must do, and no more: programs take the one of `@opentelemetry/context-async-hooks`.
const storage = new AsyncLocalStorage();
context.setGlobalContextManager({
  active: () => storage.getStore() ?? ROOT_CONTEXT,
  with: (active, run, self, ...args) => storage.run(active, () => run.apply(self, args)),
  bind: (_active, target) => target,
  enable() {
    return this;
  },
  disable() {
    return this;
  },
});

const [endpoint, service, evil] = process.argv.slice(2);
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({
    "service.name": service,
    "service.namespace": "shop",
    "deployment.environment.name": "prod",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "nodejs",
  }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }))],
});
const log = logger();
const span = provider.getTracer("tracemap.test").startSpan("GET /cart", { kind: SpanKind.SERVER });
withCorrelationId("c-4711", () => {
  context.with(trace.setSpan(ROOT_CONTEXT, span), () => {
    log.info({ orders: 1 }, "placed %s", 1);
    const child = log.child({ user: evil, trace_id: "forged" });
    child.warn({ body: "forged", "service.name": "forged" }, evil);
    log.error(new TypeError(evil), "failed");
  });
  log.info("outside");
});
span.end();
provider.shutdown();
