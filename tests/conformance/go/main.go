// Command peer is a service on OpenTelemetry for Go, which the tests one folder up put into a chain
// of calls.
//
// It serves and calls with otelhttp, and shares no code with spanbridge, so that what crosses the
// wire is the standard and not our reading of it. The exporter, the sampler and the service's name
// come from the standard OTEL_ variables.
//
// It prints `listening on URL` once it accepts connections. When standard input closes, it exports
// what is left and ends. `POST /relay` is described in ../peers/relay.rs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// How long open requests, and then the export of the last spans, may take at the end.
const shutdownTimeout = 10 * time.Second

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// run serves until standard input closes, and exports what is left.
func run(ctx context.Context) (err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("setting up the exporter: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newHandler(provider), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("listening on http://%s\n", listener.Addr())

	// Whoever started this process holds the other end: when it is gone, so are we.
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case err := <-failed:
		return err
	case <-closed:
	}
	bounded, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	return errors.Join(server.Shutdown(bounded), provider.Shutdown(bounded))
}
