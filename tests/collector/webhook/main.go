// Command webhook is an admission webhook traced with OpenTelemetry for Go. It stands in for the
// webhook of the Rust examples in the tests one folder up: an HTTP server and client that share no
// code with ours, so that what crosses the wire is the standard and not our reading of it.
//
// It reviews every object by calling back into the API server that asked (a re-entrant call), and
// admits it if that call succeeds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// How long open requests, and then the export of the last spans, may take at the end.
const shutdownTimeout = 10 * time.Second

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to serve on; port 0 takes a free one")
	endpoint := flag.String("otlp-endpoint", "", "`host:port` of an OTLP/gRPC receiver, without TLS (required)")
	flag.Parse()
	if *endpoint == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	// Whoever started this process holds the other end: when it is gone, however it died, so are we.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	if err := run(stop, *listen, *endpoint); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

// run serves until stop is done, lets open requests finish, and exports what is left.
func run(stop context.Context, listen, endpoint string) (err error) {
	provider, err := newTracerProvider(stop, endpoint)
	if err != nil {
		return fmt.Errorf("setting up tracing: %w", err)
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, provider.Shutdown(bounded))
	}()

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           newHandler(provider, newPropagator()),
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("listening on http://%s\n", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	bounded, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return server.Shutdown(bounded)
}
