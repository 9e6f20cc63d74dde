// A service that logs through the generated file while the OpenTelemetry SDK for Java has a span.
//
// In: the library (`logback` or `log4j2`), the collector's endpoint, the service, a text of no good intent; the generated file is named by the
// library's own property. Out: lines on standard output, and the span by OTLP over HTTP.
// Left out on purpose: what the lines must be.

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Scope;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import java.util.concurrent.TimeUnit;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.ThreadContext;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

public final class Log {
  interface Lines {
    void within(String evil);

    void outside();
  }

  static final class Logback implements Lines {
    final org.slf4j.Logger log = LoggerFactory.getLogger("shop");

    @Override
    public void within(String evil) {
      MDC.put("correlation.id", "c-4711");
      log.atInfo().addKeyValue("orders", 1).log("placed {}", 1);
      MDC.put("user", evil);
      log.atWarn().addKeyValue("trace_id", "forged").addKeyValue("service.name", "forged").log("{}", evil);
      MDC.remove("user");
      log.error("failed", new IllegalStateException(evil));
    }

    @Override
    public void outside() {
      log.info("outside");
    }
  }

  static final class Log4j implements Lines {
    final org.apache.logging.log4j.Logger log = LogManager.getLogger("shop");

    @Override
    public void within(String evil) {
      ThreadContext.put("correlation.id", "c-4711");
      ThreadContext.put("orders", "1");
      log.info("placed {}", 1);
      ThreadContext.remove("orders");
      ThreadContext.put("user", evil);
      log.warn("{}", evil);
      ThreadContext.remove("user");
      log.error("failed", new IllegalStateException(evil));
    }

    @Override
    public void outside() {
      log.info("outside");
    }
  }

  public static void main(String[] arguments) {
    Attributes identity =
        Attributes.of(
            AttributeKey.stringKey("service.name"), arguments[2],
            AttributeKey.stringKey("service.namespace"), "shop",
            AttributeKey.stringKey("deployment.environment.name"), "prod");
    OtlpHttpSpanExporter exporter = OtlpHttpSpanExporter.builder().setEndpoint(arguments[1] + "/v1/traces").build();
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(Resource.getDefault().merge(Resource.create(identity)))
            .addSpanProcessor(BatchSpanProcessor.builder(exporter).build())
            .build();
    Span span = provider.get("tracemap.test").spanBuilder("GET /cart").setSpanKind(SpanKind.SERVER).startSpan();
    Lines lines = arguments[0].equals("logback") ? new Logback() : new Log4j();
    try (Scope current = span.makeCurrent()) {
      lines.within(arguments[3]);
    }
    lines.outside();
    span.end();
    boolean flushed = provider.shutdown().join(30, TimeUnit.SECONDS).isSuccess();
    System.exit(flushed ? 0 : 1);
  }
}
