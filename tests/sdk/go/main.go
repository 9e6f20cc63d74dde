// Three services that report through the OpenTelemetry SDK for Go.
//
// In: the protocol (`grpc` or `http/protobuf`), the collector's endpoint and how many orders to place.
// Out: spans by OTLP; the number exported on standard output, or exit code 1 with what the SDK complained of.
// Left out on purpose: what the spans must become; the test that runs this says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var w3c = propagation.TraceContext{}

// complaints is what the SDK reported, from whatever goroutine.
type complaints struct {
	lock  sync.Mutex
	texts []string
}

func (c *complaints) add(text string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.texts = append(c.texts, text)
}

// counted counts what an exporter delivered; everything else is a complaint.
type counted struct {
	sdktrace.SpanExporter
	complaints *complaints
	delivered  int
}

func (c *counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.delivered += len(spans)
	} else {
		c.complaints.add(fmt.Sprintf("the export of %d spans ended with %v", len(spans), err))
	}
	return err
}

func exporter(ctx context.Context, protocol, endpoint string) (sdktrace.SpanExporter, error) {
	address := strings.TrimPrefix(endpoint, "http://")
	if protocol == "grpc" {
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure())
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(address), otlptracehttp.WithInsecure(),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
}

// service is one as the collector sees it: a resource, a tracer and an exporter of its own.
type service struct {
	trace.Tracer
	exported *counted
	provider *sdktrace.TracerProvider
}

func newService(ctx context.Context, name, protocol, endpoint string, complaints *complaints) (*service, error) {
	inner, err := exporter(ctx, protocol, endpoint)
	if err != nil {
		return nil, err
	}
	exported := &counted{SpanExporter: inner, complaints: complaints}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exported),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", name))),
	)
	return &service{provider.Tracer("tracemap.test"), exported, provider}, nil
}

func (s *service) span(ctx context.Context, name string, kind trace.SpanKind, told ...attribute.KeyValue) (context.Context, trace.Span) {
	return s.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(told...))
}

var message = []attribute.KeyValue{
	attribute.String("messaging.system", "kafka"),
	attribute.String("messaging.destination.name", "orders"),
}

func order(number int, storefront, pricing, mailer *service) {
	root := context.Background()
	below, serving := storefront.span(root, "POST /orders", trace.SpanKindServer)

	within, calling := storefront.span(below, "GET /price", trace.SpanKindClient,
		attribute.String("server.address", "pricing.internal"), attribute.Int("server.port", 8080))
	request := propagation.MapCarrier{}
	w3c.Inject(within, request)
	answerPrice(number, pricing, request)
	calling.End()

	within, sending := storefront.span(below, "send orders", trace.SpanKindProducer, message...)
	headers := propagation.MapCarrier{}
	w3c.Inject(within, headers)
	sending.End()
	serving.End()

	sender := trace.LinkFromContext(w3c.Extract(root, headers))
	_, consuming := mailer.Start(root, "process orders", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(message...), trace.WithLinks(sender))
	consuming.End()
}

func answerPrice(number int, pricing *service, request propagation.MapCarrier) {
	below, serving := pricing.span(w3c.Extract(context.Background(), request), "GET /price", trace.SpanKindServer,
		attribute.StringSlice("order.tags", []string{"größe", "größer"}),
		attribute.Float64("order.total", 12.5), attribute.Bool("order.gift", number%2 == 0))
	_, asking := pricing.span(below, "SELECT prices", trace.SpanKindClient,
		attribute.String("db.system.name", "postgresql"), attribute.String("db.namespace", "prices"),
		attribute.String("server.address", "db.internal"))
	asking.End()
	if number%4 == 0 {
		serving.RecordError(errors.New("no price"))
		serving.SetStatus(codes.Error, "no price")
	}
	serving.End()
}

func run(protocol, endpoint string, orders int, complaints *complaints) (int, error) {
	ctx := context.Background()
	var services []*service
	for _, name := range []string{"storefront", "pricing", "mailer"} {
		service, err := newService(ctx, name, protocol, endpoint, complaints)
		if err != nil {
			return 0, err
		}
		services = append(services, service)
	}
	for number := 0; number < orders; number++ {
		order(number, services[0], services[1], services[2])
	}
	// Services do not wait for each other, and a trace whose halves come too far apart is another story.
	var flushing sync.WaitGroup
	for _, each := range services {
		flushing.Add(1)
		go func(each *service) {
			defer flushing.Done()
			if err := each.provider.Shutdown(ctx); err != nil {
				complaints.add(err.Error())
			}
		}(each)
	}
	flushing.Wait()
	delivered := 0
	for _, each := range services {
		delivered += each.exported.delivered
	}
	return delivered, nil
}

func main() {
	complaints := &complaints{}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { complaints.add(err.Error()) }))
	orders, err := strconv.Atoi(os.Args[3])
	if err == nil {
		var delivered int
		delivered, err = run(os.Args[1], os.Args[2], orders, complaints)
		fmt.Println(delivered)
	}
	if err != nil {
		complaints.add(err.Error())
	}
	for _, text := range complaints.texts {
		fmt.Fprintln(os.Stderr, text)
	}
	if len(complaints.texts) > 0 {
		os.Exit(1)
	}
}
