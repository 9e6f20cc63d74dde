"""Three services that report through the OpenTelemetry SDK for Python.

In: the protocol (`grpc` or `http/protobuf`), the collector's endpoint and how many orders to place.
Out: spans by OTLP; the number exported on standard output, or exit code 1 with what the SDK complained of.
Left out on purpose: what the spans must become; the test that runs this says so.
"""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode


class Complaints(logging.Handler):
    """Keeps what the SDK logs at `warning` and above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))


class Counted(SpanExporter):
    """Counts what an exporter delivered; everything else is a complaint."""

    def __init__(self, inner, complaints):
        self.inner, self.complaints, self.delivered = inner, complaints, 0

    def export(self, spans):
        result = self.inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.delivered += len(spans)
        else:
            self.complaints.texts.append(f"the export of {len(spans)} spans ended with {result}")
        return result

    def shutdown(self):
        self.inner.shutdown()

    def force_flush(self, timeout_millis=30_000):
        return self.inner.force_flush(timeout_millis)


def exporter(protocol, endpoint):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint, insecure=True, compression=Compression.Gzip)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


class Service:
    """A service as the collector sees one: a resource, a tracer and an exporter of its own."""

    def __init__(self, name, protocol, endpoint, complaints):
        self.exported = Counted(exporter(protocol, endpoint), complaints)
        self.provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self.provider.add_span_processor(BatchSpanProcessor(self.exported))
        self.tracer = self.provider.get_tracer("tracemap.test")

    def span(self, name, kind, attributes=None, context=None, links=()):
        return self.tracer.start_as_current_span(
            name, context=context, kind=kind, attributes=attributes, links=links
        )


def order(number, storefront, pricing, mailer):
    message = {}
    with storefront.span("POST /orders", SpanKind.SERVER, {"http.request.method": "POST"}):
        request = {}
        price = {"server.address": "pricing.internal", "server.port": 8080}
        with storefront.span("GET /price", SpanKind.CLIENT, price):
            propagate.inject(request)
            answer_price(number, pricing, request)
        destination = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
        with storefront.span("send orders", SpanKind.PRODUCER, destination):
            propagate.inject(message)
    sender = trace.get_current_span(propagate.extract(message)).get_span_context()
    with mailer.span("process orders", SpanKind.CONSUMER, destination, links=[Link(sender)]):
        pass


def answer_price(number, pricing, request):
    context = propagate.extract(request)
    told = {"order.tags": ["größe", "größer"], "order.total": 12.5, "order.gift": number % 2 == 0}
    with pricing.span("GET /price", SpanKind.SERVER, told, context=context) as span:
        database = {
            "db.system.name": "postgresql",
            "db.namespace": "prices",
            "server.address": "db.internal",
        }
        with pricing.span("SELECT prices", SpanKind.CLIENT, database):
            pass
        if number % 4 == 0:
            span.record_exception(ValueError("no price"))
            span.set_status(Status(StatusCode.ERROR, "no price"))


def main(protocol, endpoint, orders):
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    names = ["storefront", "pricing", "mailer"]
    services = [Service(name, protocol, endpoint, complaints) for name in names]
    for number in range(int(orders)):
        order(number, *services)
    # Services do not wait for each other, and a trace whose halves come too far apart is another story.
    with ThreadPoolExecutor() as at_once:
        flushed = list(at_once.map(lambda service: service.provider.force_flush(), services))
    if not all(flushed):
        complaints.texts.append("the spans could not be flushed")
    for service in services:
        service.provider.shutdown()
    print(sum(service.exported.delivered for service in services))
    for text in complaints.texts:
        print(text, file=sys.stderr)
    return 1 if complaints.texts else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
