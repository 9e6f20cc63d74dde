"""A service that logs through generated files while the OpenTelemetry SDK for Python has a span.

In: the library (`logging` or `structlog`), the collector's endpoint, the service, a text of no good intent; the generated files beside
this one. Out: lines on standard output, and the span by OTLP over HTTP. Left out on purpose: what the lines must be.
"""

import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

library, endpoint, service, evil = sys.argv[1:]
identity = {"service.name": service, "service.namespace": "shop", "deployment.environment.name": "prod"}
provider = TracerProvider(resource=Resource.create(identity))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
tracer = provider.get_tracer("tracemap.test")

if library == "logging":
    import logging

    import tracemap_logging

    tracemap_logging.configure()
    tracemap_logging.set_correlation_id("c-4711")
    log = logging.getLogger("shop")
    with tracer.start_as_current_span("GET /cart", kind=trace.SpanKind.SERVER):
        log.info("placed %s", 1, extra={"orders": 1})
        log.warning("%s", evil, extra={"user": evil, "trace_id": "forged", "service.name": "forged"})
        try:
            raise ValueError(evil)
        except ValueError:
            log.exception("failed")
    log.info("outside")
else:
    import structlog

    import tracemap_structlog

    tracemap_structlog.configure()
    tracemap_structlog.set_correlation_id("c-4711")
    log = structlog.get_logger()
    with tracer.start_as_current_span("GET /cart", kind=trace.SpanKind.SERVER):
        log.info("placed 1", orders=1)
        log.warning(evil, user=evil, **{"trace_id": "forged", "service.name": "forged"})
        try:
            raise ValueError(evil)
        except ValueError:
            log.exception("failed")
    log.info("outside")
provider.shutdown()
