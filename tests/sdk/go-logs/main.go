// A service that logs through generated packages while the OpenTelemetry SDK for Go has a span.
//
// In: the library (`slog` or `zap`), the collector's endpoint, the service, a text of no good intent; the generated packages beside this one.
// Out: lines on standard output, and the span by OTLP over HTTP.
// Left out on purpose: what the lines must be.
package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"tracemap/tests/go-logs/tracemapslog"
	"tracemap/tests/go-logs/tracemapzap"
)

func withSlog(within, outside context.Context, evil string) {
	logs := slog.New(tracemapslog.NewHandler(os.Stdout, slog.LevelInfo))
	within = tracemapslog.WithCorrelationID(within, "c-4711")
	logs.InfoContext(within, "placed 1", "orders", 1)
	logs.With("user", evil).WarnContext(within, evil, "trace_id", "forged", "service.name", "forged")
	logs.WithGroup("why").ErrorContext(within, "failed", "error", errors.New(evil))
	logs.InfoContext(outside, "outside")
}

func withZap(within, outside context.Context, evil string) {
	logs := tracemapzap.New(zapcore.AddSync(os.Stdout), zap.InfoLevel)
	within = tracemapzap.WithCorrelationID(within, "c-4711")
	logs.For(within).Named("shop").Info("placed 1", zap.Int("orders", 1))
	logs.For(within).With(zap.String("user", evil)).Warn(evil, zap.String("trace_id", "forged"), zap.String("service.name", "forged"))
	logs.For(within).Error("failed", zap.Error(errors.New(evil)))
	logs.For(outside).Info("outside")
}

func main() {
	library, endpoint, service, evil := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	background := context.Background()
	address := strings.TrimPrefix(endpoint, "http://")
	exporter, err := otlptracehttp.New(background, otlptracehttp.WithEndpoint(address), otlptracehttp.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	identity, err := resource.Merge(resource.Default(), resource.NewSchemaless(attribute.String("service.name", service),
		attribute.String("service.namespace", "shop"), attribute.String("deployment.environment.name", "prod")))
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(identity))
	within, span := provider.Tracer("tracemap.test").Start(background, "GET /cart", trace.WithSpanKind(trace.SpanKindServer))
	if library == "slog" {
		withSlog(within, background, evil)
	} else {
		withZap(within, background, evil)
	}
	span.End()
	if err := provider.Shutdown(background); err != nil {
		log.Fatal(err)
	}
}
