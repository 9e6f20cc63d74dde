// A service and its caller, in Go: net/http for HTTP, grpc-go for gRPC.
//
// In: `serve`, or `call` with the addresses of HTTP and gRPC, and the proxy.
// Out: the ports as JSON, or exit code 1 with the first thing that was not as it must be.
// Left out on purpose: tracing, of which nothing here knows but what it copies from its caller; and WebSocket, which the
// standard library does not have.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const large = 10 << 20

// raw passes messages as the bytes that they are.
type raw struct{}

func (raw) Marshal(value interface{}) ([]byte, error) { return *value.(*[]byte), nil }

func (raw) Unmarshal(data []byte, value interface{}) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (raw) Name() string { return "raw" }

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-traceparent", r.Header.Get("traceparent"))
		w.Header().Set("content-length", "5")
		io.WriteString(w, "hello")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "text/event-stream")
		for number := 0; number < 3; number++ {
			fmt.Fprintf(w, "data: %d\n\n", number)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/fail", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not now")
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(bytes.Repeat([]byte("x"), large))
	})
	return mux
}

func story(_ interface{}, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	var message []byte
	switch name {
	case "/story.Story/Bidi":
		for {
			err := stream.RecvMsg(&message)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	}
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	switch name {
	case "/story.Story/Unary":
		asked, _ := metadata.FromIncomingContext(stream.Context())
		stream.SendHeader(metadata.Pairs("x-initial", "yes"))
		stream.SetTrailer(metadata.Pairs("x-seen", strings.Join(asked.Get("x-asked"), ",")))
		return stream.SendMsg(&message)
	case "/story.Story/Stream":
		count, _ := strconv.Atoi(string(message))
		for number := 0; number < count; number++ {
			item := []byte(strconv.Itoa(number))
			if err := stream.SendMsg(&item); err != nil {
				return err
			}
		}
		return nil
	case "/story.Story/Missing":
		stream.SetTrailer(metadata.Pairs("x-details-bin", "\x00\x01"))
		return status.Error(codes.NotFound, "no such thing")
	case "/story.Story/Slow":
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return status.Error(codes.Unimplemented, name)
}

func serve() {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(story))
	go func() { log.Fatal(server.Serve(rpc)) }()
	ports := map[string]interface{}{
		"http": web.Addr().(*net.TCPAddr).Port, "grpc": rpc.Addr().(*net.TCPAddr).Port, "websocket": false,
	}
	must(json.NewEncoder(os.Stdout).Encode(ports))
	log.Fatal(http.Serve(web, handler()))
}

func body(response *http.Response, err error) (string, *http.Response) {
	must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(err)
	return string(text), response
}

func callHTTP(address, proxy string) {
	base := "http://" + address
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 30 * time.Second}}
	text, response := body(client.Get(base + "/hello"))
	check(text == "hello" && response.Header.Get("x-traceparent") != "", "hello: %q %v", text, response.Header)
	_, response = body(client.Head(base + "/hello"))
	check(response.ContentLength == 5, "head: %v", response.Header)
	reader, writer := io.Pipe()
	var sent strings.Builder
	for number := 0; number < 100; number++ {
		fmt.Fprintf(&sent, "%d,", number)
	}
	go func() {
		for _, piece := range strings.SplitAfter(sent.String(), ",") {
			io.WriteString(writer, piece)
		}
		writer.Close()
	}()
	text, _ = body(client.Post(base+"/echo", "text/plain", reader))
	check(text == sent.String(), "echo: %q", text)
	request, err := http.NewRequest(http.MethodPost, base+"/echo", strings.NewReader("continued"))
	must(err)
	request.Header.Set("expect", "100-continue")
	text, _ = body(client.Do(request))
	check(text == "continued", "continued: %q", text)
	text, _ = body(client.Get(base + "/events"))
	check(text == "data: 0\n\ndata: 1\n\ndata: 2\n\n", "events: %q", text)
	text, response = body(client.Get(base + "/fail"))
	check(response.StatusCode == 503 && text == "not now", "fail: %v %q", response.Status, text)
	text, _ = body(client.Get(base + "/large"))
	check(len(text) == large, "large: %d", len(text))
	through, err := url.Parse("http://" + proxy)
	must(err)
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}}
	text, _ = body(proxied.Get(base + "/hello"))
	check(text == "hello", "proxied: %q", text)
}

func callGRPC(address string) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
	}
	connection, err := grpc.Dial(address, options...)
	must(err)
	defer connection.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-asked", "two")
	ask, answer := []byte("one"), []byte(nil)
	var initial, trailing metadata.MD
	must(connection.Invoke(ctx, "/story.Story/Unary", &ask, &answer, grpc.Header(&initial), grpc.Trailer(&trailing)))
	check(string(answer) == "one" && initial.Get("x-initial")[0] == "yes" && trailing.Get("x-seen")[0] == "two",
		"unary: %q %v %v", answer, initial, trailing)
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := connection.NewStream(ctx, both, "/story.Story/Stream")
	must(err)
	thousand := []byte("1000")
	must(stream.SendMsg(&thousand))
	must(stream.CloseSend())
	for number := 0; number < 1000; number++ {
		must(stream.RecvMsg(&answer))
		check(string(answer) == strconv.Itoa(number), "stream: %q at %d", answer, number)
	}
	check(stream.RecvMsg(&answer) == io.EOF, "the stream goes on")
	bidi, err := connection.NewStream(ctx, both, "/story.Story/Bidi")
	must(err)
	for number := 0; number < 5; number++ {
		item := []byte(strconv.Itoa(number))
		must(bidi.SendMsg(&item))
		must(bidi.RecvMsg(&answer))
		check(bytes.Equal(answer, item), "bidi: %q at %d", answer, number)
	}
	must(bidi.CloseSend())
	check(bidi.RecvMsg(&answer) == io.EOF, "the exchange goes on")
	told := status.Convert(connection.Invoke(ctx, "/story.Story/Missing", &ask, &answer, grpc.Trailer(&trailing)))
	check(told.Code() == codes.NotFound && told.Message() == "no such thing", "missing: %v", told)
	check(trailing.Get("x-details-bin")[0] == "\x00\x01", "details: %v", trailing)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	told = status.Convert(connection.Invoke(short, "/story.Story/Slow", &ask, &answer))
	check(told.Code() == codes.DeadlineExceeded, "slow: %v", told)
}

func check(right bool, format string, values ...interface{}) {
	if !right {
		log.Fatalf(format, values...)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	callHTTP(os.Args[2], os.Args[4])
	callGRPC(os.Args[3])
	fmt.Println("as it must be")
}
