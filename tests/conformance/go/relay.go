package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// How long the rest of the chain may take.
const callTimeout = 10 * time.Second

// request is what `POST /relay` is sent.
type request struct {
	Set   map[string]string `json:"set"`
	Calls []call            `json:"calls"`
}

type call struct {
	URL string            `json:"url"`
	Set map[string]string `json:"set"`
}

// arrived is what one service of the chain has seen of a request.
type arrived struct {
	Headers map[string]string `json:"headers"`
	// By name: the value and the properties.
	Baggage map[string][2]string `json:"baggage"`
}

type relay struct {
	client *http.Client
}

// newHandler returns the traced service: POST /relay.
func newHandler(provider trace.TracerProvider) http.Handler {
	propagator := propagation.NewCompositeTextMapPropagator(
		propagation.TraceContext{}, propagation.Baggage{})
	options := []otelhttp.Option{
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagator),
	}
	client := &http.Client{
		Transport: otelhttp.NewTransport(http.DefaultTransport, options...),
		Timeout:   callTimeout,
	}
	mux := http.NewServeMux()
	mux.Handle("POST /relay", relay{client})
	return otelhttp.NewHandler(mux, "relay", options...)
}

// ServeHTTP says what has arrived, and passes the rest of the chain on.
func (r relay) ServeHTTP(w http.ResponseWriter, incoming *http.Request) {
	var chain request
	if err := json.NewDecoder(incoming.Body).Decode(&chain); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rest, err := r.passOn(incoming.Context(), chain)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(append([]arrived{observe(incoming)}, rest...))
}

func observe(incoming *http.Request) arrived {
	seen := arrived{Headers: map[string]string{}, Baggage: map[string][2]string{}}
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if values := incoming.Header.Values(name); len(values) > 0 {
			seen.Headers[name] = strings.Join(values, ",")
		}
	}
	for _, member := range baggage.FromContext(incoming.Context()).Members() {
		var properties []string
		for _, property := range member.Properties() {
			properties = append(properties, property.String())
		}
		seen.Baggage[member.Key()] = [2]string{member.Value(), strings.Join(properties, ";")}
	}
	return seen
}

func (r relay) passOn(ctx context.Context, chain request) ([]arrived, error) {
	if len(chain.Calls) == 0 {
		return nil, nil
	}
	ctx, err := withBaggage(ctx, chain.Set)
	if err != nil {
		return nil, err
	}
	next := chain.Calls[0]
	body, err := json.Marshal(request{Set: next.Set, Calls: chain.Calls[1:]})
	if err != nil {
		return nil, err
	}
	outgoing, err := http.NewRequestWithContext(ctx, http.MethodPost, next.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	outgoing.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(outgoing)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", next.URL, response.Status)
	}
	var rest []arrived
	err = json.NewDecoder(response.Body).Decode(&rest)
	return rest, err
}

func withBaggage(ctx context.Context, set map[string]string) (context.Context, error) {
	all := baggage.FromContext(ctx)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		member, err := baggage.NewMemberRaw(name, set[name])
		if err != nil {
			return nil, err
		}
		if all, err = all.SetMember(member); err != nil {
			return nil, err
		}
	}
	return baggage.ContextWithBaggage(ctx, all), nil
}
