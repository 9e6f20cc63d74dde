// Three services that report through the OpenTelemetry SDK for Java.
//
// In: the protocol (`grpc` or `http/protobuf`), the collector's endpoint and how many orders to place.
// Out: spans by OTLP; the number exported on standard output, or exit code 1 with what the SDK complained of.
// Left out on purpose: what the spans must become; the test that runs this says so.

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

public final class Client {
  static final Queue<String> COMPLAINTS = new ConcurrentLinkedQueue<>();
  static final AtomicInteger DELIVERED = new AtomicInteger();
  static final W3CTraceContextPropagator W3C = W3CTraceContextPropagator.getInstance();

  static SpanExporter exporter(String protocol, String endpoint) {
    if (protocol.equals("grpc")) {
      return OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).build();
    }
    return OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces").setCompression("gzip").build();
  }

  /** Counts what an exporter delivered; everything else is a complaint. */
  record Counted(SpanExporter inner) implements SpanExporter {
    @Override
    public CompletableResultCode export(Collection<SpanData> spans) {
      int count = spans.size();
      CompletableResultCode result = inner.export(spans);
      result.whenComplete(
          () -> {
            if (result.isSuccess()) {
              DELIVERED.addAndGet(count);
            } else {
              COMPLAINTS.add("the export of " + count + " spans failed: " + result.getFailureThrowable());
            }
          });
      return result;
    }

    @Override
    public CompletableResultCode flush() {
      return inner.flush();
    }

    @Override
    public CompletableResultCode shutdown() {
      return inner.shutdown();
    }
  }

  /** Keeps what the SDK logs at `WARNING` and above. */
  static final class Complaints extends Handler {
    @Override
    public void publish(LogRecord entry) {
      if (entry.getLevel().intValue() >= Level.WARNING.intValue()) {
        COMPLAINTS.add(entry.getLoggerName() + ": " + entry.getMessage());
      }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }

  /** A service as the collector sees one: a resource, a tracer and an exporter of its own. */
  static final class Service {
    final SdkTracerProvider provider;
    final Tracer tracer;

    Service(String name, String protocol, String endpoint) {
      Attributes resource = Attributes.builder().put("service.name", name).build();
      provider =
          SdkTracerProvider.builder()
              .setResource(Resource.getDefault().merge(Resource.create(resource)))
              .addSpanProcessor(BatchSpanProcessor.builder(new Counted(exporter(protocol, endpoint))).build())
              .build();
      tracer = provider.get("tracemap.test");
    }

    SpanBuilder span(String name, SpanKind kind, Context parent) {
      return tracer.spanBuilder(name).setSpanKind(kind).setParent(parent);
    }
  }

  static final TextMapGetter<Map<String, String>> HEADERS = (carrier, name) -> carrier.get(name);

  static Map<String, String> injected(Context context) {
    Map<String, String> headers = new HashMap<>();
    W3C.inject(context, headers, Map::put);
    return headers;
  }

  static void order(int number, Service storefront, Service pricing, Service mailer) {
    Context root = Context.root();
    Span serving = storefront.span("POST /orders", SpanKind.SERVER, root).startSpan();
    Context below = root.with(serving);
    Span calling =
        storefront
            .span("GET /price", SpanKind.CLIENT, below)
            .setAttribute("server.address", "pricing.internal")
            .setAttribute("server.port", 8080)
            .startSpan();
    answerPrice(number, pricing, injected(below.with(calling)));
    calling.end();
    Span sending = message(storefront.span("send orders", SpanKind.PRODUCER, below)).startSpan();
    Map<String, String> headers = injected(below.with(sending));
    sending.end();
    serving.end();
    Span sender = Span.fromContext(W3C.extract(root, headers, HEADERS));
    message(mailer.span("process orders", SpanKind.CONSUMER, root))
        .addLink(sender.getSpanContext())
        .startSpan()
        .end();
  }

  static SpanBuilder message(SpanBuilder span) {
    return span.setAttribute("messaging.system", "kafka").setAttribute("messaging.destination.name", "orders");
  }

  static void answerPrice(int number, Service pricing, Map<String, String> headers) {
    Context parent = W3C.extract(Context.root(), headers, HEADERS);
    Span serving =
        pricing
            .span("GET /price", SpanKind.SERVER, parent)
            .setAttribute(AttributeKey.stringArrayKey("order.tags"), List.of("größe", "größer"))
            .setAttribute("order.total", 12.5)
            .setAttribute("order.gift", number % 2 == 0)
            .startSpan();
    pricing
        .span("SELECT prices", SpanKind.CLIENT, parent.with(serving))
        .setAttribute("db.system.name", "postgresql")
        .setAttribute("db.namespace", "prices")
        .setAttribute("server.address", "db.internal")
        .startSpan()
        .end();
    if (number % 4 == 0) {
      serving.recordException(new IllegalStateException("no price"));
      serving.setStatus(StatusCode.ERROR, "no price");
    }
    serving.end();
  }

  public static void main(String[] arguments) {
    LogManager.getLogManager().reset();
    Logger.getLogger("").addHandler(new Complaints());
    List<Service> services =
        List.of("storefront", "pricing", "mailer").stream()
            .map(name -> new Service(name, arguments[0], arguments[1]))
            .toList();
    int orders = Integer.parseInt(arguments[2]);
    for (int number = 0; number < orders; number++) {
      order(number, services.get(0), services.get(1), services.get(2));
    }
    // Services do not wait for each other, and a trace whose halves come too far apart is another story.
    CompletableResultCode flushed =
        CompletableResultCode.ofAll(services.stream().map(service -> service.provider.shutdown()).toList());
    if (!flushed.join(30, TimeUnit.SECONDS).isSuccess()) {
      COMPLAINTS.add("the spans could not be flushed");
    }
    System.out.println(DELIVERED.get());
    COMPLAINTS.forEach(System.err::println);
    System.exit(COMPLAINTS.isEmpty() ? 0 : 1);
  }
}
